// Decides what each key means. Where a key means something of its own it keeps that: letters and arrows in fields,
// space and Enter on buttons. The layer slider keeps left, right, Home and End, which mean the layer; up and down mean
// the head there as everywhere.

/**
 * @param {HTMLElement} root
 * @param {EventTarget | null} target
 * @param {string} key
 */
function isTaken(root, target, key) {
  if (!(target instanceof Element)) return false;
  if (target.matches('.lav-viewer [data-choice="layer"]')) return ["ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown"].includes(key);
  if (target.closest("input, textarea, select, [contenteditable], [role=listbox], [role=dialog], [role=application]")) return true;
  return Boolean(target.closest("button, summary, a")) && (key === " " || !root.contains(target));
}

/**
 * @typedef {object} Meanings
 * @property {() => boolean} ready
 * @property {(step: number) => void} layer
 * @property {(step: number) => void} head
 * @property {(step: number) => void} token
 * @property {(down: number, right: number) => void} cell
 * @property {() => void} play
 * @property {(factor: number) => void} zoom 0 is the whole photo
 * @property {() => void} box draw a box, or end drawing
 * @property {() => void} escape
 */

/**
 * @param {HTMLElement} root
 * @param {Meanings} meanings
 * @returns {() => void} stops listening
 */
export function listenToKeys(root, meanings) {
  const { layer, head, token, cell, play, zoom, box, escape } = meanings;
  /** @type {Record<string, () => void>} */
  const plain = {
    ArrowLeft: () => layer(-1), ArrowRight: () => layer(1), ArrowUp: () => head(-1), ArrowDown: () => head(1),
    b: box, " ": play, "[": () => token(-1), "]": () => token(1), "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": () => zoom(0), Escape: escape,
  };
  /** @type {Record<string, () => void>} */
  const shifted = { ArrowLeft: () => cell(0, -1), ArrowRight: () => cell(0, 1), ArrowUp: () => cell(-1, 0), ArrowDown: () => cell(1, 0), "+": () => zoom(1.5) };
  const listener = (/** @type {KeyboardEvent} */ event) => {
    if (!meanings.ready() || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTaken(root, event.target, event.key)) return;
    const meaning = (event.shiftKey ? shifted : plain)[event.key];
    if (!meaning) return;
    meaning();
    if (event.key !== "Escape") event.preventDefault();
  };
  document.addEventListener("keydown", listener);
  return () => document.removeEventListener("keydown", listener);
}
