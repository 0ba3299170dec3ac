// Decides how all heads of one layer are seen: small multiples in ranked order; asked for once they are opened.

import { isRecorded, recordedChoice, stackKey } from "./choice.js";
import { coloursOf } from "./colours.js";
import { make, mark, write } from "./element.js";
import { panesOf } from "./scale.js";
import { frameOf, hiddenCells, readBody } from "./stack.js";
import { drawThumbnail, thumbnail } from "./thumbnail.js";

const SETTLED = 120; // ms that a layer must stay before its heads are asked for
const HEADS_ROOM = 12;

/**
 * @param {(change: Change) => void} choose
 * @param {(token: TokenChoice) => void} record
 * @param {() => void} reorder the order of heads is another one now
 */
export function createHeads(choose, record, reorder) {
  const summary = make("summary", {}, "all heads of this layer");
  const about = make("p", { class: "lav-note" });
  const orders = make("div", { class: "lav-tabs", role: "group", "aria-label": "Order of heads", hidden: true },
    ...[["carries", "carries the change"], ["changed", "changed most"]].map(([name, words]) =>
      make("button", { type: "button", "data-order": name, onclick: () => rank(name === "carries") }, words)));
  const grid = make("div", { class: "lav-heads", role: "group", "aria-label": "Heads of this layer, ranked" });
  const element = make("details", { class: "lav-fold lav-all-heads" }, summary, orders, about, grid);
  /** @type {Source | null} */
  let source = null;
  /** @type {Drawn | null} */
  let drawn = null;
  /** @type {Map<string, Heads>} */
  let kept = new Map();
  let shown = "";
  let timer = 0;
  /** @type {Finding | null} */
  let effect = null;
  let byEffect = true;

  /** @param {boolean} on */
  function rank(on) {
    byEffect = on;
    reorder();
  }

  element.addEventListener("toggle", follow);

  function follow() {
    clearTimeout(timer);
    if (!element.open || !drawn) return;
    const reason = whyNone(drawn);
    if (reason) return say(...reason);
    const key = keyOf(drawn.choice);
    const heads = kept.get(key);
    if (heads) return paint(heads, drawn);
    timer = setTimeout(() => void ask(key), SETTLED);
  }

  /** @param {string} key */
  async function ask(key) {
    if (!drawn || !source?.heads) return;
    const { choice } = drawn;
    const asked = kept;
    try {
      /** @type {Heads} */
      const heads = readBody(await source.heads(choice, choice.layer));
      if (asked.size >= HEADS_ROOM) asked.delete([...asked.keys()][0]);
      asked.set(key, heads);
    } catch (problem) {
      if (asked === kept && drawn && keyOf(drawn.choice) === key) {
        say(isSaid(problem) ? problem.message : "The heads did not come.");
      }
      return;
    }
    if (asked === kept && drawn && keyOf(drawn.choice) === key) follow();
  }

  /** What is said instead of heads. @param {...(string | Node)} told */
  function say(...told) {
    const text = told.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
    if (about.textContent !== text) about.replaceChildren(...told);
    grid.replaceChildren();
    shown = "";
  }

  /** Why there are no single heads to show, and what leads to them. @param {Drawn} now @returns {(string | Node)[] | null} */
  function whyNone({ choice, scene }) {
    if (!scene.view_kinds[choice.view].heads) return [`The ${choice.view} view has no single heads. Choose another view.`];
    if (isRecorded(choice.token, scene)) return null;
    const act = (/** @type {string} */ text, /** @type {() => void} */ onclick) => make("button", { type: "button", class: "lav-small", onclick }, text);
    const { token } = choice;
    return ["Single heads of this token are not recorded. ",
      source?.record ? act("record them", () => record(token)) : "", " ",
      scene.recorded.length ? act("go to the token that has them", () => choose({ token: recordedChoice(scene) })) : ""];
  }

  /** @param {Heads} heads @param {Drawn} now */
  function paint(heads, { choice, scene }) {
    const order = byEffect && effect?.heads?.order?.[choice.layer];
    const key = JSON.stringify([keyOf(choice), choice.adapter, choice.colormap, choice.diverging, order || ""]);
    const { header } = heads;
    if (key !== shown) {
      const panes = panesOf(header, choice);
      const pane = panes[panes.length - 1];
      const { difference, signed, variant } = header.panes[pane];
      const limits = (difference && header.difference) || header.shared;
      const colours = coloursOf(scene, signed ? choice.diverging : choice.colormap);
      const hidden = hiddenCells(header.grid, header.hidden, header.sinks);
      grid.replaceChildren(...(order || header.heads).map((head) => {
        const frame = header.heads.indexOf(head);
        const canvas = thumbnail();
        drawThumbnail(canvas, frameOf(heads, pane, frame), header.grid, limits, colours, hidden);
        return make("button", { type: "button", class: "lav-head-cell", "data-head": head, onclick: () => choose({ head }) },
          canvas, make("span", {}, order ? effect?.heads?.words?.[choice.layer][head] : header.words[frame]));
      }));
      write(about, `Layer ${choice.layer}, ${variant}, one scale ${limits.words}; ${order ? "ranked by what each alone carries of the change" : "ranked by what each says"}.`);
      shown = key;
    }
    for (const button of grid.children) mark(button, "aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.head === String(choice.head)));
  }

  return {
    element,
    /** @param {Scene} scene @param {Source} from */
    show(scene, from) {
      const [height, width] = scene.image_size;
      element.style.setProperty("--lav-ratio", String(Math.min(4, Math.max(0.4, width / height))));
      source = from;
      kept = new Map();
      shown = "";
      element.hidden = !from.heads;
    },
    /**
     * The heads of a layer as the menu offers them: by what they carry of the change, once that is known.
     * @param {Finding | null} found
     * @param {[number, string][]} changed
     * @param {number} layer
     * @returns {[[number, string][], string]}
     */
    order(found, changed, layer) {
      effect = found?.heads?.order ? found : null;
      orders.hidden = !effect;
      for (const button of orders.children) mark(button, "aria-pressed", String((/** @type {HTMLElement} */ (button).dataset.order === "carries") === byEffect));
      const { order, words } = effect?.heads ?? {};
      if (!byEffect || !order || !words) return [changed, "ranked for this token and layer"];
      return [order[layer].map((head) => [head, words[layer][head]]), "by what each carries of the change"];
    },
    /** @param {Drawn} next */
    draw(next) {
      drawn = next;
      write(summary, `all heads of layer ${next.choice.layer}`);
      follow();
    },
  };
}

/** @param {Choice} choice */
const keyOf = (choice) => stackKey({ ...choice, head: "mean" }) + choice.layer;

/**
 * @param {unknown} problem
 * @returns {problem is { message: string }}
 */
export const isSaid = (problem) => typeof problem === "object" && problem !== null && "message" in problem;
