// Decides what peaks and sinks look like, as visualize/marks.py does: white on black, so none needs colour to be seen.

const SMALLEST = 24;

/**
 * @param {CanvasRenderingContext2D} context
 * @param {readonly [number, number]} grid
 * @param {[number, number] | null} peak
 * @param {number[]} sinks flat indices of cells
 * @param {Part} part
 * @param {number} ratio canvas pixels per CSS pixel
 */
export function drawMarks(context, grid, peak, sinks, part, ratio) {
  const { width, height } = context.canvas;
  if (Math.min(width, height) < SMALLEST * ratio) return;
  const unit = ratio * Math.max(1, Math.min(width, height) / ratio / 450);
  const cell = Math.min(height / grid[0], width / grid[1]) / part.size;
  const centre = (/** @type {number} */ row, /** @type {number} */ column) =>
    /** @type {const} */ ([(((column + 0.5) / grid[1] - part.left) / part.size) * width, (((row + 0.5) / grid[0] - part.top) / part.size) * height]);
  const shapes = new Path2D();
  const arm = Math.min(Math.max(0.2 * cell, 2.5 * unit), 5 * unit);
  for (const index of sinks) {
    const [x, y] = centre(Math.floor(index / grid[1]), index % grid[1]);
    shapes.moveTo(x - arm, y - arm);
    shapes.lineTo(x + arm, y + arm);
    shapes.moveTo(x - arm, y + arm);
    shapes.lineTo(x + arm, y - arm);
  }
  if (peak) {
    const [x, y] = centre(...peak);
    const inner = Math.min(Math.max(0.42 * cell, 6 * unit), 13 * unit);
    const outer = inner + 4.5 * unit;
    shapes.moveTo(x + inner, y);
    shapes.arc(x, y, inner, 0, 2 * Math.PI);
    for (const [dx, dy] of [[1, 0], [0, 1], [-1, 0], [0, -1]]) {
      shapes.moveTo(x + inner * dx, y + inner * dy);
      shapes.lineTo(x + outer * dx, y + outer * dy);
    }
  }
  for (const [colour, wide] of /** @type {const} */ ([["rgb(0 0 0 / 0.745)", 3.6], ["#fff", 1.6]])) {
    context.strokeStyle = colour;
    context.lineWidth = wide * unit;
    context.stroke(shapes);
  }
}
