// Decides at which step of its colour scale a value stands, as `ColourLimits.place` of visualize/scale.py does; it knows
// no colours. A step is a part of a colour: an opacity that grows with the value needs more than 256 of them.

/** Steps per colour. */
export const FINE = 4;
export const STEPS = 256 * FINE;
const NEAR = 0.001; // of a step: more than the rounding of float32 can move a value
const LOG_SHIFT = 12; // bits of a float32 that the logarithm's table leaves out: 2,048 steps per octave
const LOG_ONE = 0x3f800000 >> LOG_SHIFT;
const EDGE = 0xffff; // in a table of logarithms: here one colour ends and the next begins

/** A linear scale in float32. @param {Limits} limits */
export const straight = ({ low, high }) => ({ low: Math.fround(low), range: Math.fround(high - low) });

// The loops over pixels are functions of their own: in a closure each pixel would read its constants anew.

/**
 * `mixRow` and a linear scale in one loop, in float64; only where a value is so near to the edge of a step that rounding
 * decides, it is worked out in float32 once more.
 * @param {Float32Array} wide
 * @param {number} above where the upper row begins
 * @param {number} below
 * @param {number} weight
 * @param {number} low
 * @param {number} range
 * @param {Uint16Array} places written
 */
export function placeLine(wide, above, below, weight, low, range, places) {
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
 * Values to places on the scale, in steps of 1 / (256 · FINE), the last step for all at or above the upper limit.
 * @param {Limits} limits
 * @returns {(line: Float32Array, places: Uint16Array) => void}
 */
export function placer(limits) {
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
