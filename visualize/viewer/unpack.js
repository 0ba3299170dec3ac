// Decides how a body that was made small for a file comes back, bit for bit; pack.py says how it was made small.

import { readBody } from "./stack.js";

/**
 * @param {string} text base64 of a packed body
 * @returns {Promise<ArrayBuffer>} the body, as the page's server sends it
 */
export async function unpack(text) {
  const body = await inflated(text);
  const start = 8 + new DataView(body).getUint32(4, true);
  /** @type {{ grid: [number, number], frames: number, panes: { scales: number[], difference: boolean, of: string }[] }} */
  const { grid, frames, panes } = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 8, start - 8)));
  const cells = grid[0] * grid[1];
  const size = 2 * cells * frames;
  const blocks = panes.map((_, index) => joined(new Uint8Array(body, start + size * index, size)));
  const { maps } = readBody(body);
  panes.forEach((pane, index) => {
    const later = panes.findIndex((other) => other.of === pane.of && !other.difference);
    if (pane.difference) addNear(blocks[index], pane.scales, maps[later], maps[0], cells);
  });
  return body;
}

/**
 * @param {string} text base64 of raw deflate
 * @returns {Promise<ArrayBuffer>}
 */
export function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();
}

/**
 * A pane's bits, in place, from its high bytes and then its low bytes.
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
function joined(bytes) {
  const planes = bytes.slice();
  const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  for (let at = 0; at < bits.length; at++) bits[at] = (planes[at] << 8) | planes[bits.length + at];
  return bits;
}

/**
 * A difference's bits, in place, from their distances from (later − first).
 * @param {Uint16Array} bits
 * @param {number[]} scales per frame
 * @param {Float32Array} later
 * @param {Float32Array} first
 * @param {number} cells
 */
function addNear(bits, scales, later, first, cells) {
  const single = new Float32Array(1);
  const whole = new Uint32Array(single.buffer);
  for (let at = 0; at < bits.length; at++) {
    const scale = scales[Math.floor(at / cells)];
    single[0] = scale > 0 ? (later[at] - first[at]) / scale : 0;
    const magnitude = Math.min(Math.max((((whole[0] & 0x7fffffff) + 0x1000) >>> 13) - (112 << 10), 0), 0x7bff);
    const near = inOrder(magnitude | ((whole[0] >>> 31) << 15));
    const steps = (bits[at] >>> 1) ^ -(bits[at] & 1);
    bits[at] = outOfOrder((near + steps) & 0xffff);
  }
}

/**
 * Float16 bits so that greater values are greater numbers.
 * @param {number} bits
 */
const inOrder = (bits) => (bits & 0x8000 ? ~bits & 0xffff : bits | 0x8000);

/** @param {number} ordered */
const outOfOrder = (ordered) => (ordered & 0x8000 ? ordered & 0x7fff : ~ordered & 0xffff);
