// Decides what stands beside the pictures for whoever has a mouse and no keyboard, and the line that says what keys do.

import { make } from "./element.js";

const KEYS = [["←", "→", "layer"], ["↑", "↓", "head"], ["[", "]", "token"], ["space", "play"], ["+", "−", "0", "zoom"], ["b", "box"], ["shift + arrows", "cell"]];

/**
 * @param {HTMLElement} boxTool
 * @param {{ by: (factor: number) => void, whole: () => void }} zoom
 */
export function createTools(boxTool, zoom) {
  const button = (/** @type {string} */ text, /** @type {string} */ label, /** @type {() => void} */ act) =>
    make("button", { type: "button", class: "lav-small", "aria-label": label, title: label, onclick: act }, text);
  return make("div", { class: "lav-tools" }, boxTool, make("div", { class: "lav-tools", role: "group", "aria-label": "Zoom" },
    button("−", "zoom out (−)", () => zoom.by(1 / 1.5)), button("fit", "fit the whole photo (0)", zoom.whole), button("+", "zoom in (+)", () => zoom.by(1.5))));
}

/** What the keys of `keys.js` do, in a line. */
export function createKeysLine() {
  return make("p", { class: "lav-keys", id: "lav-keys" }, ...KEYS.map((row) =>
    make("span", {}, ...row.slice(0, -1).map((key) => make("kbd", {}, key)), ` ${row[row.length - 1]}`)));
}
