// Decides how a small multiple is drawn: one pixel per cell, colours only, on the scale that all of them share.

import { make, pen } from "./element.js";
import { groundOf, paintMap } from "./paint.js";

const BARE = 0xff888888;

export const thumbnail = () => make("canvas", { class: "lav-thumb", "aria-hidden": "true" });

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Parameters<typeof thumbnailPixels>} of
 */
export function drawThumbnail(canvas, ...of) {
  const pixels = thumbnailPixels(...of);
  const { width, height } = pixels;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  pen(canvas).putImageData(pixels, 0, 0);
}

/**
 * @param {Float32Array} map
 * @param {[number, number]} grid
 * @param {Limits} limits
 * @param {Uint8Array} colours
 * @param {Uint8Array | null} hidden cells that are left uncoloured
 * @returns {ImageData} as many pixels as cells
 */
export function thumbnailPixels(map, grid, limits, colours, hidden) {
  const [height, width] = grid;
  const image = new ImageData(width, height);
  const ground = groundOf(image);
  ground.pixels.fill(BARE);
  const out = ground.pixels.slice();
  paintMap(out, ground, map, grid, limits, { colours, opacity: 1, smooth: false, fade: false, hidden });
  ground.pixels.set(out);
  return image;
}
