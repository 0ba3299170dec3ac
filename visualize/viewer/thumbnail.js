// Decides how a small multiple is drawn: one pixel per cell, colours only, on the scale that all of them share. It is an
// image and no canvas: a browser works on every canvas of a page in each of its frames, changed or not.

import { make, pen } from "./element.js";
import { groundOf, paintMap } from "./paint.js";

const BARE = 0xff888888;

const sheet = make("canvas");

export const thumbnail = () => make("img", { class: "lav-thumb", alt: "", "aria-hidden": "true", decoding: "sync", draggable: "false" });

/**
 * @param {HTMLImageElement} picture keeps what it shows until it has the new
 * @param {Float32Array} map
 * @param {[number, number]} grid
 * @param {Limits} limits
 * @param {Uint8Array} colours
 * @param {Uint8Array | null} hidden cells that are left uncoloured
 */
export function drawThumbnail(picture, map, grid, limits, colours, hidden) {
  const [height, width] = grid;
  if (sheet.width !== width || sheet.height !== height) Object.assign(sheet, { width, height });
  const image = new ImageData(width, height);
  const ground = groundOf(image);
  ground.pixels.fill(BARE);
  const out = ground.pixels.slice();
  paintMap(out, ground, map, grid, limits, { colours, opacity: 1, smooth: false, fade: false, hidden });
  ground.pixels.set(out);
  pen(sheet).putImageData(image, 0, 0);
  picture.src = sheet.toDataURL();
}
