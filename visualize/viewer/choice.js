// Decides what a choice may be and how it changes; it draws nothing and asks nobody.

import { areBoxes, boxesText } from "./box_text.js";

const MOST_HEADS = 64; // in a set, as in Python

/**
 * The choice after a change. Some views have no single heads: choosing one puts the head aside until another view is
 * chosen, and choosing a head leaves it. The two sides are never the same variant: choosing the other's swaps them.
 * @param {Choice} choice
 * @param {Change} change
 * @param {Scene["view_kinds"]} kinds
 * @returns {Choice}
 */
export function settle(choice, change, kinds) {
  const next = { ...choice, ...change };
  if ("head" in change) {
    next.aside = null;
    if (!kinds[next.view].heads && next.head !== "mean" && !("view" in change)) next.view = "raw";
  }
  if (!kinds[next.view].heads) {
    if (next.head !== "mean") Object.assign(next, { aside: next.head, head: "mean" });
  } else if (next.aside !== null && next.aside !== undefined) {
    Object.assign(next, { head: next.aside, aside: null });
  }
  if (next.against === next.adapter && choice.against !== choice.adapter) {
    if ("against" in change) Object.assign(next, { adapter: choice.against });
    else Object.assign(next, { against: choice.adapter });
  }
  return Object.freeze(next);
}

/**
 * The key of the stack that a choice shows; layer, colours and the shown adapter ask nobody.
 * @param {Choice} choice
 */
export const stackKey = ({ token, head, view, window, against }) => JSON.stringify({ token, head, view, window, against });

/**
 * The key of the numbers in a choice's boxes; those of a single head are among them, those of a set are its own.
 * @param {Choice} choice
 */
export const boxKey = ({ boxes, token, window, against, head }) => JSON.stringify({ box: boxesText(boxes), token, window, against, ...(isSet(head) ? { head } : {}) });

/**
 * @param {TokenChoice} token
 * @param {Scene} scene
 * @returns {number[]} the tokens that are meant
 */
export function tokensOf(token, scene) {
  if (token === "digits") return scene.digits;
  if (typeof token === "number") return [token];
  return Array.from({ length: token[1] - token[0] + 1 }, (_, at) => token[0] + at);
}

/**
 * @param {TokenChoice} token
 * @param {Scene} scene
 * @returns {[number, number]} first and last
 */
export function ends(token, scene) {
  const tokens = tokensOf(token, scene);
  return [tokens[0], tokens[tokens.length - 1]];
}

/**
 * The token choice that stands for the tokens whose heads were recorded: one, the digits, or a run.
 * @param {Scene} scene
 * @returns {TokenChoice}
 */
export function recordedChoice({ recorded, digits }) {
  if (recorded.length < 2) return recorded[0];
  return String(recorded) === String(digits) ? "digits" : [recorded[0], recorded[recorded.length - 1]];
}

/** Whether it can be said of heads how they changed: two variants' heads of the same words. @param {Scene} scene */
export const comparesHeads = ({ own, variants, recorded }) => !own && variants.length > 1 && recorded.length > 0;

/** The tokens whose single heads are there, in words. @param {Scene} scene */
export function recordedWords({ recorded, tokens }) {
  return recorded.length > 1 ? `the mean of ${recorded.length} tokens` : `“${tokens[recorded[0]]?.label ?? ""}”`;
}

/**
 * Whether the single heads of a token choice are there to be shown.
 * @param {TokenChoice} token
 * @param {Scene} scene
 */
export function isRecorded(token, scene) {
  return String(scene.recorded) === String(tokensOf(token, scene));
}

/**
 * Whether what a choice shows is there: its single heads, its view. A server keeps both by the tokens they are of.
 * @param {{ token: TokenChoice, head: Head, view: string }} choice
 * @param {Scene} scene
 */
export function isThere({ token, head, view }, scene) {
  const needed = scene.view_kinds[view].recorded;
  if (needed && !scene.recorded_views.includes(view)) return false;
  return (head === "mean" && !needed) || isRecorded(token, scene);
}

/**
 * Whether a value is a set of heads that a model has.
 * @param {unknown} value
 * @param {number} layers
 * @param {number} heads
 */
function isHeadSet(value, layers, heads) {
  const parts = typeof value === "string" ? value.split(",") : [];
  const known = parts.every((part) => {
    const [, layer, head] = /^L(0|[1-9]\d{0,3})H(0|[1-9]\d{0,3})$/.exec(part) ?? [null, layers, heads];
    return Number(layer) < layers && Number(head) < heads;
  });
  return known && parts.length > 0 && parts.length <= MOST_HEADS && new Set(parts).size === parts.length;
}

/** Whether a choice is a set of heads. @param {Head} head @returns {head is HeadSet} */
export const isSet = (head) => typeof head === "string" && head !== "mean" && head !== "max";

/**
 * The nearest choice that a scene has: each part of `wanted` where it exists, else of the scene's opening.
 * @param {Scene} scene
 * @param {Change} wanted
 * @returns {Choice}
 */
export function fitted(scene, wanted) {
  const { tokens, layers, heads, variants } = scene;
  const isIndex = (/** @type {unknown} */ value, /** @type {number} */ count) => Number.isInteger(value) && Number(value) >= 0 && Number(value) < count;
  /** @type {Record<string, (value: any) => boolean>} */
  const may = {
    token: (value) => (value === "digits" ? scene.digits.length > 0 : Array.isArray(value) ? value.length === 2 && value[0] < value[1] && value.every((end) => isIndex(end, tokens.length)) : isIndex(value, tokens.length)),
    layer: (value) => isIndex(value, layers),
    window: (value) => scene.windows.includes(value),
    head: (value) => value === "mean" || value === "max" || isIndex(value, heads) || isHeadSet(value, layers, heads),
    view: (value) => scene.views.includes(value),
    against: (value) => variants.includes(value),
    adapter: (value) => variants.includes(value),
    opacity: (value) => typeof value === "number" && value >= 0 && value <= 1,
    colormap: (value) => scene.colormaps.includes(value),
    diverging: (value) => scene.diverging.includes(value),
    percentile: (value) => scene.percentiles.includes(value),
    log: (value) => typeof value === "boolean",
    smooth: (value) => typeof value === "boolean",
    fade: (value) => typeof value === "boolean",
    marks: (value) => typeof value === "boolean",
    said: (value) => typeof value === "boolean",
    boxes: (value) => areBoxes(value, scene.image_size),
    aside: (value) => value === null || may.head(value),
  };
  const kept = Object.fromEntries(Object.entries(wanted).filter(([name, value]) => may[name]?.(value)));
  const next = { ...scene.opening, ...kept };
  if (variants.length > 1 && next.against === next.adapter) {
    const other = variants.find((variant) => variant !== next.against) ?? next.against;
    if ("adapter" in kept) next.against = other;
    else next.adapter = other;
  }
  if (!scene.view_kinds[next.view].heads) next.head = "mean";
  return Object.freeze(next);
}

/**
 * What of a choice still means the same in another scene: a token only where the same word stands, boxes only on the
 * same photo; and on another photo only what somebody chose, since where the one before opened says nothing of it.
 * @param {Scene} before
 * @param {Choice} choice
 * @param {Scene} scene
 * @param {Set<string>} picked the parts that somebody chose
 * @returns {Change}
 */
export function kept(before, choice, scene, picked) {
  const still = stillMeant(before, choice, scene);
  return before.photo === scene.photo ? still : Object.fromEntries(Object.entries(still).filter(([name]) => picked.has(name)));
}

/** @param {Scene} before @param {Choice} choice @param {Scene} scene @returns {Change} */
function stillMeant(before, choice, scene) {
  const { token, boxes, ...rest } = choice;
  const there = before.photo === scene.photo ? { ...rest, boxes } : rest;
  if (token === "digits" && scene.digits.length) return { ...there, token };
  const [first, last] = ends(token, before);
  const same = [first, last].every((index) => scene.tokens[index]?.text === before.tokens[index]?.text && scene.tokens[index]?.role === before.tokens[index]?.role);
  return same ? { ...there, token } : there;
}
