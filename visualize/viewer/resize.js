// Decides how the grid's numbers become one number per pixel, as visualize/resize.py does; it knows no colours.
// Numbers stand at cell centres and pixels are asked at theirs (half-pixel centres). A part of the photo may be shown:
// the pixels then lie over that part only. Every step is rounded to float32, as NumPy does it: the edge between two
// colours is met by the same pixels.

/** @typedef {{ lower: Int32Array, upper: Int32Array, weight: Float32Array, cover: Float32Array | null, cells: number }} Axis */

/**
 * What each pixel of one axis reads.
 * @param {number} cells
 * @param {number} pixels
 * @param {boolean} smooth linear between centres; else the cell that a pixel's centre lies in
 * @param {number} [start] fraction of the axis where the pixels begin
 * @param {number} [span] fraction of the axis that they cover
 * @returns {Axis} `cover` is `(pixels, cells)` where pixels are the larger ones and each gets the mean of what it covers
 */
export function planAxis(cells, pixels, smooth, start = 0, span = 1) {
  const lower = new Int32Array(pixels);
  const upper = new Int32Array(pixels);
  const weight = new Float32Array(pixels);
  if (pixels < cells * span) return { lower, upper, weight, cover: coverage(cells, pixels, start, span), cells };
  for (let pixel = 0; pixel < pixels; pixel++) {
    const place = ((2 * pixels * start + (2 * pixel + 1) * span) * cells) / (2 * pixels);
    if (!smooth) {
      lower[pixel] = upper[pixel] = Math.min(Math.floor(place), cells - 1);
      continue;
    }
    const centre = Math.min(Math.max(place - 0.5, 0), cells - 1);
    lower[pixel] = Math.min(Math.floor(centre), Math.max(cells - 2, 0));
    upper[pixel] = Math.min(lower[pixel] + 1, cells - 1);
    weight[pixel] = centre - lower[pixel]; // rounded to float32 here
  }
  return { lower, upper, weight, cover: null, cells };
}

/**
 * @param {number} cells
 * @param {number} pixels
 * @param {number} start
 * @param {number} span
 */
function coverage(cells, pixels, start, span) {
  const cover = new Float32Array(pixels * cells);
  const width = (span * cells) / pixels;
  for (let pixel = 0; pixel < pixels; pixel++) {
    const from = start * cells + pixel * width;
    for (let cell = Math.max(0, Math.floor(from)); cell < Math.min(cells, Math.ceil(from + width)); cell++) {
      cover[pixel * cells + cell] = Math.max(0, Math.min(from + width, cell + 1) - Math.max(from, cell)) / width;
    }
  }
  return cover;
}

/**
 * All rows of a map stretched along x.
 * @param {Float32Array} map `(rows, across.cells)`
 * @param {number} rows
 * @param {Axis} across
 * @param {Float32Array} wide `(rows, pixels)`, written
 */
export function stretchRows(map, rows, across, wide) {
  const { lower, upper, weight, cover, cells } = across;
  const pixels = lower.length;
  for (let row = 0; row < rows; row++) {
    const from = row * cells;
    const to = row * pixels;
    for (let pixel = 0; pixel < pixels; pixel++) {
      if (cover) {
        let sum = 0;
        for (let cell = 0; cell < cells; cell++) sum += cover[pixel * cells + cell] * map[from + cell];
        wide[to + pixel] = sum;
      } else {
        const value = map[from + lower[pixel]];
        wide[to + pixel] = value + Math.fround(Math.fround(map[from + upper[pixel]] - value) * weight[pixel]);
      }
    }
  }
}

/**
 * One row of pixels, mixed from the stretched rows.
 * @param {Float32Array} wide `(down.cells, pixels)`
 * @param {Axis} down
 * @param {number} y
 * @param {Float32Array} line `(pixels,)`, written
 */
export function mixRow(wide, down, y, line) {
  const pixels = line.length;
  if (down.cover) {
    line.fill(0);
    for (let cell = 0; cell < down.cells; cell++) {
      const part = down.cover[y * down.cells + cell];
      if (part) for (let pixel = 0; pixel < pixels; pixel++) line[pixel] += wide[cell * pixels + pixel] * part;
    }
    return;
  }
  const above = down.lower[y] * pixels;
  const below = down.upper[y] * pixels;
  const weight = down.weight[y];
  if (weight === 0) {
    line.set(wide.subarray(above, above + pixels));
    return;
  }
  for (let pixel = 0; pixel < pixels; pixel++) {
    const value = wide[above + pixel];
    line[pixel] = value + Math.fround(Math.fround(wide[below + pixel] - value) * weight);
  }
}
