// Decides how numbers become pixels on the photo, as visualize/overlay.py does: resized, then coloured, then blended.

import { even, fading } from "./blend.js";
import { placeLine, placer, straight } from "./place.js";
import { mixRow, planAxis, stretchRows } from "./resize.js";

/** @type {Part} */
const ALL = Object.freeze({ left: 0, top: 0, size: 1 });

/**
 * @typedef {object} Paint
 * @property {Uint8Array} colours 256 × 3, low to high
 * @property {number} opacity 0–1
 * @property {boolean} smooth
 * @property {boolean} fade opacity grows with the value, on a signed scale with its distance from 0
 * @property {Uint8Array | null} hidden per cell, 1 where it is left uncoloured
 * @property {Part} [part] of the photo
 */
/**
 * @typedef {object} Ground the photo's pixels, and what is worked out once for all maps that are laid on it
 * @property {Uint32Array} pixels
 * @property {number} width
 * @property {number} height
 * @property {Map<number, Uint32Array>} dimmed
 * @property {Map<string, Axes>} axes
 * @property {Float32Array} wide room for stretched rows
 */
/** @typedef {{ across: import("./resize.js").Axis, down: import("./resize.js").Axis }} Axes */
/** @typedef {(y: number, places: Uint16Array) => void} PlaceRow */

/**
 * The pixels that maps are laid on, with room for what is worked out once.
 * @param {ImageData} image
 * @returns {Ground}
 */
export function groundOf(image) {
  const pixels = new Uint32Array(image.data.buffer);
  return { pixels, width: image.width, height: image.height, dimmed: new Map(), axes: new Map(), wide: new Float32Array(0) };
}

/**
 * Lay a map on the ground.
 * @param {Uint32Array} out `(height, width)`, written
 * @param {Ground} ground
 * @param {Float32Array} map `(grid_h, grid_w)`
 * @param {readonly [number, number]} grid
 * @param {Limits} limits
 * @param {Paint} paint
 */
export function paintMap(out, ground, map, grid, limits, paint) {
  const { width, height } = ground;
  const axes = axesOf(ground, grid, paint.smooth, paint.part ?? ALL);
  const place = limits.empty || limits.log || paint.hidden || axes.across.cover || axes.down.cover
    ? placeAny(ground, map, grid, limits, paint, axes)
    : placeStraight(ground, map, grid, limits, axes);
  const blend = paint.fade ? fading(ground, limits, paint) : even(ground, paint);
  const mask = paint.hidden && hiddenMask(ground, paint.hidden, grid, paint.part ?? ALL);
  const places = new Uint16Array(width);
  for (let y = 0; y < height; y++) {
    place(y, places);
    blend(out, y * width, places);
    if (mask) for (let at = y * width, end = at + width; at < end; at++) if (mask[at]) out[at] = ground.pixels[at];
  }
}

/**
 * @param {Ground} ground
 * @param {readonly [number, number]} grid
 * @param {boolean} smooth
 * @param {Part} part
 * @returns {Axes}
 */
function axesOf(ground, grid, smooth, { left, top, size }) {
  const key = [...grid, smooth, left, top, size].join();
  const known = ground.axes.get(key);
  if (known) return known;
  const axes = { across: planAxis(grid[1], ground.width, smooth, left, size), down: planAxis(grid[0], ground.height, smooth, top, size) };
  ground.axes.set(key, axes);
  return axes;
}

/**
 * The usual case, in one loop per row.
 * @param {Ground} ground
 * @param {Float32Array} map
 * @param {readonly [number, number]} grid
 * @param {Limits} limits
 * @param {Axes} axes
 * @returns {PlaceRow}
 */
function placeStraight(ground, map, grid, limits, { across, down }) {
  const { width } = ground;
  const size = grid[0] * width;
  if (ground.wide.length < size) ground.wide = new Float32Array(size);
  const { wide } = ground;
  stretchRows(map, grid[0], across, wide);
  const { low, range } = straight(limits);
  return (y, places) => placeLine(wide, down.lower[y] * width, down.upper[y] * width, down.weight[y], low, range, places);
}

/**
 * Any scale, hidden cells, more cells than pixels.
 * @param {Ground} ground
 * @param {Float32Array} map
 * @param {readonly [number, number]} grid
 * @param {Limits} limits
 * @param {Paint} paint
 * @param {Axes} axes
 * @returns {PlaceRow}
 */
function placeAny({ width }, map, grid, limits, paint, axes) {
  const rows = paint.hidden ? hiddenRows(map, grid, paint.hidden, axes, width) : plainRows(map, grid, axes, width);
  const place = placer(limits);
  const line = new Float32Array(width);
  return (y, places) => {
    rows(y, line);
    place(line, places);
  };
}

/**
 * @param {Float32Array} map
 * @param {readonly [number, number]} grid
 * @param {Axes} axes
 * @param {number} width
 * @returns {(y: number, line: Float32Array) => void}
 */
function plainRows(map, grid, { across, down }, width) {
  const wide = new Float32Array(grid[0] * width);
  stretchRows(map, grid[0], across, wide);
  return (y, line) => mixRow(wide, down, y, line);
}

/**
 * Rows in which hidden cells do not count: their neighbours are drawn from visible cells alone.
 * @param {Float32Array} map
 * @param {readonly [number, number]} grid
 * @param {Uint8Array} hidden
 * @param {Axes} axes
 * @param {number} width
 * @returns {(y: number, line: Float32Array) => void}
 */
function hiddenRows(map, grid, hidden, axes, width) {
  const seen = Float32Array.from(hidden, (cell) => 1 - cell);
  const values = plainRows(map.map((value, cell) => value * seen[cell]), grid, axes, width);
  const weights = plainRows(seen, grid, axes, width);
  const weight = new Float32Array(width);
  return (y, line) => {
    values(y, line);
    weights(y, weight);
    for (let x = 0; x < width; x++) line[x] = weight[x] > 0 ? line[x] / weight[x] : 0;
  };
}

/**
 * Per pixel, 1 where more than half of what it shows is hidden.
 * @param {Ground} ground
 * @param {Uint8Array} hidden
 * @param {readonly [number, number]} grid
 * @param {Part} part
 */
function hiddenMask(ground, hidden, grid, part) {
  const { width, height } = ground;
  const rows = plainRows(Float32Array.from(hidden, (cell) => 1 - cell), grid, axesOf(ground, grid, false, part), width);
  const line = new Float32Array(width);
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    rows(y, line);
    for (let x = 0; x < width; x++) mask[y * width + x] = line[x] >= 0.5 ? 0 : 1;
  }
  return mask;
}
