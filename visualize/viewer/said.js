// Decides how said points and boxes are drawn over the pictures, as visualize/pictures/said_marks.py draws them, and how
// their legend looks; places, styles and sentences come from Python.

import { make, mark, words } from "./element.js";

const DRAWING = "http://www.w3.org/2000/svg";
const [PEN, EDGE, GAP, ARM, FIGURE] = [1.8, 4, 3, 10, 14];
const ROOM_FOR_MARKS = 24; // a picture whose shorter side is shorter has no room for marks

/**
 * @param {HTMLElement[]} frames one per pane
 * @param {(change: Change) => void} choose
 */
export function createSaid(frames, choose) {
  const layers = frames.map((frame) => frame.appendChild(svg("svg", { class: "lav-said-marks", "aria-hidden": "true" })));
  const list = make("ul", { class: "lav-said-list" });
  const toggle = make("input", { type: "checkbox", "data-choice": "said", onchange: () => choose({ said: toggle.checked }) });
  const element = make("section", { class: "lav-spoken", "aria-label": "What the answers say", hidden: true }, list,
    make("label", { class: "lav-check" }, toggle, "mark what they say"));
  let drawn = "";
  let listed = "";

  /** @param {Choice} choice @param {Scene} scene @returns {SaidWords[]} of the variants that are looked at */
  const shownOf = (choice, scene) => scene.said.filter(({ adapter, places, unread }) => [choice.against, choice.adapter].includes(adapter) && places.length + unread.length > 0);

  /** @param {SaidWords[]} shown */
  function listWords(shown) {
    const key = JSON.stringify(shown.map(({ line }) => line));
    if (key === listed) return;
    listed = key;
    list.replaceChildren(...shown.map(({ adapter, style, line }) => {
      const swatch = svg("svg", { class: "lav-said-swatch", viewBox: "-18 -18 36 36", "aria-hidden": "true" });
      swatch.append(...strokes(point(0, 0, style.sides, 1), style, 1));
      return make("li", { "data-variant": adapter }, swatch, make("span", {}, `${style.words}: `, words(line)));
    }));
    element.hidden = !shown.length;
  }

  return {
    element,
    /**
     * @param {Drawn} now
     * @param {Part} part which part of the photo the panes show
     * @param {[number, number]} size width and height of a pane, in CSS pixels
     */
    draw({ choice, scene }, part, [width, height]) {
      const shown = shownOf(choice, scene);
      listWords(shown);
      toggle.checked = choice.said;
      const key = JSON.stringify([listed, choice.said, part, width, height]);
      if (key === drawn) return;
      drawn = key;
      const room = choice.said && Math.min(width, height) >= ROOM_FOR_MARKS;
      for (const layer of layers) layer.replaceChildren(...(room ? shown.flatMap((each) => shapes(each, scene.image_size, part, width, height)) : []));
      for (const layer of layers) mark(layer, "viewBox", `0 0 ${Math.max(1, width)} ${Math.max(1, height)}`);
    },
  };
}

/**
 * @param {SaidWords} said
 * @param {readonly [number, number]} size height and width of the photo
 * @param {Part} part
 * @param {number} width of a picture, in CSS pixels
 * @param {number} height
 */
function shapes({ adapter, places, style }, [high, wide], part, width, height) {
  const unit = Math.max(1, Math.min(width, height) / 450);
  const reach = (FIGURE + EDGE) * unit;
  return places.map(({ pixels }) => {
    const corners = pixels.map(([x, y]) => [((x / wide - part.left) / part.size) * width, ((y / high - part.top) / part.size) * height]);
    const path = corners.length === 1 ? point(corners[0][0], corners[0][1], style.sides, unit) : box(corners, width, height, reach);
    const group = svg("g", { "data-variant": adapter, "data-at": pixels.flat().join() });
    group.append(...strokes(path, style, unit, corners.length > 1));
    return group;
  });
}

/** A cross that is open in the middle, in a polygon. @param {number} x @param {number} y @param {number} sides @param {number} unit */
function point(x, y, sides, unit) {
  const [near, far, radius] = [GAP * unit, ARM * unit, FIGURE * unit];
  const cross = [[1, 0], [0, 1], [-1, 0], [0, -1]].map(([dx, dy]) => `M${x + dx * near} ${y + dy * near}L${x + dx * far} ${y + dy * far}`).join("");
  const figure = Array.from({ length: sides }, (_, side) => `${x + radius * Math.sin((2 * Math.PI * side) / sides)} ${y - radius * Math.cos((2 * Math.PI * side) / sides)}`);
  return figure.length ? `${cross}M${figure.join("L")}Z` : cross;
}

/** Its outline; what lies far beyond the picture stands just beyond it. @param {number[][]} corners @param {number} width @param {number} height @param {number} reach */
function box(corners, width, height, reach) {
  const along = (/** @type {0 | 1} */ axis, /** @type {number} */ most) => corners.map((corner) => Math.min(most + reach, Math.max(-reach, corner[axis]))).sort((one, other) => one - other);
  const [[left, right], [top, low]] = [along(0, width), along(1, height)];
  return [[left, top, right, top], [right, top, right, low], [right, low, left, low], [left, low, left, top]].map(([x0, y0, x1, y1]) => `M${x0} ${y0}L${x1} ${y1}`).join("");
}

/** The coloured line on a wider black one. @param {string} path @param {SaidStyle} style @param {number} unit @param {boolean} [dashed] */
function strokes(path, { colour, dash }, unit, dashed = false) {
  return [svg("path", { d: path, stroke: "#000", "stroke-width": EDGE * unit }),
    svg("path", { d: path, stroke: colour, "stroke-width": PEN * unit, ...(dashed ? { "stroke-dasharray": dash.map((length) => length * unit).join(" ") } : {}) })];
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 */
function svg(tag, attributes) {
  const node = document.createElementNS(DRAWING, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  return node;
}
