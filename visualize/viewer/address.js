// Decides how a choice is written into the address and read from it; whoever reads checks what was read.

import { boxesText, readBoxes } from "./box_text.js";

const NAMES = /** @type {const} */ (["token", "layer", "head", "view", "window", "against", "adapter", "opacity", "colormap", "diverging", "percentile", "log", "smooth", "fade", "marks", "said"]);

/**
 * @param {Choice} choice
 * @returns {string} without the #
 */
export function toAddress(choice) {
  const parts = NAMES.map((name) => [name, Array.isArray(choice[name]) ? /** @type {number[]} */ (choice[name]).join("-") : String(choice[name])]);
  return new URLSearchParams([...parts, ["box", boxesText(choice.boxes)]]).toString();
}

/**
 * @param {string} hash
 * @returns {Record<string, unknown>} parts of a choice, unchecked
 */
export function fromAddress(hash) {
  /** @type {Record<string, unknown>} */
  const change = {};
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (name === "box") change.boxes = readBoxes(text);
    if (!NAMES.some((known) => known === name)) continue;
    if (name === "against" || name === "adapter") change[name] = text; // a name may look like a number
    else if (name === "token" && /^\d+-\d+$/.test(text)) change.token = text.split("-").map(Number);
    else if (/^\d+(\.\d+)?$/.test(text)) change[name] = Number(text);
    else change[name] = text === "true" ? true : text === "false" ? false : text;
  }
  return change;
}
