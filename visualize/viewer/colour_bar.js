// Decides what a colour bar looks like; its places, texts and unit come from Python.

import { make, mark, pen, words, write } from "./element.js";

/** @param {string} className */
export function createBar(className) {
  const strip = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const ticks = make("div", { class: "lav-ticks", "aria-hidden": "true" });
  const line = make("p", { class: "lav-unit" });
  const low = make("span");
  const high = make("span");
  const sides = make("p", { class: "lav-sides" }, low, high);
  const element = make("div", { class: `lav-bar ${className}`, role: "img" }, make("div", { class: "lav-strip" }, strip), ticks, line, sides);
  let drawn = /** @type {Uint8Array | null} */ (null);

  return {
    element,
    /**
     * @param {Limits} limits
     * @param {Uint8Array} colours
     * @param {[string, string] | null} [named] what the two sides of a signed scale mean
     */
    draw(limits, colours, named = null) {
      if (drawn !== colours) {
        const image = new ImageData(256, 1);
        for (let index = 0; index < 256; index++) {
          image.data.set([...colours.subarray(3 * index, 3 * index + 3), 255], 4 * index);
        }
        pen(strip).putImageData(image, 0, 0);
        drawn = colours;
      }
      while (ticks.childElementCount > limits.ticks.length) ticks.lastElementChild?.remove();
      limits.ticks.forEach(([place, text], index) => {
        const tick = /** @type {HTMLElement} */ (ticks.children[index] ?? ticks.appendChild(make("span")));
        tick.style.left = `${(place * 100).toFixed(2)}%`;
        write(tick, text);
      });
      write(line, limits.line);
      mark(element, "aria-label", `Colour scale: ${limits.words}`);
      sides.hidden = !named;
      if (!named || (low.textContent === `← ${named[0]}` && high.textContent === `${named[1]} →`)) return;
      low.replaceChildren("← ", words(named[0]));
      high.replaceChildren(words(named[1]), " →");
    },
  };
}
