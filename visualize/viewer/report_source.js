// Decides where the numbers of a report come from: the elements of its own file. What is not in it says so.

import { boxKey, stackKey } from "./choice.js";
import { inflated, unpack } from "./unpack.js";

/**
 * @param {string} photo data URL
 * @param {boolean} address whether the choice is kept in the address
 * @returns {Source}
 */
export function reportSource(photo, address) {
  const stacks = elements("stack", stackKey);
  const heads = elements("heads", stackKey);
  const boxes = elements("box", (key) => (typeof key === "string" ? key : JSON.stringify(key)));
  /** @type {Map<Element, Promise<ArrayBuffer>>} */
  const opened = new Map();

  /**
   * @param {Map<string, Element>} among
   * @param {Choice} choice
   * @param {(text: string) => Promise<ArrayBuffer>} open
   */
  function take(among, choice, open) {
    const element = among.get(stackKey(choice));
    if (!element) return Promise.reject({ code: "not_in_report", message: missing(choice, [...stacks.keys()]) });
    const known = opened.get(element) ?? open(element.textContent ?? "");
    opened.set(element, known);
    return known;
  }

  return {
    photo,
    address,
    fixed: true,
    stack: (choice) => take(stacks, choice, unpack),
    async box(choice) {
      const parts = [boxes.get(boxKey(choice)), boxes.get("matrix")];
      if (!parts[0] || !parts[1]) throw { code: "not_in_report", message: "The numbers of these boxes and this token are not in the report." };
      const texts = await Promise.all(parts.map((part) => inflated(part?.textContent ?? "")));
      return Object.assign({}, ...texts.map((text) => JSON.parse(new TextDecoder().decode(text))));
    },
    async heads(choice, layer) {
      const starts = await take(heads, { ...choice, head: "mean" }, inflated);
      const start = startOf(starts, layer);
      const header = JSON.parse(new TextDecoder().decode(start.subarray(8)));
      const bodies = await Promise.all(header.heads.map((/** @type {number} */ head) => take(stacks, { ...choice, head }, unpack)));
      const cells = 2 * header.grid[0] * header.grid[1];
      const body = new Uint8Array(start.length + cells * bodies.length * header.panes.length);
      body.set(start);
      bodies.forEach((stack, frame) => {
        const maps = new Uint8Array(stack, 8 + new DataView(stack).getUint32(4, true));
        const layers = maps.length / cells / header.panes.length;
        for (let pane = 0; pane < header.panes.length; pane++) {
          const from = cells * (pane * layers + layer);
          body.set(maps.subarray(from, from + cells), start.length + cells * (pane * bodies.length + frame));
        }
      });
      return body.buffer;
    },
  };
}

/**
 * What stands before the maps of one layer's heads.
 * @param {ArrayBuffer} starts of all layers, one after another
 * @param {number} layer
 */
function startOf(starts, layer) {
  let at = 0;
  const end = () => at + 8 + new DataView(starts).getUint32(at + 4, true);
  for (let before = 0; before < layer; before++) at = end();
  return new Uint8Array(starts, at, end() - at);
}

/**
 * The elements that hold numbers, by the key of their choice.
 * @param {"stack" | "heads" | "box"} kind
 * @param {(key: any) => string} keyOf of what the element says it is of
 * @returns {Map<string, Element>}
 */
function elements(kind, keyOf) {
  const found = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`script[data-${kind}]`));
  return new Map([...found].map((element) => [keyOf(JSON.parse(element.dataset[kind] ?? "")), element]));
}

/**
 * Why a choice cannot be shown.
 * @param {Choice} choice
 * @param {string[]} keys of the stacks that are inside
 */
function missing(choice, keys) {
  const inside = keys.map((key) => JSON.parse(key));
  const has = (/** @type {(keyof Choice)[]} */ ...names) =>
    inside.some((stack) => names.every((name) => JSON.stringify(stack[name]) === JSON.stringify(choice[name])));
  if (!has("against")) return `This report compares with ${inside[0].against} only.`;
  if (!has("token")) return "This token is not in the report.";
  if (!has("token", "head")) return "The single heads of this token are not in the report.";
  if (!has("token", "head", "view")) return `The ${choice.view} view of this token is not in the report.`;
  return "This window of layers is not in the report for this token.";
}
