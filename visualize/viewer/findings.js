// Decides which finding belongs to what is looked at: the one of the same two variants and of the same answer token.

import { ends } from "./choice.js";

/**
 * The token that a question is about: the first of the answer's among those looked at, else the answer's first.
 * @param {Scene} scene
 * @param {TokenChoice} token
 */
export function measuredToken(scene, token) {
  const [first, last] = ends(token);
  const isAnswer = (/** @type {SceneToken} */ each) => each.role === "answer" || each.role === "end";
  const chosen = scene.tokens.find((each) => isAnswer(each) && each.index >= first && each.index <= last);
  return (chosen ?? scene.tokens.find(isAnswer))?.index ?? 0;
}

/**
 * What was found of a kind: of this token where there is such, else of another one, the latest.
 * @param {readonly Finding[]} findings
 * @param {string} kind
 * @param {Choice} choice
 * @param {number} token
 * @returns {Finding | null}
 */
export function findingOf(findings, kind, choice, token) {
  const same = findings.filter((each) => each.kind === kind && each.variants[0] === choice.against && each.variants[1] === choice.adapter);
  return same.filter((each) => each.token === token).at(-1) ?? same.at(-1) ?? null;
}

/**
 * What was found of the heads of the choice's two variants at its token, as measures of the matrix.
 * @param {readonly Finding[]} findings
 * @param {Scene} scene
 * @param {Choice} choice
 * @returns {HeadFindings}
 */
export function headFindings(findings, scene, choice) {
  const token = measuredToken(scene, choice.token);
  const matrix = (/** @type {string} */ kind) => {
    const found = findingOf(findings, kind, choice, token);
    return found?.token === token && found.picture.type === "matrix" ? found.picture : null;
  };
  return { effect: matrix("heads"), chance: matrix("chance") };
}

/**
 * The heads of a layer in the order of what each carries, most first; null where that was not found out.
 * @param {FindingMatrix | null} effect
 * @param {number} layer
 * @returns {[number, string][] | null}
 */
export function carryingOrder(effect, layer) {
  if (!effect) return null;
  const heads = effect.values[layer].map((value, head) => /** @type {const} */ ([head, Math.abs(value ?? 0)]));
  heads.sort(([, one], [, other]) => other - one);
  return heads.map(([head]) => [head, `head ${head} · ${effect.texts[layer][head]}`]);
}
