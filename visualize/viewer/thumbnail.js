// Decides how a small multiple is drawn: one pixel per cell, colours only, on the scale that all of them share.

import { make, pen } from "./element.js";
import { groundOf, paintMap } from "./paint.js";

const BARE = 0xff888888;

export const thumbnail = () => make("canvas", { class: "lav-thumb", "aria-hidden": "true" });

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} map
 * @param {[number, number]} grid
 * @param {Limits} limits
 * @param {Uint8Array} colours
 * @param {Uint8Array | null} hidden cells that are left uncoloured
 */
export function drawThumbnail(canvas, map, grid, limits, colours, hidden) {
  const [height, width] = grid;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  const ground = groundOf(image);
  ground.pixels.fill(BARE);
  const out = ground.pixels.slice();
  paintMap(out, ground, map, grid, limits, { colours, opacity: 1, smooth: false, fade: false, hidden });
  ground.pixels.set(out);
  pen(canvas).putImageData(image, 0, 0);
}
