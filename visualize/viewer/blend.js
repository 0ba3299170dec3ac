// Decides how colours are blended with the photo, by table: where the opacity is one for all pixels, the photo is dimmed
// once and a pixel costs one look-up and one addition. Pixels are packed as little-endian RGBA in 32 bits.

import { FINE, STEPS } from "./place.js";

const OPAQUE = 0xff000000;

/**
 * One opacity for all pixels: colours and photo are weighted beforehand, their sum is the blend.
 * @param {import("./paint.js").Ground} ground
 * @param {import("./paint.js").Paint} paint
 * @returns {(out: Uint32Array, at: number, places: Uint16Array) => void}
 */
export function even(ground, paint) {
  const part = Math.floor(paint.opacity * 255 + 0.5);
  const dimmed = dim(ground, 255 - part);
  const table = weightedTable(paint.colours, `even ${part}`, () => part).colours;
  return (out, at, places) => blendEven(out, at, places, dimmed, table);
}

/**
 * Opacity that grows with the value: the photo's weight differs from pixel to pixel.
 * @param {import("./paint.js").Ground} ground
 * @param {Limits} limits
 * @param {import("./paint.js").Paint} paint
 * @returns {(out: Uint32Array, at: number, places: Uint16Array) => void}
 */
export function fading(ground, limits, paint) {
  const { colours: table, rest } = weightedTable(paint.colours, `fade ${paint.opacity} ${limits.signed}`, (place) => {
    const inside = place === 0 || place === STEPS / 2 ? place : place === STEPS - 1 ? STEPS : place + 0.5; // the ends and 0 exactly
    const strength = limits.signed ? Math.abs((2 * inside) / STEPS - 1) : inside / STEPS;
    return Math.floor(strength * paint.opacity * 255 + 0.5);
  });
  return (out, at, places) => blendFading(out, at, places, ground.pixels, table, rest);
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
 * @param {import("./paint.js").Ground} ground
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
