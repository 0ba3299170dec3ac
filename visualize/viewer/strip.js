// Decides how all layers are seen at a glance: small multiples on one scale, each with its change; a click goes there.

import { coloursOf } from "./colours.js";
import { make, mark, pen, write } from "./element.js";
import { panesOf } from "./scale.js";
import { frameOf, hiddenCells } from "./stack.js";
import { thumbnailPixels } from "./thumbnail.js";

/**
 * @param {(change: Change) => void} choose
 */
export function createStrip(choose) {
  const about = make("p", { class: "lav-about-strip" });
  const row = make("div", { class: "lav-layers", role: "group", "aria-label": "All layers" });
  const maps = make("canvas", { class: "lav-layer-maps", "aria-hidden": "true" }); // one for all: each costs time in every frame
  const sheet = make("canvas"); // the maps side by side, a pixel per cell
  const element = make("div", { class: "lav-strip-of-layers" }, about, row);
  /** @type {{ button: HTMLButtonElement, place: HTMLElement, bar: HTMLElement, text: HTMLElement }[]} */
  let layers = [];
  /** @type {unknown[]} */
  let painted = [];
  let current = -1;
  let beyond = false; // whether some layers are out of sight; asked once per size, since asking costs a layout
  new ResizeObserver(lay).observe(row);

  /** @param {number} count */
  function build(count) {
    sheet.width = 0; // nothing is on it for these layers yet
    layers = Array.from({ length: count }, (_, layer) => {
      const place = make("span", { class: "lav-thumb" });
      const bar = make("i");
      const text = make("small");
      const button = make("button", { type: "button", class: "lav-layer-cell", tabindex: -1, "data-layer": layer, onclick: () => choose({ layer }) },
        place, make("span", { class: "lav-change" }, bar), make("span", { class: "lav-layer-number" }, String(layer)), " ", text);
      return { button, place, bar, text };
    });
    row.replaceChildren(...layers.map((layer) => layer.button), maps);
    current = -1;
  }

  /** Lay each map where its layer stands. */
  function lay() {
    const boxes = layers.map(({ place }) => ({ left: place.offsetLeft, top: place.offsetTop, width: place.offsetWidth, height: place.offsetHeight }));
    const width = Math.max(0, ...boxes.map((box) => box.left + box.width));
    const height = Math.max(0, ...boxes.map((box) => box.top + box.height));
    const density = devicePixelRatio;
    Object.assign(maps, { width: Math.round(width * density), height: Math.round(height * density) }); // which clears it
    Object.assign(maps.style, { width: `${width}px`, height: `${height}px` });
    beyond = row.scrollWidth > row.clientWidth;
    if (!width || !sheet.width) return;
    const context = pen(maps);
    context.imageSmoothingEnabled = false;
    const across = sheet.width / layers.length;
    boxes.forEach((box, layer) => context.drawImage(sheet, layer * across, 0, across, sheet.height,
      Math.round(box.left * density), Math.round(box.top * density), Math.round(box.width * density), Math.round(box.height * density)));
  }

  /** @param {Drawn} drawn */
  function paint({ stack, choice, scene }) {
    const { header } = stack;
    const { strip } = header;
    const shown = panesOf(header, choice);
    const pane = shown[shown.length - 1];
    const { difference, signed } = header.panes[pane];
    const limits = (difference && strip.difference) || strip.shared;
    const later = header.choice.variants.filter((variant) => variant !== choice.against).indexOf(choice.adapter);
    const changes = strip.changes[later] ?? [];
    const most = Math.max(0, ...changes.map((change) => change ?? 0));
    const colours = coloursOf(scene, signed ? choice.diverging : choice.colormap);
    const [height, width] = header.grid;
    Object.assign(sheet, { width: width * layers.length, height });
    layers.forEach((layer, frame) => {
      const hidden = hiddenCells(header.grid, header.hidden[frame], header.sinks[frame]);
      pen(sheet).putImageData(thumbnailPixels(frameOf(stack, pane, frame), header.grid, limits, colours, hidden), frame * width, 0);
      const words = strip.words[later]?.[frame] ?? "";
      layer.bar.style.height = `${most ? ((changes[frame] ?? 0) / most) * 100 : 0}%`;
      write(layer.text, words);
      mark(layer.button, "aria-label", words ? `layer ${frame} ${words} ${strip.unit}` : `layer ${frame}`);
      mark(layer.button, "title", words ? `layer ${frame}: ${strip.measure} ${words} ${strip.unit}` : `layer ${frame}`);
    });
    element.classList.toggle("lav-unchanged", !changes.length);
    write(about, `All layers: ${header.panes[pane].variant}, one scale ${limits.words}${changes.length ? ` · bars: ${strip.measure} in ${strip.unit}` : ""}`);
    lay();
  }

  return {
    element,
    /** @param {Scene} scene */
    show(scene) {
      const [height, width] = scene.image_size;
      element.style.setProperty("--lav-ratio", String(Math.min(4, Math.max(0.4, width / height))));
      element.style.setProperty("--lav-least", `${Math.max(46, Math.min(110, 900 / scene.layers))}px`);
      if (layers.length !== scene.layers) build(scene.layers);
      painted = [];
    },
    /** @param {Drawn} drawn */
    draw(drawn) {
      const { choice, stack, frame } = drawn;
      const now = [stack, choice.adapter, choice.colormap, choice.diverging];
      if (now.some((part, index) => part !== painted[index])) paint(drawn);
      painted = now;
      if (current === frame) return;
      if (layers[current]) mark(layers[current].button, "aria-pressed", "false");
      mark(layers[frame].button, "aria-pressed", "true");
      current = frame;
      const { button } = layers[frame];
      if (beyond) row.scrollLeft = button.offsetLeft - (row.clientWidth - button.offsetWidth) / 2;
    },
  };
}
