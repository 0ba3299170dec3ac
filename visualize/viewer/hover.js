// Decides what a cell under the pointer says: its place, and every variant's value and rank, on all panes at once.

import { make, words } from "./element.js";
import { numberText, panesOf } from "./scale.js";
import { frameOf } from "./stack.js";

/** @typedef {[number, number]} Cell */

const IDLE = "point at a picture to read a cell · ctrl + wheel or pinch zooms, drag moves";

/**
 * @param {HTMLElement[]} frames one per pane
 * @param {() => Part} part
 */
export function createHover(frames, part) {
  const readout = make("p", { class: "lav-readout" }, IDLE);
  const boxes = frames.map((frame) => frame.appendChild(make("div", { class: "lav-cell", hidden: true, "aria-hidden": "true" })));
  /** @type {Cell | null} */
  let cell = null;
  /** @type {Drawn | null} */
  let drawn = null;

  /** @param {Cell | null} next */
  function point(next) {
    if (next?.[0] === cell?.[0] && next?.[1] === cell?.[1]) return;
    cell = next;
    say();
  }

  function say() {
    if (!cell || !drawn) {
      for (const box of boxes) box.hidden = true;
      readout.replaceChildren(IDLE);
      return;
    }
    outline(cell, drawn.stack.header.grid);
    readout.replaceChildren(...told(drawn, cell));
  }

  /** @param {Cell} at @param {[number, number]} grid */
  function outline([row, column], [rows, columns]) {
    const { left, top, size } = part();
    const percent = (/** @type {number} */ fraction) => `${(fraction / size) * 100}%`;
    for (const box of boxes) {
      box.hidden = false;
      box.style.left = percent(column / columns - left);
      box.style.top = percent(row / rows - top);
      box.style.width = percent(1 / columns);
      box.style.height = percent(1 / rows);
    }
  }

  for (const frame of frames) {
    const read = (/** @type {PointerEvent} */ event) => {
      if (!drawn) return;
      const box = frame.getBoundingClientRect();
      const { left, top, size } = part();
      const [rows, columns] = drawn.stack.header.grid;
      const row = Math.floor((top + ((event.clientY - box.top) / box.height) * size) * rows);
      const column = Math.floor((left + ((event.clientX - box.left) / box.width) * size) * columns);
      point(row >= 0 && row < rows && column >= 0 && column < columns ? [row, column] : null);
    };
    frame.addEventListener("pointermove", read);
    frame.addEventListener("pointerdown", read);
    frame.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") point(null); // a finger that leaves has read, and still reads, the cell
    });
  }

  return {
    readout,
    /** @param {Drawn} next */
    draw(next) {
      drawn = next;
      if (cell) say();
    },
    /**
     * Move the outlined cell, from the middle where there is none yet.
     * @param {number} down
     * @param {number} right
     */
    move(down, right) {
      if (!drawn) return;
      const [rows, columns] = drawn.stack.header.grid;
      const [row, column] = cell ?? [Math.floor(rows / 2), Math.floor(columns / 2)];
      readout.setAttribute("aria-live", "polite");
      point([Math.min(rows - 1, Math.max(0, row + down)), Math.min(columns - 1, Math.max(0, column + right))]);
    },
    clear: () => point(null),
  };
}

/**
 * @param {Drawn} drawn
 * @param {Cell} cell
 */
function told(drawn, [row, column]) {
  const { stack, frame, choice } = drawn;
  const { grid, panes, rounding } = stack.header;
  const index = row * grid[1] + column;
  const shown = new Set(panesOf(stack.header, choice));
  const values = panes.map((pane, at) => {
    const map = frameOf(stack, at, frame);
    const value = numberText(map[index], pane.signed, pane.factor);
    return make("span", { class: shown.has(at) ? "lav-said" : "lav-said lav-other", "data-variant": pane.variant },
      words(pane.variant), " ", make("b", {}, `${value} ${pane.unit}`), ` #${rankOf(map, index, pane.signed)}`);
  });
  const precision = `Values are rounded to ± ${numberText(rounding, false)} % of themselves. # is the rank among the ${grid[0] * grid[1]} cells of a map, of signed maps by size.`;
  return [make("span", { class: "lav-at", title: precision }, `row ${row}, column ${column}`), ...values];
}

/**
 * The place of a cell among all of its map, 1 for the largest (of signed maps, the largest change).
 * @param {Float32Array} map
 * @param {number} index
 * @param {boolean} signed
 */
function rankOf(map, index, signed) {
  const size = (/** @type {number} */ value) => (signed ? Math.abs(value) : value);
  const own = size(map[index]);
  return map.reduce((rank, value) => rank + (size(value) > own ? 1 : 0), 1);
}
