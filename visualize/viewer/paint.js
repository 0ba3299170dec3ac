// Decides how numbers become pixels on the photo, as visualize/overlay.py does: resized, then coloured, then blended.
// Colours are mixed with the photo by table: where the opacity is one for all pixels, the photo is dimmed once and a
// pixel costs one look-up and one addition. Pixels are packed as little-endian RGBA in 32 bits.

import { mixRow, planAxis, stretchRows } from "./resize.js";

const OPAQUE = 0xff000000;
const FINE = 4; // the opacity of a fading colour has this many steps per colour
const STEPS = 256 * FINE;
const NEAR = 0.001; // of a step: more than the rounding of float32 can move a value
/** @type {Part} */
const ALL = Object.freeze({ left: 0, top: 0, size: 1 });
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
 * The usual case, in one loop per row: `mixRow` and a linear scale, in float64; only where a value is so near to the
 * edge of a step that rounding decides, it is worked out in float32 once more.
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

// The loops over pixels are functions of their own: in a closure each pixel would read its constants anew.

/**
 * @param {Float32Array} wide
 * @param {number} above where the upper row begins
 * @param {number} below
 * @param {number} weight
 * @param {number} low
 * @param {number} range
 * @param {Uint16Array} places written
 */
function placeLine(wide, above, below, weight, low, range, places) {
  const factor = STEPS / range;
  for (let x = 0; x < places.length; x++) {
    const value = wide[above + x];
    const next = wide[below + x];
    const step = (value - low + (next - value) * weight) * factor;
    if (((step + NEAR) | 0) === ((step - NEAR) | 0)) {
      const place = step | 0;
      places[x] = place < 0 ? 0 : place > STEPS - 1 ? STEPS - 1 : place;
    } else {
      const mixed = Math.fround(value + Math.fround(Math.fround(next - value) * weight));
      places[x] = Math.max(0, Math.min(STEPS - 1, Math.fround(Math.fround(mixed - low) / range) * STEPS));
    }
  }
}

/**
 * @param {Uint32Array} out
 * @param {number} at where the row begins
 * @param {Uint16Array} places
 * @param {Uint32Array} dimmed
 * @param {Uint32Array} table
 */
function blendEven(out, at, places, dimmed, table) {
  for (let x = 0; x < places.length; x++) out[at + x] = dimmed[at + x] + table[places[x]];
}

/**
 * @param {Uint32Array} out
 * @param {number} at
 * @param {Uint16Array} places
 * @param {Uint32Array} pixels
 * @param {Uint32Array} table
 * @param {Uint16Array} rest
 */
function blendFading(out, at, places, pixels, table, rest) {
  for (let x = 0; x < places.length; x++) {
    const place = places[x];
    const weight = rest[place];
    const pixel = pixels[at + x];
    const sides = ((Math.imul(pixel & 0xff00ff, weight) + 0x800080) >>> 8) & 0xff00ff;
    const green = ((Math.imul(pixel & 0x00ff00, weight) + 0x008000) >>> 8) & 0x00ff00;
    out[at + x] = OPAQUE | ((sides | green) + table[place]);
  }
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

/** A linear scale in float32. @param {Limits} limits */
const straight = ({ low, high }) => ({ low: Math.fround(low), range: Math.fround(high - low) });

/**
 * Values to places on the scale, in steps of 1 / (256 · FINE), the last step for all at or above the upper limit.
 * @param {Limits} limits
 * @returns {(line: Float32Array, places: Uint16Array) => void}
 */
function placer(limits) {
  const last = STEPS - 1;
  if (limits.empty) return (_, places) => places.fill(limits.signed ? STEPS / 2 : 0);
  if (limits.log) {
    const table = logTable(limits.high / limits.low);
    const value = new Float32Array(1);
    const bits = new Uint32Array(value.buffer);
    const end = table.length - 1;
    const low = Math.fround(Math.log(limits.low));
    const range = Math.fround(Math.log(limits.high) - Math.log(limits.low));
    return (line, places) => {
      for (let x = 0; x < line.length; x++) {
        value[0] = line[x] / limits.low;
        const index = (bits[0] >> LOG_SHIFT) - LOG_ONE;
        let place = index < 0 ? 0 : index > end ? last : table[index];
        if (place === EDGE) place = Math.max(0, Math.min(last, Math.fround(Math.fround(Math.fround(Math.log(line[x])) - low) / range) * STEPS));
        places[x] = place;
      }
    };
  }
  const { low, range } = straight(limits);
  return (line, places) => {
    for (let x = 0; x < line.length; x++) {
      const place = Math.fround(Math.fround(line[x] - low) / range) * STEPS;
      places[x] = place < 0 ? 0 : place > last ? last : place;
    }
  };
}

const EDGE = 0xffff; // in a table of logarithms: here one colour ends and the next begins

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
  const placeOf = (/** @type {number} */ leading) => {
    bits[0] = leading << LOG_SHIFT;
    return Math.min(STEPS - 1, (Math.log(value[0]) / Math.log(ratio)) * STEPS);
  };
  const margin = 0.01; // the colour of a value so near to an edge may be told from its own logarithm only
  for (let index = 0; index < table.length; index++) {
    const from = placeOf(index + LOG_ONE);
    const to = placeOf(index + LOG_ONE + 1);
    const isEdge = Math.floor((from - margin) / FINE) !== Math.floor((to + margin) / FINE);
    table[index] = isEdge ? EDGE : from;
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
  const table = weightedTable(paint.colours, `even ${part}`, () => part).colours;
  return (out, at, places) => blendEven(out, at, places, dimmed, table);
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
  const { colours: table, rest } = weightedTable(paint.colours, `fade ${paint.opacity} ${limits.signed}`, (place) => {
    const inside = place === 0 || place === STEPS / 2 ? place : place === STEPS - 1 ? STEPS : place + 0.5; // the ends and 0 exactly
    const strength = limits.signed ? Math.abs((2 * inside) / STEPS - 1) : inside / STEPS;
    return Math.floor(strength * paint.opacity * 255 + 0.5);
  });
  return (out, at, places) => blendFading(out, at, places, ground.pixels, table, rest);
}

/** @type {WeakMap<Uint8Array, Map<string, { colours: Uint32Array, rest: Uint16Array }>>} */
const weightedTables = new WeakMap();

/**
 * Per place, its colour weighted by a part of 255, packed without alpha; and the photo's weight, of 256.
 * @param {Uint8Array} colours
 * @param {string} key names the parts
 * @param {(place: number) => number} partOf
 */
function weightedTable(colours, key, partOf) {
  const tables = weightedTables.get(colours) ?? new Map();
  weightedTables.set(colours, tables);
  const known = tables.get(key);
  if (known) return known;
  if (tables.size > 8) tables.clear(); // the opacity slider passes through many
  const made = { colours: new Uint32Array(STEPS), rest: new Uint16Array(STEPS) };
  for (let place = 0; place < STEPS; place++) {
    const part = partOf(place);
    const channel = (/** @type {number} */ offset) => Math.round((colours[3 * (Math.floor(place / FINE)) + offset] * part) / 255);
    made.colours[place] = (channel(2) << 16) | (channel(1) << 8) | channel(0);
    made.rest[place] = Math.round(((255 - part) * 256) / 255);
  }
  tables.set(key, made);
  return made;
}
