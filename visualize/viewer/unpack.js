// Decides how a body that was made small for a file comes back, bit for bit; pack.py says how it was made small.

import { halfTable } from "./stack.js";

/**
 * @param {string} text base64 of a packed body
 * @returns {Promise<ArrayBuffer>} the body, as the page's server sends it
 */
export async function unpack(text) {
  const body = await inflated(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));
  const start = 8 + new DataView(body).getUint32(4, true);
  /** @type {{ grid: [number, number], frames: number, panes: { scales: number[], difference: boolean, of: string }[] }} */
  const { grid, frames, panes } = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 8, start - 8)));
  const cells = grid[0] * grid[1];
  const size = 2 * cells * frames;
  const blocks = panes.map((_, index) => joined(new Uint8Array(body, start + size * index, size)));
  panes.forEach((pane, index) => {
    if (!pane.difference) return;
    const later = panes.findIndex((other) => other.of === pane.of && !other.difference);
    addNear(blocks[index], pane.scales, [blocks[later], panes[later].scales], [blocks[0], panes[0].scales], cells);
  });
  return body;
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
function inflated(bytes) {
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
 * @param {[Uint16Array, number[]]} later bits and scales
 * @param {[Uint16Array, number[]]} first
 * @param {number} cells
 */
function addNear(bits, scales, later, first, cells) {
  const halves = halfTable();
  const single = new Float32Array(1);
  const whole = new Uint32Array(single.buffer);
  for (let at = 0; at < bits.length; at++) {
    const frame = Math.floor(at / cells);
    const value = halves[later[0][at]] * later[1][frame] - halves[first[0][at]] * first[1][frame];
    single[0] = scales[frame] > 0 ? value / scales[frame] : 0;
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
