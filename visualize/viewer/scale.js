// Decides how a hovered value is written, and which limits a choice takes from a stack; limits come from Python.

/** What a line from Python holds in place of the words of its limits. */
const PLACEHOLDER = "\u0000";
const SMALL = 1e-4;

/**
 * A value as people read it, like `number` of visualize/numbers/scale.py: three significant digits, a sign where it means one.
 * @param {number} value as stored
 * @param {boolean} signed
 * @param {number} [factor] a share is written in percent
 */
export function numberText(value, signed, factor = 100) {
  const shown = value * factor;
  if (!Number.isFinite(shown)) return "–";
  const digits = shown ? Math.max(2 - Math.floor(Math.log10(Math.abs(shown))), 0) : 0;
  let text = Math.abs(shown) >= SMALL || shown === 0 ? shown.toFixed(Math.min(digits, 100)) : shown.toExponential(1);
  if (text.includes(".") && !text.includes("e")) text = text.replace(/\.?0+$/, "");
  return (signed && shown > 0 ? "+" : "") + text.replaceAll("-", "−");
}

/**
 * @param {StackHeader} header
 * @param {Choice} choice
 * @returns {Scale}
 */
export const scaleOf = (header, choice) => header.scale[`${choice.log ? 1 : 0}-${choice.percentile}`];

/**
 * The limits of one pane.
 * @param {Drawn} drawn
 * @param {PaneHeader} pane
 * @returns {Limits}
 */
export function limitsOf({ stack, choice, frame }, pane) {
  const scale = scaleOf(stack.header, choice);
  return /** @type {Limits[]} */ (pane.difference ? scale.difference : scale.shared)[frame];
}

/**
 * @param {string} line
 * @param {Limits} limits
 */
export const withLimits = (line, limits) => line.replace(PLACEHOLDER, () => limits.words);

/**
 * The indices of the panes side by side: against, adapter, difference; those that there are.
 * @param {{ panes: { variant: string, difference: boolean, of: string }[] }} header
 * @param {Choice} choice
 */
export function panesOf(header, choice) {
  const find = (/** @type {string} */ variant, /** @type {boolean} */ difference) =>
    header.panes.findIndex((pane) => pane.difference === difference && (difference ? pane.of : pane.variant) === variant);
  const shown = [find(choice.against, false)];
  if (choice.adapter !== choice.against) shown.push(find(choice.adapter, false), find(choice.adapter, true));
  return shown.filter((index) => index >= 0);
}
