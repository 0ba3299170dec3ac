// Decides what a report does when it is opened: shows the scene in its own file, at the view that its address names.

import { make } from "./element.js";
import { reportSource } from "./report_source.js";
import { createViewer } from "./viewer.js";

/** @param {HTMLElement} root @param {string} text */
function open(root, text) {
  if (!("DecompressionStream" in window)) {
    root.append(make("p", {}, "This browser is too old for this report: open it in Chrome 103, Firefox 113, Safari 16.4 or newer."));
    return;
  }
  /** @type {{ scene: Scene, photo: string, findings: Finding[] }} */
  const { scene, photo, findings } = JSON.parse(text);
  const inFrame = location.protocol === "about:"; // of a notebook: its address is not the person's
  createViewer(root, { auto: true }).show(scene, { ...reportSource(photo, !inFrame), findings }, { key: "report" });
}

open(/** @type {HTMLElement} */ (document.getElementById("viewer")), document.getElementById("about")?.textContent ?? "");
