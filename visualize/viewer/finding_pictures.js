// Decides how the picture behind a finding looks: bars, marks, a curve, a matrix, cells on the photo, a table. Every text
// and every end of a scale comes from Python.

import { coloursOf } from "./colours.js";
import { createBar } from "./colour_bar.js";
import { make, mark, pen, write } from "./element.js";

const SVG_OF_PICTURES = "http://www.w3.org/2000/svg";

/**
 * @param {FindingPicture} picture
 * @param {Scene} scene
 * @param {string} photo
 * @returns {HTMLElement}
 */
export function drawPicture(picture, scene, photo) {
  if (picture.kind === "table") return table(picture);
  const drawn = picture.kind === "bars" ? bars(picture) : picture.kind === "marks" ? marks(picture) : picture.kind === "curve" ? curve(picture)
    : picture.kind === "matrix" ? matrix(picture, scene) : cells(picture, photo);
  return make("figure", { class: `lav-picture lav-picture-${picture.kind}` },
    picture.title && make("figcaption", {}, picture.title), make("div", { role: "img", "aria-label": picture.alt }, ...drawn));
}

/** Where a value lies between the ends, in percent. @param {number} value @param {{ low: number, high: number }} ends */
const at = (value, { low, high }) => ((value - low) / (high - low)) * 100;

/** @param {BarsPicture} picture */
function bars(picture) {
  const zero = at(0, picture);
  const held = picture.mark && at(picture.mark.value, picture);
  const rows = picture.rows.flatMap(({ label, value, text }) => {
    const end = at(value, picture);
    return [make("span", { class: "lav-row-label" }, label),
      make("span", { class: "lav-row-track" },
        make("i", { class: value < 0 ? "lav-negative" : "", style: `left: ${Math.min(zero, end)}%; width: ${Math.abs(end - zero)}%` }),
        make("b", { style: `left: ${zero}%` }), held !== null && make("b", { class: "lav-held", style: `left: ${held}%` })),
      make("span", { class: "lav-row-text" }, text)];
  });
  return [make("div", { class: "lav-bars-of" }, ...rows), picture.mark && make("p", { class: "lav-note lav-held-words" }, picture.mark.text)].filter((part) => part !== null);
}

/** @param {MarksPicture} picture */
function marks(picture) {
  const zero = at(0, picture);
  const rows = picture.rows.flatMap(({ label, value, others, text }) => [make("span", { class: "lav-row-label" }, label),
    make("span", { class: "lav-row-track lav-row-marks" }, make("b", { style: `left: ${zero}%` }),
      ...others.map((other) => make("i", { class: "lav-other", style: `left: ${at(other, picture)}%` })),
      make("i", { class: "lav-ours", style: `left: ${at(value, picture)}%` })),
    make("span", { class: "lav-row-text" }, text)]);
  return [make("div", { class: "lav-bars-of" }, ...rows)];
}

/** @param {CurvePicture} picture */
function curve(picture) {
  const [width, height] = [320, 120];
  const { points, lines } = picture;
  const [first, last] = [points[0].x, points[points.length - 1].x];
  const across = (/** @type {number} */ x) => (last > first ? ((x - first) / (last - first)) * width : width / 2);
  const up = (/** @type {number} */ y) => height - (at(y, picture) / 100) * height;
  const draw = (/** @type {string} */ name, /** @type {Record<string, string | number>} */ values) => {
    const node = document.createElementNS(SVG_OF_PICTURES, name);
    for (const [attribute, value] of Object.entries(values)) node.setAttribute(attribute, String(value));
    return node;
  };
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const line of lines) svg.append(draw("path", { class: "lav-line-held", d: `M0 ${up(line.y)}H${width}` }));
  svg.append(draw("path", { class: "lav-line-drawn", d: points.map(({ x, y }, index) => `${index ? "L" : "M"}${across(x)} ${up(y)}`).join("") }));
  const said = make("p", { class: "lav-note lav-picture-said" }, points[points.length - 1].text);
  const dots = points.map(({ x, y, text }) => make("i", { class: "lav-dot", title: text, style: `left: ${(across(x) / width) * 100}%; top: ${(up(y) / height) * 100}%`,
    onpointerenter: () => write(said, text) }));
  const held = lines.map((line) => make("span", { class: "lav-line-words", style: `top: ${(up(line.y) / height) * 100}%` }, line.text));
  const ticks = points.map(({ x }) => make("span", { style: `left: ${(across(x) / width) * 100}%` }, String(x)));
  return [make("div", { class: "lav-curve" }, svg, ...held, ...dots), make("div", { class: "lav-curve-ticks" }, ...ticks),
    make("p", { class: "lav-note lav-across" }, picture.across), said];
}

/** @param {MatrixPicture} picture @param {Scene} scene */
function matrix(picture, scene) {
  const canvas = make("canvas", { class: "lav-matrix-cells" });
  const field = make("div", { class: "lav-matrix-field lav-small-matrix" }, canvas);
  field.style.setProperty("--lav-cells", String(scene.layers / scene.heads));
  const colours = coloursOf(scene, picture.limits.signed ? scene.diverging[0] : scene.colormaps[0]);
  paintMatrix(canvas, picture, scene, colours, picture.within);
  const bar = createBar("lav-picture-bar");
  bar.draw(picture.limits, colours);
  const said = make("p", { class: "lav-note lav-picture-said" }, "point at a cell");
  field.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const layer = Math.floor(((event.clientX - box.left) / box.width) * scene.layers);
    const head = Math.floor(((event.clientY - box.top) / box.height) * scene.heads);
    const text = picture.texts[layer]?.[head];
    if (text !== undefined) write(said, `layer ${layer}, head ${head}: ${text}`);
  });
  return [make("div", { class: "lav-matrix-frame" }, ...axes(field, scene)), said, bar.element];
}

/** A matrix between its axes: heads downwards, layers to the right. @param {HTMLElement} field @param {Scene} scene */
export function axes(field, { layers, heads }) {
  const axis = (/** @type {string} */ side, /** @type {string} */ name, /** @type {number} */ count) =>
    make("div", { class: `lav-matrix-${side}`, "aria-hidden": "true" }, ...["0", name, String(count - 1)].map((text) => make("span", {}, text)));
  return [axis("y", "head", heads), field, axis("x", "layer", layers)];
}

/**
 * One pixel per layer (across) and head (down); what is within chance is dimmed.
 * @param {HTMLCanvasElement} canvas
 * @param {{ values: (number | null)[][], limits: Limits }} matrix
 * @param {Scene} scene
 * @param {Uint8Array} colours
 * @param {boolean[][] | null} [within]
 */
export function paintMatrix(canvas, { values, limits }, { layers, heads }, colours, within = null) {
  Object.assign(canvas, { width: layers, height: heads });
  const image = new ImageData(layers, heads);
  const { low, high, empty } = limits;
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < heads; head++) {
      const value = values[layer][head];
      if (value === null) continue; // nothing there: left bare
      const place = empty ? 0 : Math.min(255, Math.max(0, Math.floor(((value - low) / (high - low)) * 256)));
      image.data.set([...colours.subarray(3 * place, 3 * place + 3), within?.[layer][head] ? 70 : 255], 4 * (head * layers + layer));
    }
  }
  pen(canvas).putImageData(image, 0, 0);
}

/** @param {CellsPicture} picture @param {string} photo */
function cells(picture, photo) {
  const [height, width] = picture.grid;
  const boxes = picture.cells.map((cell) => make("i", { style: `left: ${((cell % width) / width) * 100}%; top: ${(Math.floor(cell / width) / height) * 100}%; width: ${100 / width}%; height: ${100 / height}%` }));
  return [make("div", { class: "lav-cells-on" }, make("img", { src: photo, alt: "" }), ...boxes)];
}

/** @param {TablePicture} picture */
function table(picture) {
  const fold = make("details", { class: "lav-fold" }, make("summary", {}, picture.title),
    make("div", { class: "lav-scroll", tabindex: 0, role: "group", "aria-label": picture.title },
      make("table", {}, make("thead", {}, make("tr", {}, ...picture.columns.map((column) => make("th", { scope: "col" }, column)))),
        make("tbody", {}, ...picture.rows.map((row) => make("tr", {}, ...row.map((text) => make("td", {}, text))))))));
  mark(fold, "data-table", picture.title);
  return fold;
}
