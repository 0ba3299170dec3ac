// Decides where "most changed" leads: the token that Python named, and the head with the largest number in its matrix.

import { comparesHeads, recordedChoice } from "./choice.js";
import { make, words } from "./element.js";

/**
 * The head whose rows differ most of all layers, for the tokens whose heads were recorded.
 * @param {HeadChanges | null} changes
 * @param {string} adapter
 * @returns {{ layer: number, head: number, text: string } | null} null where nothing changed
 */
function mostChangedHead(changes, adapter) {
  const matrix = changes?.matrix[adapter]?.js;
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
 * @param {Changes} changes
 * @param {HeadChanges | null} ofHeads null while they are on their way
 * @param {string} adapter
 * @param {(change: Change) => void} choose
 */
export function mostChangedButtons(scene, changes, ofHeads, adapter, choose) {
  const { against, most: token } = changes;
  const head = mostChangedHead(ofHeads, adapter);
  const button = (/** @type {string} */ name, /** @type {Change} */ change, /** @type {string} */ title, /** @type {Node[]} */ ...children) =>
    make("button", { type: "button", class: "lav-small", "data-most": name, title, onclick: () => choose(change) }, make("span", { class: "lav-star", "aria-hidden": "true" }, "★"), ...children);
  const buttons = [];
  if (token) {
    const label = scene.tokens[token.token].label;
    buttons.push(button("token", { token: token.token, layer: token.layer, head: "mean", adapter: token.variant, against }, "the answer's token (its end aside), and its layer, in which the variants' whole rows differ most", make("span", {}, " most changed token: ", words(label), ` · layer ${token.layer}`)));
  }
  if (head) {
    const change = { token: recordedChoice(scene), layer: head.layer, head: head.head, adapter, against };
    buttons.push(button("head", change, `JS divergence over the image ${head.text}: the largest of all heads of all layers`, make("span", {}, ` most changed head: layer ${head.layer} · head ${head.head}`)));
  }
  if (!ofHeads && comparesHeads(scene)) buttons.push(make("span", { class: "lav-small lav-coming", "aria-hidden": "true" }, "★ most changed head: layer 00 · head 00"));
  return buttons;
}
