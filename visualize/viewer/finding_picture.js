// Decides how the picture behind a finding is drawn: bars from 0, dots among others, a curve; values and texts are Python's.

import { make, words } from "./element.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 300;

/**
 * @param {FindingPicture} picture
 * @returns {HTMLElement[]} empty where the matrix beside it is the picture
 */
export function findingPicture(picture) {
  if (picture.type === "bars") return [bars(picture.bars, picture.label)];
  if (picture.type === "dots") return [dots(picture.lines, picture.label)];
  if (picture.type === "parts") return [bars(picture.bars, picture.label), curve(picture.curve)];
  return [];
}

/** @param {number[]} values @returns {(value: number) => number} a place from 0 to 1 on a scale that holds 0 */
function scale(values) {
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  return (value) => (high > low ? (value - low) / (high - low) : 0);
}

/** @param {{ label: string, value: number, text: string }[]} rows @param {string} label */
function bars(rows, label) {
  const at = scale(rows.map((row) => row.value));
  const zero = at(0);
  return make("div", { class: "lav-bars", role: "img", "aria-label": `${label}: ${rows.map((row) => `${row.label} ${row.text}`).join(", ")}` },
    ...rows.flatMap((row) => {
      const end = at(row.value);
      const bar = make("i", { class: row.value < 0 ? "lav-less" : "lav-more" });
      bar.style.insetInlineStart = `${Math.min(zero, end) * 100}%`;
      bar.style.width = `${Math.abs(end - zero) * 100}%`;
      const axis = make("b", {});
      axis.style.insetInlineStart = `${zero * 100}%`;
      return [make("span", { class: "lav-bar-label" }, words(row.label)), make("span", { class: "lav-bar" }, bar, axis), make("span", { class: "lav-bar-text" }, row.text)];
    }));
}

/** @param {{ label: string, value: number, text: string, others: number[] }[]} lines @param {string} label */
function dots(lines, label) {
  const at = scale(lines.flatMap((line) => [line.value, ...line.others]));
  const x = (/** @type {number} */ value) => 8 + at(value) * (WIDE - 16);
  return make("div", { class: "lav-bars", role: "img", "aria-label": `${label}: ${lines.map((line) => `${line.label} ${line.text}`).join(", ")}` },
    ...lines.flatMap((line) => {
      const picture = svg(18);
      picture.append(shape("line", { x1: x(0), x2: x(0), y1: 1, y2: 17, class: "lav-axis" }),
        ...line.others.map((value) => shape("circle", { cx: x(value), cy: 9, r: 3.5, class: "lav-other" })),
        shape("path", { d: `M${x(line.value)} 2 l6 7 l-6 7 l-6 -7 z`, class: "lav-own-dot" }));
      return [make("span", { class: "lav-bar-label" }, words(line.label)), make("span", { class: "lav-dots" }, picture), make("span", { class: "lav-bar-text" }, line.text)];
    }), make("p", { class: "lav-note lav-wide" }, "◆ these cells · ○ other sets of as many cells"));
}

/** @param {{ x: number[], y: number[], texts: string[] }} line */
function curve({ x, y, texts }) {
  const high = 90;
  const vertical = scale(y);
  const last = x[x.length - 1] || 1;
  const place = (/** @type {number} */ index) => [10 + (x[index] / last) * (WIDE - 20), high - 18 - vertical(y[index]) * (high - 30)];
  const picture = svg(high);
  const zero = high - 18 - vertical(0) * (high - 30);
  picture.append(shape("line", { x1: 0, x2: WIDE, y1: zero, y2: zero, class: "lav-axis" }),
    shape("polyline", { points: x.map((_, index) => place(index).join(",")).join(" "), class: "lav-curve" }),
    ...x.flatMap((strength, index) => {
      const [left, top] = place(index);
      const tick = shape("text", { x: left, y: high - 4, class: "lav-tick" });
      tick.textContent = String(strength);
      return [shape("circle", { cx: left, cy: top, r: 3, class: "lav-own-dot" }), tick];
    }));
  return make("div", { class: "lav-curve-frame", role: "img", "aria-label": `strength of the adapter: ${x.map((strength, index) => `${strength}: ${texts[index]}`).join(", ")}` },
    picture, make("p", { class: "lav-note" }, "strength of the adapter, 1 as trained"));
}

/** @param {number} high */
function svg(high) {
  const node = document.createElementNS(SVG, "svg");
  node.setAttribute("viewBox", `0 0 ${WIDE} ${high}`);
  node.setAttribute("aria-hidden", "true");
  return node;
}

/** @param {string} name @param {Record<string, string | number>} attributes */
function shape(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}
