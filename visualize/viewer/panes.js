// Decides how the pictures stand side by side and when each is painted; what they show comes as `Drawn`.

import { coloursOf } from "./colours.js";
import { createBar } from "./colour_bar.js";
import { make, mark, pen, words, write } from "./element.js";
import { drawMarks } from "./marks.js";
import { paintMap } from "./paint.js";
import { limitsOf, panesOf, scaleOf, withLimits } from "./scale.js";
import { frameOf, hiddenCells } from "./stack.js";

const WIDE = 3; // a photo that is so many times wider than high would be a thread in a third of the page

/** @typedef {{ figure: HTMLElement, frame: HTMLElement, canvas: HTMLCanvasElement, title: HTMLElement, caption: HTMLElement, image: ImageData | null }} Pane */

function createPane() {
  const title = make("figcaption", { class: "lav-title" });
  const canvas = make("canvas", { class: "lav-canvas", role: "img" });
  const frame = make("div", { class: "lav-frame" }, canvas);
  const caption = make("p", { class: "lav-caption" });
  const figure = make("figure", { class: "lav-pane" }, title, frame, caption);
  return { figure, frame, canvas, title, caption, image: /** @type {ImageData | null} */ (null) };
}

/**
 * @param {() => void} resized asks for a new drawing
 */
export function createPanes(resized) {
  const panes = [createPane(), createPane(), createPane()];
  const missing = make("p", { class: "lav-missing" }, "No difference: each variant replayed its own answer.");
  const shared = createBar("lav-shared");
  const signed = createBar("lav-signed");
  const notes = make("div", { class: "lav-notes" });
  const figures = make("div", { class: "lav-figures" }, ...panes.map((pane) => pane.figure), missing);
  const element = make("div", { class: "lav-pictures" }, figures, make("div", { class: "lav-bars" }, shared.element, signed.element), notes);
  let width = 0;
  let height = 0;
  /** @type {[number, number]} */
  let frameSize = [0, 0];
  const observer = new ResizeObserver(measure);
  observer.observe(panes[0].frame);

  function measure() {
    const frame = panes[0].frame;
    const ratio = devicePixelRatio || 1;
    const { clientWidth: wide, clientHeight: high } = frame;
    const next = [Math.max(1, Math.round(wide * ratio)), Math.max(1, Math.round(high * ratio))];
    if (!wide) return;
    frameSize = [wide, high];
    if (next[0] === width && next[1] === height) return;
    [width, height] = next;
    resized();
  }

  /**
   * @param {Pane} pane
   * @param {Drawn} drawn
   * @param {number} index of the pane in its stack
   * @param {import("./paint.js").Ground} ground
   * @param {Part} part
   */
  function paint(pane, drawn, index, ground, part) {
    const { stack, choice, frame, scene } = drawn;
    const header = stack.header.panes[index];
    const limits = limitsOf(drawn, header);
    const { canvas } = pane;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (pane.image?.width !== width || pane.image.height !== height) pane.image = new ImageData(width, height);
    paintMap(new Uint32Array(pane.image.data.buffer), ground, frameOf(stack, index, frame), stack.header.grid, limits, {
      colours: coloursOf(scene, limits.signed ? choice.diverging : choice.colormap),
      opacity: choice.opacity,
      smooth: choice.smooth,
      fade: choice.fade && header.difference,
      hidden: hiddenCells(stack.header.grid, stack.header.hidden[frame], stack.header.sinks[frame]),
      part,
    });
    const context = pen(canvas);
    context.putImageData(pane.image, 0, 0);
    if (choice.marks) drawMarks(context, stack.header.grid, header.peaks[frame], stack.header.sinks[frame], part, devicePixelRatio || 1);
    mark(canvas, "data-key", drawn.key);
    mark(canvas, "data-layer", String(choice.layer));
    mark(canvas, "data-variant", header.variant);
    mark(canvas, "data-token", String(choice.token));
    mark(canvas, "aria-label", withLimits(header.alts[frame], limits));
    write(pane.caption, withLimits(header.lines[frame], limits));
    if (pane.title.textContent !== header.variant) pane.title.replaceChildren(words(header.variant));
  }

  return {
    element,
    frames: panes.map((pane) => pane.frame),
    /** @param {Scene} scene */
    show(scene) {
      const [high, wide] = scene.image_size;
      element.style.setProperty("--lav-ratio", String(wide / high));
      element.classList.toggle("lav-stacked", wide > WIDE * high);
      const count = scene.variants.length > 1 ? 3 : 1;
      mark(element, "data-count", String(count));
      panes.forEach((pane, index) => (pane.figure.hidden = index >= count || (scene.own && index === 2)));
      missing.hidden = !(scene.own && count === 3);
      measure();
    },
    /** Whether the page has given the pictures a size. */
    hasSize: () => width > 0 && height > 0,
    /** @returns {[number, number]} width and height of each picture in its own pixels */
    size: () => [width, height],
    /** @returns {[number, number]} the same in CSS pixels, as last measured: to ask the page costs a layout */
    frameSize: () => frameSize,
    /**
     * @param {Drawn} drawn
     * @param {import("./paint.js").Ground} ground
     * @param {Part} part
     */
    draw(drawn, ground, part) {
      const shown = panesOf(drawn.stack.header, drawn.choice);
      panes.forEach((pane, at) => (pane.figure.hidden = at >= shown.length)); // own answers: not every one has the token
      shown.forEach((index, at) => paint(panes[at], drawn, index, ground, part));
      const { choice, scene, stack, frame } = drawn;
      const scale = scaleOf(stack.header, choice);
      const limits = scale.shared[frame];
      shared.draw(limits, coloursOf(scene, limits.signed ? choice.diverging : choice.colormap));
      signed.element.hidden = shown.length < 3;
      if (scale.difference && shown.length === 3) {
        const { verb } = scene.view_kinds[choice.view];
        signed.draw(scale.difference[frame], coloursOf(scene, choice.diverging), [`${choice.against} ${verb} more`, `${choice.adapter} ${verb} more`]);
      }
      const said = scale.notes[frame];
      if (said.join("\n") !== [...notes.children].map((note) => note.textContent).join("\n")) {
        notes.replaceChildren(...said.map((note) => make("p", { class: "lav-note" }, note)));
      }
    },
    measure,
    destroy: () => observer.disconnect(),
  };
}
