// Decides how numbers become pixels on the photo, as visualize/overlay.py does: resized, then coloured, then blended.
// Colours are mixed with the photo by table: where the opacity is one for all pixels, the photo is dimmed once and a
// pixel costs one look-up and one addition. Pixels are packed as little-endian RGBA in 32 bits.

import { mixRow, planAxis, stretchRows } from "./resize.js";

const OPAQUE = 0xff000000;
const FINE = 4; // the opacity of a fading colour has this many steps per colour
const LOG_SHIFT = 12; // bits of a float32 that the logarithm's table leaves out: 2,048 steps per octave
const LOG_ONE = 0x3f800000 >> LOG_SHIFT;

/**
 * @typedef {object} Paint
 * @property {Uint8Array} colours 256 × 3, low to high
 * @property {number} opacity 0–1
 * @property {boolean} smooth
 * @property {boolean} fade opacity grows with the value, on a signed scale with its distance from 0
 * @property {Uint8Array | null} hidden per cell, 1 where it is left uncoloured
 * @property {Part} [part] of the photo
 */
/** @typedef {{ pixels: Uint32Array, width: number, height: number, dimmed: Map<number, Uint32Array> }} Ground */

/**
 * The pixels that maps are laid on, with room for their dimmed copies.
 * @param {ImageData} image
 * @returns {Ground}
 */
export function groundOf(image) {
  return { pixels: new Uint32Array(image.data.buffer), width: image.width, height: image.height, dimmed: new Map() };
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
  const { left, top, size } = paint.part ?? { left: 0, top: 0, size: 1 };
  const across = planAxis(grid[1], width, paint.smooth, left, size);
  const down = planAxis(grid[0], height, paint.smooth, top, size);
  const line = new Float32Array(width);
  const places = new Uint16Array(width);
  const rows = hiddenRows(map, grid, paint, across, down, width) ?? plainRows(map, grid, across, down, width);
  const place = placer(limits);
  const blend = paint.fade ? fading(ground, limits, paint) : even(ground, paint);
  const mask = paint.hidden ? hiddenMask(paint.hidden, grid, width, height, paint.part) : null;
  for (let y = 0; y < height; y++) {
    rows(y, line);
    place(line, places);
    blend(out, y * width, places);
    if (mask) for (let at = y * width, end = at + width; at < end; at++) if (mask[at]) out[at] = ground.pixels[at];
  }
}

/**
 * @param {Float32Array} map
 * @param {readonly [number, number]} grid
 * @param {import("./resize.js").Axis} across
 * @param {import("./resize.js").Axis} down
 * @param {number} width
 * @returns {(y: number, line: Float32Array) => void}
 */
function plainRows(map, grid, across, down, width) {
  const wide = new Float32Array(grid[0] * width);
  stretchRows(map, grid[0], across, wide);
  return (y, line) => mixRow(wide, down, y, line);
}

/**
 * Rows in which hidden cells do not count: their neighbours are drawn from visible cells alone.
 * @param {Float32Array} map
 * @param {readonly [number, number]} grid
 * @param {Paint} paint
 * @param {import("./resize.js").Axis} across
 * @param {import("./resize.js").Axis} down
 * @param {number} width
 * @returns {((y: number, line: Float32Array) => void) | null}
 */
function hiddenRows(map, grid, paint, across, down, width) {
  const { hidden } = paint;
  if (!hidden) return null;
  const seen = Float32Array.from(hidden, (cell) => 1 - cell);
  const values = plainRows(map.map((value, cell) => value * seen[cell]), grid, across, down, width);
  const weights = plainRows(seen, grid, across, down, width);
  const weight = new Float32Array(width);
  return (y, line) => {
    values(y, line);
    weights(y, weight);
    for (let x = 0; x < width; x++) line[x] = weight[x] > 0 ? line[x] / weight[x] : 0;
  };
}

/**
 * Per pixel, 1 where more than half of what it shows is hidden.
 * @param {Uint8Array} hidden
 * @param {readonly [number, number]} grid
 * @param {number} width
 * @param {number} height
 * @param {Part} [part]
 */
function hiddenMask(hidden, grid, width, height, part = { left: 0, top: 0, size: 1 }) {
  const across = planAxis(grid[1], width, false, part.left, part.size);
  const down = planAxis(grid[0], height, false, part.top, part.size);
  const rows = plainRows(Float32Array.from(hidden, (cell) => 1 - cell), grid, across, down, width);
  const line = new Float32Array(width);
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    rows(y, line);
    for (let x = 0; x < width; x++) mask[y * width + x] = line[x] >= 0.5 ? 0 : 1;
  }
  return mask;
}

/**
 * Values to places on the scale, in steps of 1 / (256 · FINE), the last step for all at or above the upper limit.
 * @param {Limits} limits
 * @returns {(line: Float32Array, places: Uint16Array) => void}
 */
function placer(limits) {
  const steps = 256 * FINE;
  const last = steps - 1;
  if (limits.empty) return (_, places) => places.fill(limits.signed ? steps / 2 : 0);
  if (limits.log) {
    const table = logTable(limits.high / limits.low);
    const bits = new Float32Array(1);
    const whole = new Uint32Array(bits.buffer);
    const end = table.length - 1;
    return (line, places) => {
      for (let x = 0; x < line.length; x++) {
        bits[0] = line[x] / limits.low;
        const index = (whole[0] >> LOG_SHIFT) - LOG_ONE;
        places[x] = index < 0 ? 0 : index > end ? last : table[index];
      }
    };
  }
  const middle = (limits.low + limits.high) / 2; // 0 exactly, where the scale is signed
  const factor = steps / (limits.high - limits.low);
  return (line, places) => {
    for (let x = 0; x < line.length; x++) {
      const place = (line[x] - middle) * factor + steps / 2;
      places[x] = place < 0 ? 0 : place > last ? last : place;
    }
  };
}

/** @type {Map<number, Uint16Array>} */
const logTables = new Map();

/**
 * The place of a value by the leading bits of (value / lower limit) as a float32, which are nearly its logarithm.
 * @param {number} ratio upper / lower limit
 */
function logTable(ratio) {
  const known = logTables.get(Math.round(ratio));
  if (known) return known;
  const bits = new Uint32Array(1);
  const value = new Float32Array(bits.buffer);
  value[0] = ratio;
  const table = new Uint16Array((bits[0] >> LOG_SHIFT) - LOG_ONE + 1);
  for (let index = 0; index < table.length; index++) {
    bits[0] = ((index + LOG_ONE) << LOG_SHIFT) + (1 << (LOG_SHIFT - 1));
    table[index] = Math.min(256 * FINE - 1, (Math.log(value[0]) / Math.log(ratio)) * 256 * FINE);
  }
  logTables.set(Math.round(ratio), table);
  return table;
}

/**
 * One opacity for all pixels: colours and photo are weighted beforehand, their sum is the blend.
 * @param {Ground} ground
 * @param {Paint} paint
 * @returns {(out: Uint32Array, at: number, places: Uint16Array) => void}
 */
function even(ground, paint) {
  const part = Math.floor(paint.opacity * 255 + 0.5);
  const dimmed = dim(ground, 255 - part);
  const table = new Uint32Array(256 * FINE);
  for (let place = 0; place < table.length; place++) table[place] = weighted(paint.colours, place >> 2, part, 0) | 0;
  return (out, at, places) => {
    for (let x = 0; x < places.length; x++) out[at + x] = dimmed[at + x] + table[places[x]];
  };
}

/**
 * @param {Ground} ground
 * @param {number} part of 255
 */
function dim(ground, part) {
  const known = ground.dimmed.get(part);
  if (known) return known;
  if (ground.dimmed.size > 3) ground.dimmed.clear(); // the opacity slider passes through many
  const channel = Uint8Array.from({ length: 256 }, (_, value) => Math.round((value * part) / 255));
  const dimmed = ground.pixels.map((pixel) =>
    OPAQUE | (channel[(pixel >> 16) & 255] << 16) | (channel[(pixel >> 8) & 255] << 8) | channel[pixel & 255]);
  ground.dimmed.set(part, dimmed);
  return dimmed;
}

/**
 * Opacity that grows with the value: the photo's weight differs from pixel to pixel.
 * @param {Ground} ground
 * @param {Limits} limits
 * @param {Paint} paint
 * @returns {(out: Uint32Array, at: number, places: Uint16Array) => void}
 */
function fading(ground, limits, paint) {
  const steps = 256 * FINE;
  const table = new Uint32Array(steps);
  const rest = new Uint16Array(steps); // the photo's weight, of 256
  for (let place = 0; place < steps; place++) {
    const middle = place === steps / 2 ? place : place + 0.5; // 0 itself stands at the beginning of its step
    const end = place === 0 ? 0 : place === steps - 1 ? steps : middle;
    const strength = limits.signed ? Math.abs((2 * end) / steps - 1) : end / steps;
    const part = Math.floor(strength * paint.opacity * 255 + 0.5);
    table[place] = weighted(paint.colours, place >> 2, part, 0);
    rest[place] = Math.round(((255 - part) * 256) / 255);
  }
  const { pixels } = ground;
  return (out, at, places) => {
    for (let x = 0; x < places.length; x++) {
      const place = places[x];
      const weight = rest[place];
      const pixel = pixels[at + x];
      const sides = ((Math.imul(pixel & 0xff00ff, weight) + 0x800080) >>> 8) & 0xff00ff;
      const green = ((Math.imul(pixel & 0x00ff00, weight) + 0x008000) >>> 8) & 0x00ff00;
      out[at + x] = OPAQUE | ((sides | green) + table[place]);
    }
  };
}

/**
 * A colour weighted by `part` of 255, packed.
 * @param {Uint8Array} colours
 * @param {number} index
 * @param {number} part
 * @param {number} alpha
 */
function weighted(colours, index, part, alpha) {
  const channel = (/** @type {number} */ offset) => Math.round((colours[3 * index + offset] * part) / 255);
  return (alpha | (channel(2) << 16) | (channel(1) << 8) | channel(0)) >>> 0;
}
