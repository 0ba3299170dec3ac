// Decides how elements are made: every word of a model, a person or a file becomes a text node, never markup.

/**
 * An element with attributes and children; `null`, `undefined` and `false` leave an attribute or a child out.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} tag
 * @param {Record<string, unknown>} [attributes] names that begin with "on" are listeners
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(.../** @type {(Node | string)[]} */ (children.filter((child) => child !== null && child !== undefined && child !== false)));
  return node;
}

/**
 * Words whose direction is their own, so that right-to-left text does not turn what stands beside it.
 * @param {string} text
 */
export const words = (text) => make("bdi", { dir: "auto" }, text);

/**
 * Write a text where it differs from what stands there: an equal text must not cost a layout.
 * @param {Element} node
 * @param {string} text
 */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * @param {Element} node
 * @param {string} name
 * @param {string} value
 */
export function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {CanvasRenderingContext2D}
 */
export function pen(canvas) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser has no 2D canvas, on which the pictures are drawn.");
  return context;
}
