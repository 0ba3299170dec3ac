// Decides how answers are shown: a row per variant, its tokens as chips with shares and a strip of change over layers.
// Hovering a chip previews its token, a click pins it, shift and a click make a range.

import { ends, tokensOf } from "./choice.js";
import { make, mark, words, write } from "./element.js";

const SVG = "http://www.w3.org/2000/svg";
const LINGER = 120; // ms on a chip before its token is previewed
const LONG = 12; // tokens; a row of more has bars without their numbers, or it pushes the pictures off the screen

/** @typedef {{ index: number, variants: string[], button: HTMLButtonElement, bars: HTMLElement[], share: HTMLElement }} Chip */
/** @typedef {{ choose: (change: Change) => void, preview: (token: number | null) => void, replay: (answer: { text: string } | { variant: string }, word?: number) => void }} Acts */

/** @param {Acts} acts */
export function createChips(acts) {
  const rows = make("div", { class: "lav-rows" });
  const digits = make("button", { type: "button", class: "lav-small lav-digits", "aria-pressed": "false", "data-choice": "digits",
    title: "look at the mean over the tokens that spell the digits of the answer's points and boxes", onclick: () => acts.choose({ token: "digits" }) }, "digits of the answer");
  const folds = make("div", { class: "lav-folds" });
  const legend = make("p", { class: "lav-legend" });
  const warnings = make("ul", { class: "lav-warnings" });
  const most = make("div", { class: "lav-most" });
  const element = make("section", { class: "lav-card lav-answers", "aria-label": "Answers" },
    make("div", { class: "lav-top" }, make("h2", {}, "Answers"), most), rows, folds, legend, warnings);
  /** @type {Chip[]} */
  let chips = [];
  /** @type {Choice | null} */
  let choice = null;
  /** @type {Scene | null} */
  let shownScene = null;
  let lingering = 0;
  let pointed = -1; // the token that the mouse was moved to
  let pinned = "";
  /** @type {[Scene, string] | null} what the folds were opened for */
  let opened = null;
  let adapter = "";
  /** @type {Changes | null} */
  let changes = null;

  /** @param {number} index @param {boolean} shift */
  function pin(index, shift) {
    clearTimeout(lingering);
    acts.preview(null);
    if (!shift || !choice || !shownScene) return acts.choose({ token: index });
    const from = ends(choice.token, shownScene)[0];
    acts.choose({ token: from === index ? index : [Math.min(from, index), Math.max(from, index)] });
  }

  /** @param {Scene} scene @param {SceneToken} token @param {string[]} variants */
  function chipOf(scene, token, variants) {
    const bars = variants.map(() => make("i"));
    const share = make("small");
    const rows = changes?.rows[adapter]?.[token.index];
    const star = changes?.most?.token === token.index;
    const button = make("button", {
      type: "button", class: `lav-chip lav-${token.role}`, "aria-pressed": "false", "data-token": token.index,
      onclick: (/** @type {MouseEvent} */ event) => pin(token.index, event.shiftKey),
      onpointerenter: () => mark(button, "title", share.textContent ?? ""),
      onpointerleave: () => button.removeAttribute("title"),
      onpointermove: (/** @type {PointerEvent} */ event) => {
        // a chip that comes to lie under a resting mouse is not pointed at
        if (event.pointerType !== "mouse" || pointed === token.index || !(event.movementX || event.movementY)) return;
        clearTimeout(lingering);
        pointed = token.index;
        lingering = setTimeout(() => acts.preview(token.index), LINGER);
      },
    }, make("span", { class: "lav-text" }, words(token.label), star && make("span", { class: "lav-star", title: "the token whose whole row changed most" }, "★")),
    make("span", { class: "lav-shares", "aria-hidden": "true" }, ...bars), share, rows && sparkline(rows, highest(scene, changes)));
    chips.push({ index: token.index, variants, button, bars, share });
    return button;
  }

  /** @param {Scene} scene @param {SceneToken[]} tokens @param {string[]} variants */
  function rowOf(scene, tokens, variants) {
    const row = make("div", { class: `lav-chips lav-of-layer${tokens.length > LONG ? " lav-long" : ""}` }, ...tokens.map((token) => chipOf(scene, token, variants)));
    row.addEventListener("pointerleave", () => {
      clearTimeout(lingering);
      pointed = -1;
      acts.preview(null);
    });
    return row;
  }

  /** @param {Scene} scene @param {Source} source */
  function build(scene, source) {
    chips = [];
    const variants = scene.own ? scene.variants.slice(0, 1) : scene.variants;
    const of = (/** @type {string[]} */ ...roles) => scene.tokens.filter((token) => roles.includes(token.role));
    const open = new Set([...folds.querySelectorAll("details[open]")].map((fold) => fold.getAttribute("data-fold")));
    const isAnswer = (/** @type {SceneToken} */ { role }) => role === "answer" || role === "end";
    rows.replaceChildren(...scene.answers.flatMap((answer) => {
      const name = make("span", { class: "lav-variant" }, words(answer.variant), answer.replayed && make("small", {}, "replayed"));
      const replay = !answer.replayed && answer.text !== null && source.replay && make("button", {
        type: "button", class: "lav-small", title: `replay the answer of ${answer.variant} through all variants`, onclick: () => acts.replay({ variant: answer.variant }) }, "replay this");
      const tokens = scene.own ? scene.own_tokens[answer.variant] : scene.tokens;
      return [name, answer.replayed ? rowOf(scene, tokens.filter(isAnswer), scene.own ? [answer.variant] : variants) : answer.words.length && answer.parts !== null
        ? make("div", { class: "lav-own lav-own-row" }, ownRow(scene, answer, Boolean(replay)), replay)
        : make("div", { class: "lav-own" }, words(answer.text ?? "—"), replay)];
    }));
    if (!scene.answers.some((answer) => answer.replayed)) {
      rows.append(make("span", { class: "lav-variant" }, "given", make("small", {}, "replayed")), rowOf(scene, scene.tokens.filter(isAnswer), variants));
    }
    if (scene.digits.length) rows.querySelector(".lav-chips:not(.lav-own-words)")?.append(digits);
    const fold = (/** @type {string} */ title, /** @type {string[]} */ ...roles) => of(...roles).length > 0 &&
      make("details", { class: "lav-fold", "data-fold": title, open: open.has(title) }, make("summary", {}, title), rowOf(scene, of(...roles), variants));
    folds.replaceChildren(.../** @type {Node[]} */ ([scene.before.length > 0 && readBefore(scene, open.has("before the image")), fold("template and special tokens", "template"), source.replay && editor(scene, open.has("another answer")), fold("words of the question", "prompt")].filter(Boolean)));
    write(legend, scene.legend);
    const told = [...scene.warnings, ...scene.notes];
    warnings.replaceChildren(...told.map((warning) => make("li", {}, warning)));
    warnings.hidden = !told.length;
  }

  /**
   * The words that a variant wrote itself. Up to the one that parts, the rows are those of the replayed answer; what
   * comes after was not looked at, and a click replays it.
   * @param {Scene} scene @param {Answer} answer @param {boolean} canReplay
   */
  function ownRow(scene, { variant, words: own, parts }, canReplay) {
    const replayed = scene.tokens.filter((token) => token.role === "answer" || token.role === "end");
    return make("div", { class: "lav-chips lav-own-words" }, ...own.map((word, at) => {
      const here = at <= (parts ?? own.length) ? replayed[at] : undefined;
      const title = at === parts ? (here ? `here it parts: “${here.label}” is replayed` : "here it goes on beyond the replayed answer")
        : here ? "the same word is replayed" : `not looked at: ${canReplay ? "a click replays" : "it needs"} the answer of ${variant}`;
      const act = () => (here ? pin(here.index, false) : acts.replay({ variant }, at));
      return make("button", { type: "button", class: `lav-chip lav-own-chip${at === parts ? " lav-parts" : here ? " lav-same" : ""}`, title, disabled: !here && !canReplay, onclick: act }, make("span", { class: "lav-text" }, at === parts && make("span", { class: "lav-unlike", "aria-hidden": "true" }, "≠ "), words(word)));
    }));
  }

  /**
   * What was read before the image, token by token: it cannot see the image, so there is nothing to look at.
   * @param {Scene} scene @param {boolean} open
   */
  function readBefore(scene, open) {
    const tokens = scene.before.flatMap(({ role, pieces }) => pieces.map((piece) => make("span", { class: `lav-read lav-of-${role}` }, words(piece))));
    return make("details", { class: "lav-fold", "data-fold": "before the image", open }, make("summary", {}, "read before the image"),
      make("div", { class: "lav-chips" }, ...tokens));
  }

  /** @param {Scene} scene @param {boolean} open */
  function editor(scene, open) {
    const area = make("textarea", { rows: 2, dir: "auto", "aria-label": "The answer to replay" });
    area.value = scene.tokens.filter((token) => token.role === "answer").map((token) => token.text).join("");
    return make("details", { class: "lav-fold", "data-fold": "another answer", open }, make("summary", {}, "replay another answer"),
      make("form", { class: "lav-editor", onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        if (area.value.trim()) acts.replay({ text: area.value });
      } }, area, make("button", { type: "submit", class: "lav-small" }, "replay")));
  }

  return {
    element,
    most,
    /** @param {Scene} scene @param {Source} source @param {string} of the adapter whose change is drawn @param {Changes | null} from against which */
    show(scene, source, of, from) {
      pinned = "";
      [adapter, changes] = [of, from];
      build(scene, source);
    },
    /** The layer's share of each token. @param {Pick<Drawn, "scene" | "choice">} shown */
    draw({ scene, choice: shown }) {
      element.style.setProperty("--lav-at", String((shown.layer + 0.5) / scene.layers));
      for (const { index, variants, button, bars, share } of chips) {
        if (button.closest("details:not([open])")) continue;
        const text = variants.map((variant) => scene.shares[variant]?.[index]?.[shown.layer] ?? "").join(" → ");
        write(share, `${text} %`);
        if (button.title) mark(button, "title", `${text} %`); // the mouse rests on it while the layer changes
        bars.forEach((bar, at) => (bar.style.transform = `scaleX(${scene.bars[variants[at]]?.[index]?.[shown.layer] ?? 0})`));
      }
    },
    /** Which tokens are looked at. @param {Pick<Drawn, "scene" | "choice">} drawn what is shown; @param {Choice} pin what is chosen, which a preview leaves as it is */
    press({ scene, choice: shown }, pin) {
      [choice, shownScene] = [pin, scene];
      const pins = tokensOf(pin.token, scene);
      const previewed = shown.token === pin.token ? -1 : ends(shown.token, scene)[0];
      for (const { index, button } of chips) button.classList.toggle("lav-previewed", index === previewed);
      const key = JSON.stringify(pin.token);
      if (key === pinned) return;
      pinned = key;
      const isNew = opened?.[0] !== scene || opened[1] !== key; // whoever closes a fold again has it closed
      opened = [scene, key];
      for (const { index, button } of chips) {
        mark(button, "aria-pressed", String(pins.includes(index)));
        const fold = isNew && pins.includes(index) && button.closest("details");
        if (fold) fold.open = true;
      }
      mark(digits, "aria-pressed", String(pin.token === "digits"));
    },
    /** Fill in what stands in folds that were just opened. @param {() => void} redraw */
    onFold(redraw) {
      folds.addEventListener("toggle", redraw, true);
    },
  };
}

/** The largest change of any token of the answer, which all strips share. @param {Scene} scene @param {Changes | null} changes */
function highest(scene, changes) {
  const answer = scene.tokens.filter((token) => token.role === "answer" || token.role === "end");
  return Math.max(1e-12, ...Object.values(changes?.rows ?? {}).flatMap((tokens) => answer.flatMap((token) => tokens[token.index] ?? [])));
}

/**
 * Change over the layers, as a filled line; where the current layer is stands in `--lav-at`.
 * @param {number[]} changes
 * @param {number} most
 */
function sparkline(changes, most) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", `0 0 ${changes.length} 10`);
  picture.setAttribute("preserveAspectRatio", "none");
  const path = document.createElementNS(SVG, "path");
  const tops = changes.map((change, layer) => `H${layer}V${(10 - 10 * Math.min(1, change / most)).toFixed(2)}H${layer + 1}`);
  path.setAttribute("d", `M0 10${tops.join("")}V10Z`);
  picture.append(path);
  return make("span", { class: "lav-spark", "aria-hidden": "true" }, picture);
}
