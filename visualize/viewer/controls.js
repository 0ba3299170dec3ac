// Decides which controls there are and what they read; each writes the choice through one function and shows it again.

import { isSet } from "./choice.js";
import { make, mark, write } from "./element.js";

const SPEEDS = [1, 2, 4, 8, 15, 30];

/**
 * @typedef {object} Turns
 * @property {(change: Change) => void} choose
 * @property {() => void} play
 * @property {(rate: number) => void} speed
 * @property {(what: "layers" | "checkpoints") => void} through
 */

/** @param {Turns} turns */
export function createControls({ choose, play, speed, through }) {
  const button = make("button", { type: "button", class: "lav-play", title: "play (space)", "aria-label": "play", "aria-pressed": "false", onclick: play }, "▶");
  const line = make("div", { class: "lav-line" });
  const display = make("div", { class: "lav-line" });
  const fold = make("details", { class: "lav-fold lav-display" }, make("summary", { "data-choice": "display" }, "display"), display);
  const element = make("div", { class: "lav-controls" }, line, fold);
  /** @type {Map<string, HTMLInputElement | HTMLSelectElement>} */
  const fields = new Map();
  /** @type {Record<string, (value: number) => string>} */
  let say = {};
  /** @type {[number, string][] | null} */
  let ranked = null;
  /** @type {[HeadSet, string][]} */
  let few = [];
  let offered = "";
  let heads = 0;

  /**
   * @param {string} name
   * @param {string} label
   * @param {(readonly [string | number, string])[]} options
   * @param {(text: string) => unknown} [read]
   */
  function select(name, label, options, read = (text) => text) {
    const field = make("select", { "data-choice": name, onchange: () => choose({ [name]: read(field.value) }) }, ...options.map(([value, word]) => make("option", { value }, word)));
    fields.set(name, field);
    return make("label", { class: `lav-field lav-${name}` }, make("span", {}, label), field);
  }

  /** @param {"layer" | "opacity"} name @param {number} high @param {number} step */
  function range(name, high, step) {
    const output = make("span", { class: "lav-now", "aria-hidden": "true" }); // no <output>: that is read out at each step
    const field = make("input", { type: "range", min: 0, max: high, step, "data-choice": name, "aria-label": name, "aria-describedby": name === "layer" && "lav-keys", oninput: () => choose({ [name]: Number(field.value) }) });
    fields.set(name, field);
    return make("label", { class: `lav-field lav-range lav-${name}` }, make("span", {}, name, output), field);
  }

  /** @param {string} name @param {string} label */
  function check(name, label) {
    const field = make("input", { type: "checkbox", "data-choice": name, onchange: () => choose({ [name]: field.checked }) });
    fields.set(name, field);
    return make("label", { class: "lav-check" }, field, label);
  }

  /** @param {Scene} scene */
  function build(scene) {
    fields.clear();
    ranked = null;
    offered = "";
    few = [];
    heads = scene.heads;
    const last = scene.layers - 1;
    say = { layer: (layer) => `${layer} of 0–${last}`, opacity: (part) => `${Math.round(part * 100)} %` };
    const same = (/** @type {string[]} */ names) => names.map((name) => /** @type {const} */ ([name, name]));
    const variants = scene.variants.length > 2 ? [select("adapter", "adapter", same(scene.variants)), select("against", "against", same(scene.variants))] : [];
    const rate = make("select", { "aria-label": "speed", title: "speed", onchange: () => speed(Number(rate.value)) }, ...SPEEDS.map((each) => make("option", { value: each }, `${each}/s`)));
    rate.value = matchMedia("(prefers-reduced-motion: reduce)").matches ? "1" : "4";
    speed(Number(rate.value));
    const steps = Object.keys(scene.families).length > 1 && make("select", { "aria-label": "play through", onchange: (/** @type {Event} */ event) => through(/** @type {"layers" | "checkpoints"} */ (/** @type {HTMLSelectElement} */ (event.target).value)) },
      ...["layers", "checkpoints"].map((what) => make("option", { value: what }, what)));
    through("layers");
    line.replaceChildren(button, make("span", { class: "lav-field lav-rate" }, rate, steps || ""), range("layer", last, 1), ...variants,
      select("head", "head", [], (text) => (/^\d+$/.test(text) ? Number(text) : text)),
      select("window", "average", scene.windows.filter((width) => width === 0 || width < scene.layers).map((width) => [width, width ? `± ${width} layers` : "this layer"]), Number),
      select("view", "view", same(scene.views)));
    display.replaceChildren(range("opacity", 1, 0.05),
      select("colormap", "colours", same(scene.colormaps)), select("diverging", "colours of differences", same(scene.diverging)),
      select("percentile", "clip colours at", scene.percentiles.map((percentile) => [percentile, percentile === 100 ? "the largest value" : `percentile ${percentile}`]), Number),
      check("smooth", "smooth between cells"), check("log", "logarithmic colours"), check("fade", "photo shows where nothing changed"), check("marks", "peak ○ and sinks ×"));
  }

  /**
   * @param {[number, string][]} order
   * @param {string} by what it is ranked by
   * @param {[HeadSet, string][]} sets of heads of any layers, and what each was chosen by
   * @param {Head} chosen
   */
  function offerHeads(order, by, sets, chosen) {
    const known = isSet(chosen) && !sets.some(([set]) => set === chosen) ? [...sets, /** @type {[HeadSet, string]} */ ([chosen, chosen.replaceAll(",", ", ")])] : sets;
    const now = JSON.stringify([order, known]);
    if (now === offered) return;
    offered = now;
    [ranked, few] = [order, known];
    const field = fields.get("head");
    const plain = Array.from({ length: heads }, (_, head) => /** @type {[number, string]} */ ([head, `head ${head}`]));
    const option = (/** @type {readonly [string | number, string]} */ [value, word]) => make("option", { value }, word);
    field?.replaceChildren(option(["mean", "mean of all"]), option(["max", "maximum"]),
      known.length ? make("optgroup", { label: "mean of few heads of all layers" }, ...known.map(option)) : "",
      make("optgroup", { label: order.length ? by : "one head" }, ...(order.length ? order : plain).map(option)));
  }

  return {
    element,
    show: build,
    /** Every control says what is chosen. @param {Choice} choice */
    draw(choice) {
      for (const [name, field] of fields) {
        const value = choice[/** @type {keyof Choice} */ (name)];
        if (field instanceof HTMLInputElement && field.type === "checkbox") field.checked = Boolean(value);
        else if (field.value !== String(value)) field.value = String(value);
        if (!say[name]) continue;
        const text = say[name](Number(value));
        mark(field, "aria-valuetext", text);
        const output = field.parentElement?.querySelector(".lav-now");
        if (output) write(output, text);
      }
    },
    offerHeads,
    /** The heads in the order in which they are offered. @returns {Head[]} */
    order: () => ["mean", "max", ...few.map(([set]) => set), ...(ranked?.length ? ranked.map(([head]) => head) : Array.from({ length: heads }, (_, head) => head))],
    /** @param {boolean} on */
    playing(on) {
      button.textContent = on ? "❚❚" : "▶";
      mark(button, "aria-pressed", String(on));
    },
  };
}
