// Decides how a body of bytes is read: magic, JSON header, then one block of float16 maps per pane.
// It knows nothing of choices or pictures.

const MAGIC = "LAV1";

/** @type {Float32Array | null} */
let halves = null;

/** The value of every float16, by its 16 bits. */
function halfTable() {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) halves[bits] = fraction ? NaN : sign * Infinity;
    else if (exponent === 0) halves[bits] = sign * fraction * 2 ** -24;
    else halves[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return halves;
}

/**
 * Read a stack of layers, or all heads of one layer.
 * @template {{ grid: [number, number], frames: number, panes: { scales: number[] }[] }} Header
 * @param {ArrayBuffer} buffer
 * @returns {MapBody<Header>}
 */
export function readBody(buffer) {
  const magic = new TextDecoder().decode(buffer.slice(0, 4));
  if (magic !== MAGIC) throw new Error(`A stack begins with ${MAGIC}; this begins with ${JSON.stringify(magic)}.`);
  const length = new DataView(buffer).getUint32(4, true);
  /** @type {Header} */
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const cells = header.grid[0] * header.grid[1];
  const block = cells * header.frames;
  const expected = 8 + length + 2 * block * header.panes.length;
  if (buffer.byteLength !== expected) throw new Error(`A stack of ${expected} bytes was said; ${buffer.byteLength} came.`);
  const table = halfTable();
  const maps = header.panes.map((pane, index) => {
    const bits = new Uint16Array(buffer, 8 + length + 2 * block * index, block);
    const values = new Float32Array(block);
    for (let frame = 0, at = 0; frame < header.frames; frame++) {
      const scale = pane.scales[frame];
      for (const end = at + cells; at < end; at++) values[at] = table[bits[at]] * scale;
    }
    return values;
  });
  return { header, maps };
}

/**
 * One frame of one pane, a view and no copy.
 * @param {MapBody<{ grid: [number, number] }>} body
 * @param {number} pane
 * @param {number} frame
 */
export function frameOf(body, pane, frame) {
  const cells = body.header.grid[0] * body.header.grid[1];
  return body.maps[pane].subarray(frame * cells, (frame + 1) * cells);
}

/**
 * Per cell, 1 where the view leaves it uncoloured.
 * @param {[number, number]} grid
 * @param {boolean} hidden whether sinks are
 * @param {number[]} sinks flat indices of cells
 */
export function hiddenCells([rows, columns], hidden, sinks) {
  if (!hidden) return null;
  const cells = new Uint8Array(rows * columns);
  for (const index of sinks) cells[index] = 1;
  return cells;
}
