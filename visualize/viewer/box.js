// Decides how a person draws boxes on the photo, and how they and their numbers look; the numbers come from Python, asked
// for once per boxes and tokens, and a late answer stands under its own key: it is never shown for other boxes.

import { boxesText, MOST_BOXES, whyNoBox } from "./box_text.js";
import { boxKey, recordedChoice, recordedWords } from "./choice.js";
import { make, mark, words, write } from "./element.js";
import { isSaid } from "./heads.js";

const LEAST_DRAG = 4; // CSS pixels: what is shorter both ways was a click
const ROOM = 48;
/** In the order of a box. */
const EDGES = /** @type {const} */ (["top", "left", "bottom", "right"]);
const DRAW = "Drag over a picture to draw a box, or give its edges in pixels. Escape ends drawing.";
const FIXED = "These boxes are as they were when this file was saved: it holds their numbers, and no others can be measured here.";

/**
 * @param {HTMLElement[]} frames one per pane
 * @param {() => Part} part which part of the photo they show
 * @param {(change: Change) => void} choose
 * @param {() => void} changed asks for a new drawing
 */
export function createBoxes(frames, part, choose, changed) {
  const tool = make("button", { type: "button", class: "lav-small lav-box-tool", "aria-pressed": "false", title: "draw a box on the photo (b)", onclick: () => turn(!drawing) }, "Box");
  const layers = frames.map((frame) => frame.appendChild(make("div", { class: "lav-boxes", "aria-hidden": "true" })));
  const said = make("p", { class: "lav-box-said", role: "status" });
  const numbers = make("div", { class: "lav-box-numbers", "aria-live": "polite" });
  const about = make("p", { class: "lav-note" });
  const list = make("ul", { class: "lav-box-list", "aria-label": "Boxes" });
  const best = make("p", { class: "lav-box-best" });
  const problem = make("p", { class: "lav-box-problem", role: "alert" });
  const fields = EDGES.map((edge) => make("input", { type: "number", step: 1, inputmode: "numeric", "data-edge": edge, "aria-label": `${edge} edge in pixels` }));
  const form = make("form", { class: "lav-box-form", novalidate: true, "aria-label": "A box in pixels of the photo", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    addTyped();
  } }, ...fields.map((field, at) => make("label", { class: "lav-field" }, make("span", {}, EDGES[at]), field)), make("button", { type: "submit", class: "lav-small" }, "add box"));
  const element = make("section", { class: "lav-box-panel", "aria-label": "Boxes on the photo", hidden: true }, said, numbers, about, best, list, form, problem);

  let drawing = false;
  let fixed = false;
  /** @type {{ frame: HTMLElement, pointer: number, from: [number, number], at: [number, number], far: boolean } | null} */
  let drag = null;
  /** @type {number | null} which box is pointed at in the list */
  let named = null;
  /** @type {Drawn | null} */
  let drawn = null;
  /** @type {Source | null} */
  let source = null;
  /** @type {Map<string, BoxNumbers | string>} a text is why there are none */
  let kept = new Map();
  let asking = "";
  let listed = "";
  let told = "";
  /** @type {{ boxes: string, found: BoxNumbers } | null} the last numbers of these boxes: their matrix is of any token */
  let last = null;

  const boxes = () => drawn?.choice.boxes ?? [];

  /** @param {boolean} on */
  function turn(on) {
    drawing = on && !fixed;
    drag = null;
    mark(tool, "aria-pressed", String(drawing));
    for (const frame of frames) frame.classList.toggle("lav-drawing", drawing);
    write(problem, "");
    changed();
  }

  /** @param {HTMLElement} frame @param {PointerEvent} event @returns {[number, number]} row and column in pixels of the photo */
  function placeOf(frame, event) {
    const [height, width] = /** @type {Drawn} */ (drawn).scene.image_size;
    const box = frame.getBoundingClientRect();
    const { left, top, size } = part();
    const within = (/** @type {number} */ value, /** @type {number} */ most) => Math.min(most, Math.max(0, value));
    return [within((top + ((event.clientY - box.top) / box.height) * size) * height, height), within((left + ((event.clientX - box.left) / box.width) * size) * width, width)];
  }

  /** The dragged box in whole pixels: all that it touches. @returns {[number, number, number, number]} */
  function dragged() {
    const { from, at } = /** @type {NonNullable<typeof drag>} */ (drag);
    const low = (/** @type {0 | 1} */ axis) => Math.floor(Math.min(from[axis], at[axis]));
    const high = (/** @type {0 | 1} */ axis) => Math.ceil(Math.max(from[axis], at[axis]));
    return [low(0), low(1), high(0), high(1)];
  }

  /** @param {number[]} box @returns {boolean} whether it was taken */
  function add(box) {
    if (!drawn) return false;
    const now = boxes();
    const edges = /** @type {Box} */ (/** @type {unknown} */ (box));
    const why = now.length >= MOST_BOXES ? `At most ${MOST_BOXES} boxes are measured together: remove one first.` : whyNoBox(box, drawn.scene.image_size);
    write(problem, why);
    if (why) return false;
    choose({ boxes: Object.freeze([...now, Object.freeze(edges)]) });
    return true;
  }

  function addTyped() {
    if (add(fields.map((field) => (field.value.trim() === "" ? NaN : Number(field.value))))) {
      for (const field of fields) field.value = "";
      fields[0].focus();
    }
  }

  /** @param {number} index */
  function remove(index) {
    named = null;
    choose({ boxes: Object.freeze(boxes().filter((_, at) => at !== index)) });
    requestAnimationFrame(() => {
      const left = list.querySelectorAll("button");
      (left[Math.min(index, left.length - 1)] ?? tool).focus({ preventScroll: true });
    });
  }

  for (const frame of frames) {
    const capture = { capture: true };
    frame.addEventListener("pointerdown", (event) => {
      if (!drawing || !drawn) return;
      event.stopImmediatePropagation();
      if (drag) { // a second finger means something else: nothing is drawn
        drag = null;
        return changed();
      }
      if (event.button) return;
      const from = placeOf(frame, event);
      drag = { frame, pointer: event.pointerId, from, at: from, far: false };
      frame.setPointerCapture(event.pointerId);
    }, capture);
    frame.addEventListener("pointermove", (event) => {
      if (!drawing || !drag || drag.pointer !== event.pointerId) return;
      event.stopImmediatePropagation();
      drag.at = placeOf(drag.frame, event);
      const { width, height } = drag.frame.getBoundingClientRect();
      const [high, wide] = /** @type {Drawn} */ (drawn).scene.image_size;
      const reach = (/** @type {0 | 1} */ axis) => Math.abs(/** @type {NonNullable<typeof drag>} */ (drag).at[axis] - /** @type {NonNullable<typeof drag>} */ (drag).from[axis]) / part().size;
      drag.far ||= (reach(0) / high) * height >= LEAST_DRAG || (reach(1) / wide) * width >= LEAST_DRAG;
      changed();
    }, capture);
    frame.addEventListener("pointerup", (event) => {
      if (!drawing || !drag || drag.pointer !== event.pointerId) return;
      event.stopImmediatePropagation();
      const box = drag.far ? dragged() : null;
      drag = null;
      if (box && add(box)) turn(false);
      else changed();
    }, capture);
    frame.addEventListener("pointercancel", (event) => {
      if (drag?.pointer !== event.pointerId) return;
      drag = null;
      changed();
    }, capture);
    frame.addEventListener("dblclick", (event) => drawing && event.stopImmediatePropagation(), capture);
  }
  element.addEventListener("keydown", (event) => event.key === "Escape" && drawing && (turn(false), tool.focus()));

  function outline() {
    if (!drawn) return;
    const [height, width] = drawn.scene.image_size;
    const { left, top, size } = part();
    const all = drag?.far ? [...boxes(), dragged()] : boxes();
    const percent = (/** @type {number} */ fraction) => `${(fraction / size) * 100}%`;
    for (const layer of layers) {
      while (layer.children.length > all.length) layer.lastElementChild?.remove();
      while (layer.children.length < all.length) layer.append(make("div", { class: "lav-box" }));
      all.forEach((box, at) => {
        const node = /** @type {HTMLElement} */ (layer.children[at]);
        const [y0, x0, y1, x1] = [Math.max(0, box[0]), Math.max(0, box[1]), Math.min(height, box[2]), Math.min(width, box[3])];
        Object.assign(node.style, { left: percent(x0 / width - left), top: percent(y0 / height - top), width: percent((x1 - x0) / width), height: percent((y1 - y0) / height) });
        node.classList.toggle("lav-box-named", at === named);
      });
    }
  }

  function showList() {
    const text = boxesText(boxes());
    const key = `${fixed} ${text}`;
    if (key === listed) return;
    listed = key;
    const point = (/** @type {number | null} */ index) => () => {
      named = index;
      outline();
    };
    list.replaceChildren(...boxes().map((box, index) => {
      const where = `rows ${box[0]}–${box[2]}, columns ${box[1]}–${box[3]}`;
      const away = !fixed && make("button", { type: "button", class: "lav-small", "aria-label": `remove box ${index + 1}: ${where}`, title: "remove this box", onclick: () => remove(index), onfocus: point(index), onblur: point(null) }, "×");
      return make("li", { onpointerenter: point(index), onpointerleave: point(null) }, make("span", {}, `${index + 1}: ${where} px`), away);
    }));
  }

  /** The numbers of what is drawn, if they are here; if not, they are asked for, one after another. @returns {BoxNumbers | string | null} */
  function found() {
    if (!drawn || !boxes().length || !source?.box) return null;
    const key = boxKey(drawn.choice);
    const here = kept.get(key);
    if (here === undefined && !asking) void ask(key, drawn.choice, drawn.scene.recorded);
    return here ?? null;
  }

  /** @param {string} key @param {Choice} choice @param {number[]} recorded */
  async function ask(key, choice, recorded) {
    const mine = kept;
    asking = key;
    /** @type {BoxNumbers | string} */
    let answer;
    try {
      answer = await /** @type {NonNullable<Source["box"]>} */ (source?.box)(choice, recorded);
    } catch (why) {
      answer = isSaid(why) ? String(why.message) : "The numbers of this box did not come.";
    }
    if (mine !== kept) return; // of a result that is no longer shown
    asking = "";
    if (kept.size >= ROOM) kept.delete([...kept.keys()][0]);
    kept.set(key, answer);
    changed();
  }

  /** @param {BoxNumbers | string | null} answer */
  function showNumbers(answer) {
    if (!drawn) return;
    const { choice, frame, scene } = drawn;
    const key = JSON.stringify([boxKey(choice), choice.head, frame, choice.adapter, typeof answer === "string" ? answer : answer !== null]);
    if (key === told) return;
    told = key;
    const isComing = answer === null && boxes().length > 0 && Boolean(source?.box);
    element.classList.toggle("lav-measuring", isComing);
    if (isComing) return numbers.replaceChildren("Measuring…");
    if (answer === null || typeof answer === "string") {
      numbers.replaceChildren(boxes().length && source?.box ? answer ?? "" : "");
      write(about, "");
      best.replaceChildren();
      return;
    }
    const head = String(choice.head);
    const shown = choice.adapter === choice.against ? [choice.against] : [choice.against, choice.adapter];
    const parts = shown.filter((name) => answer.numbers[name]?.share[head]).map((name) => {
      const { share, ratio, hit } = answer.numbers[name];
      return make("span", { class: "lav-box-one", "data-variant": name }, words(name), " ", make("b", {}, share[head][frame]), ` · ratio ${ratio[head][frame]} · ${hit[head][frame]}`);
    });
    const change = answer.numbers[choice.adapter]?.change?.[head];
    if (change && shown.length > 1) parts.push(make("span", { class: "lav-box-one", "data-variant": "change" }, "Δ ", make("b", {}, change[frame])));
    parts.push(...shown.filter((name) => answer.numbers[name]?.verdict?.[head]).map((name) =>
      make("span", { class: "lav-box-verdict", "data-verdict": name }, words(name), ` ${answer.numbers[name].verdict?.[head][frame]}`)));
    numbers.replaceChildren(...(parts.length ? parts : [head === "max" ? answer.of_maximum : "The head that is chosen was not recorded for this choice."]));
    write(about, [answer.about, ...answer.said, ...answer.notes].join(" "));
    const heads = answer.heads[choice.adapter] ?? [];
    best.replaceChildren(...(heads.length ? [make("span", {}, "Largest share in the box at ", words(recordedWords(scene)), ", ", words(choice.adapter), ":"), ...heads.map(({ layer, head: number, text }) =>
      make("button", { type: "button", class: "lav-small", "data-best": `${layer}-${number}`, onclick: () => choose({ layer, head: number, token: recordedChoice(scene) }) }, `layer ${layer} · head ${number} · ${text}`))] : []));
  }

  return {
    tool,
    element,
    /** @param {Source} next */
    show(next) {
      source = next;
      kept = new Map();
      [asking, listed, told, last, drawn] = ["", "", "", null, null];
      fixed = Boolean(next.fixed);
      tool.hidden = fixed || !next.box;
      form.hidden = fixed;
      turn(false);
    },
    /**
     * @param {Drawn} next
     * @returns {BoxNumbers | null} whose matrix belongs to the boxes that are drawn
     */
    draw(next) {
      drawn = next;
      outline();
      showList();
      const answer = found();
      showNumbers(answer);
      const text = boxesText(boxes());
      if (answer && typeof answer !== "string") last = { boxes: text, found: answer };
      element.hidden = !drawing && !boxes().length;
      write(said, drawing ? DRAW : fixed ? FIXED : "");
      return text && last?.boxes === text ? last.found : null;
    },
    /** Draw, or end drawing. */
    toggle: () => !tool.hidden && turn(!drawing),
    /** @returns {boolean} whether there was something to cancel */
    cancel() {
      const was = drawing;
      if (was) turn(false);
      return was;
    },
  };
}
