// Decides how boxes are written as text and what makes one, as inference/boxes.py does: it cuts what reaches beyond the
// photo, and says so.

export const MOST_BOXES = 16;

/** @param {readonly Box[]} boxes */
export const boxesText = (boxes) => boxes.map((box) => box.join(",")).join(";");

/**
 * @param {string} text `top,left,bottom,right`, several separated by `;`
 * @returns {unknown} what it writes, unchecked
 */
export const readBoxes = (text) => text.split(";").filter(Boolean).map((part) => part.split(",").map((edge) => (/^-?\d{1,9}(\.\d{1,9})?$/.test(edge) ? Number(edge) : NaN)));

/**
 * Whether a value is boxes on a photo.
 * @param {unknown} value
 * @param {readonly [number, number]} size height and width
 */
export const areBoxes = (value, size) => Array.isArray(value) && value.length <= MOST_BOXES && value.every((box) => Array.isArray(box) && box.length === 4 && whyNoBox(box, size) === "");

/**
 * Why four numbers are no box on a photo, in a sentence; empty where they are one.
 * @param {number[]} box
 * @param {readonly [number, number]} size height and width
 */
export function whyNoBox([top, left, bottom, right], [height, width]) {
  if (![top, left, bottom, right].every(Number.isFinite)) return "Give all four numbers, in pixels of the photo.";
  if (top > bottom || left > right) return "Bottom must be below top, and right beyond left.";
  if (top === bottom || left === right) return "This box has no area: make it at least one pixel high and wide.";
  if (top >= height || left >= width || bottom <= 0 || right <= 0) return `This box lies outside the photo, which is ${height} pixels high and ${width} wide.`;
  return "";
}
