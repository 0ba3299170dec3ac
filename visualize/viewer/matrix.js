// Decides how "where did it change?" looks: one cell per layer and head, coloured on a scale from Python; a cell goes
// to its layer and head. It is one stop of the keyboard: arrows move in it, Enter goes there.

import { comparesHeads, isSet, recordedWords } from "./choice.js";
import { coloursOf } from "./colours.js";
import { createBar } from "./colour_bar.js";
import { make, mark, words, write } from "./element.js";
import { axes, paintMatrix } from "./finding_pictures.js";
import { isSaid } from "./heads.js";

/** @type {readonly (MatrixName | "carries")[]} */
const MEASURES = ["carries", "js", "share", "entropy", "box_change", "box_against", "box"];

/**
 * @param {(layer: number, head: number, isEffect: boolean) => void} go isEffect: of the token that is looked at
 */
export function createMatrix(go) {
  const canvas = make("canvas", { class: "lav-matrix-cells" });
  const current = make("div", { class: "lav-matrix-mark lav-matrix-current", "aria-hidden": "true" });
  const pointed = make("div", { class: "lav-matrix-mark lav-matrix-pointed", "aria-hidden": "true", hidden: true });
  const field = make("div", { class: "lav-matrix-field", tabindex: 0, role: "application", "aria-roledescription": "matrix" }, canvas, current, pointed);
  const said = make("p", { class: "lav-matrix-said", "aria-live": "polite" });
  const about = make("p", { class: "lav-note" });
  const choices = make("div", { class: "lav-tabs", role: "group", "aria-label": "Measure" });
  const bar = createBar("lav-matrix-bar");
  const frame = make("div", { class: "lav-matrix-frame" });
  const refused = make("p", { class: "lav-status-line", role: "status" });
  const element = make("section", { class: "lav-card lav-matrix", "aria-label": "Where did it change" }, make("h2", {}, "Where did it change?"), refused, choices, about,
    frame, said, bar.element);
  /** @type {MatrixName | "carries"} */
  let measure = "js";
  /** @type {Finding | null} what carries the change */
  let effect = null;
  /** @type {Finding | null} what is within chance */
  let chance = null;
  /** @type {Drawn | null} */
  let drawn = null;
  /** @type {HeadChanges | null} against the variant that is looked at */
  let changes = null;
  /** @type {BoxNumbers | null} of the boxes that are drawn */
  let boxed = null;
  let offered = "";
  /** @type {MatrixMeasure | null} */
  let painted = null;
  let colours = /** @type {Uint8Array | null} */ (null);
  /** @type {boolean[][] | null} */
  let dim = null;
  /** @type {[number, number] | null} layer and head */
  let cell = null;

  /** @returns {MatrixPicture | null} */
  const carried = () => /** @type {MatrixPicture | undefined} */ (effect?.pictures.find((picture) => picture.kind === "matrix")) ?? null;
  /** The measures there are: what carries the change, those of the scene, and those of a box. @returns {Partial<Record<MatrixName | "carries", MatrixMeasure>>} */
  function measures() {
    if (!drawn) return {};
    const found = carried();
    return { ...(found ? { carries: found } : {}), ...changes?.matrix[drawn.choice.adapter], ...boxed?.matrix[drawn.choice.adapter] };
  }
  /** What is shown: the measure that was turned to, where there is one; those of a box go with it. @returns {MatrixName | "carries"} */
  const turned = () => (measures()[measure] ? measure : (MEASURES.find((name) => measures()[name]) ?? measure));
  const measured = () => measures()[turned()] ?? null;
  /** What is within chance, where that is of the tokens that the matrix is of. */
  const within = () => (chance && turned() !== "carries" && drawn?.scene.recorded.length === 1 && drawn.scene.recorded[0] === chance.token && chance.first === changes?.against ? chance.heads?.within ?? null : null);

  function paint() {
    if (!drawn) return;
    const { scene, choice } = drawn;
    const all = measures();
    const names = MEASURES.filter((name) => all[name]);
    const matrix = measured();
    element.hidden = !matrix;
    if (!matrix) return;
    element.classList.remove("lav-empty");
    const now = JSON.stringify([turned(), names, choice.adapter, choice.against]);
    if (offered !== now) {
      offered = now;
      choices.replaceChildren(...names.map((name) =>
        make("button", { type: "button", "aria-pressed": String(name === turned()), "data-measure": name, onclick: () => turnTo(name) }, words(all[name]?.label ?? ""))));
    }
    const table = coloursOf(scene, matrix.limits.signed ? choice.diverging : choice.colormap);
    const dimmed = within();
    if (painted === matrix && colours === table && dim === dimmed) return;
    [painted, colours, dim] = [matrix, table, dimmed];
    paintMatrix(canvas, matrix, scene, table, dimmed);
    bar.draw(matrix.limits, table);
    write(about, turned() === "carries" ? "What each head alone does to the answer. A head that changed most need not be one of these." : dimmed ? "Dimmed: within chance, by JS divergence." : "");
    mark(field, "aria-label", `${matrix.label} of every head (rows) of every layer (columns), ${choice.adapter} against ${choice.against}; ${matrix.limits.words}. Arrows move, Enter goes there.`);
  }

  /** @param {MatrixName | "carries"} name */
  function turnTo(name) {
    measure = name;
    paint();
    /** @type {HTMLElement | null} */ (choices.querySelector(`[data-measure="${name}"]`))?.focus();
    point(cell);
  }

  /** @param {HTMLElement} box @param {number} layer @param {number | null} head */
  function place(box, layer, head) {
    if (!drawn) return;
    const { layers, heads } = drawn.scene;
    box.style.left = `${(layer / layers) * 100}%`;
    box.style.width = `${100 / layers}%`;
    box.style.top = head === null ? "0" : `${(head / heads) * 100}%`;
    box.style.height = head === null ? "100%" : `${100 / heads}%`;
  }

  /** @param {[number, number] | null} next */
  function point(next) {
    cell = next;
    pointed.hidden = !next;
    const matrix = measured();
    if (!drawn || !matrix) return;
    const { scene, choice } = drawn;
    const of = matrix === carried() ? `“${scene.tokens[effect?.token ?? 0]?.label ?? ""}”` : recordedWords(scene);
    if (!next) return write(said, `of ${of}, ${choice.adapter} − ${choice.against} · point at a cell, click to go there`);
    place(pointed, ...next);
    write(said, `layer ${next[0]}, head ${next[1]}: ${matrix.label} ${matrix.texts[next[0]][next[1]]}${within()?.[next[0]][next[1]] ? ", within chance" : ""}`);
  }

  /** @param {PointerEvent | MouseEvent} event @returns {[number, number] | null} */
  function cellAt(event) {
    if (!drawn) return null;
    const box = canvas.getBoundingClientRect();
    const { layers, heads } = drawn.scene;
    const layer = Math.floor(((event.clientX - box.left) / box.width) * layers);
    const head = Math.floor(((event.clientY - box.top) / box.height) * heads);
    return layer >= 0 && layer < layers && head >= 0 && head < heads ? [layer, head] : null;
  }

  field.addEventListener("pointermove", (event) => point(cellAt(event)));
  field.addEventListener("pointerleave", () => point(null));
  field.addEventListener("click", (event) => {
    const at = cellAt(event);
    if (at) go(...at, measured() === carried());
  });
  field.addEventListener("keydown", (event) => {
    if (!drawn) return;
    const step = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] })[event.key];
    const { layers, heads } = drawn.scene;
    const [layer, head] = cell ?? [drawn.choice.layer, typeof drawn.choice.head === "number" ? drawn.choice.head : 0];
    if (step) point([Math.min(layers - 1, Math.max(0, layer + step[0])), Math.min(heads - 1, Math.max(0, head + step[1]))]);
    else if (event.key === "Enter") go(layer, head, measured() === carried());
    else if (event.key === "Escape") point(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    /** What was found of the heads of what is looked at: what carries the change comes first once it is known. @param {Finding | null} heads @param {Finding | null} nothing */
    offer(heads, nothing) {
      if (heads === effect && nothing === chance) return;
      if (heads !== effect) measure = heads && heads.heads ? "carries" : "js";
      [effect, chance] = [heads, nothing];
      painted = null;
      if (!drawn) return;
      paint();
      point(cell);
    },
    /** @param {Scene} scene */
    show(scene) {
      drawn = changes = boxed = effect = chance = painted = null; // nothing of another result is shown, or read
      offered = "";
      point(null);
      refused.replaceChildren();
      element.classList.add("lav-empty");
      element.hidden = !comparesHeads(scene); // until a box has one
      const size = `${scene.layers} ${scene.heads}`;
      if (frame.dataset.size !== size) frame.replaceChildren(...axes(field, scene)); // else the keyboard stays in it
      frame.dataset.size = size;
      field.style.setProperty("--lav-cells", String(scene.layers / scene.heads));
    },
    /** What all heads do did not come. @param {unknown} problem @param {() => void} again asks once more */
    failed(problem, again) {
      refused.replaceChildren(isSaid(problem) ? String(problem.message) : "These numbers did not come.", " ", make("button", { type: "button", class: "lav-small", onclick: () => {
        refused.replaceChildren();
        again();
      } }, "try again"));
    },
    /** @param {Drawn} next @param {HeadChanges | null} against @param {BoxNumbers | null} inBox */
    draw(next, against, inBox) {
      const first = drawn?.scene !== next.scene || drawn.choice.adapter !== next.choice.adapter || changes !== against || String(boxed?.boxes) !== String(inBox?.boxes);
      refused.replaceChildren();
      drawn = next;
      [changes, boxed] = [against, inBox];
      paint();
      current.hidden = isSet(next.choice.head); // heads of several layers
      place(current, next.choice.layer, typeof next.choice.head === "number" ? next.choice.head : null);
      if (first) point(null);
    },
  };
}
