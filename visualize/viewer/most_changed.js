// Decides where "most changed" leads: the token that Python named, and the head with the largest number in its matrix.

import { runOf } from "./choice.js";
import { make, words } from "./element.js";

/**
 * The head whose rows differ most of all layers, for the tokens whose heads were recorded.
 * @param {Scene} scene
 * @param {string} adapter
 * @returns {{ layer: number, head: number, text: string } | null} null where nothing changed
 */
function mostChangedHead(scene, adapter) {
  const matrix = scene.matrix[adapter]?.js;
  let most = 0;
  /** @type {{ layer: number, head: number, text: string } | null} */
  let found = null;
  matrix?.values.forEach((heads, layer) => heads.forEach((value, head) => {
    if (value === null || value <= most) return;
    most = value;
    found = { layer, head, text: matrix.texts[layer][head] };
  }));
  return found;
}

/**
 * The buttons that lead there.
 * @param {Scene} scene
 * @param {string} adapter
 * @param {(change: Change) => void} choose
 */
export function mostChangedButtons(scene, adapter, choose) {
  const token = scene.most_changed;
  const head = mostChangedHead(scene, adapter);
  const button = (/** @type {string} */ name, /** @type {Change} */ change, /** @type {string} */ title, /** @type {Node[]} */ ...children) =>
    make("button", { type: "button", class: "lav-small", "data-most": name, title, onclick: () => choose(change) }, make("span", { class: "lav-star", "aria-hidden": "true" }, "★"), ...children);
  const buttons = [];
  if (token) {
    const label = scene.tokens[token.token].label;
    buttons.push(button("token", { token: token.token, layer: token.layer, head: "mean", adapter: token.variant, against: scene.variants[0] }, "the token, and its layer, in which the variants differ most", make("span", {}, " most changed: ", words(label), ` · layer ${token.layer}`)));
  }
  if (head) {
    const change = { token: runOf(scene.matrix_token), layer: head.layer, head: head.head, adapter, against: scene.variants[0] };
    buttons.push(button("head", change, `JS divergence ${head.text}: the largest of all heads of all layers`, make("span", {}, ` most changed head: layer ${head.layer} · head ${head.head}`)));
  }
  return buttons;
}
