// Puts the parts together: one immutable choice, one function that changes it, one drawing per frame of the browser.
// It does not know Gradio, reports or notebooks: it gets an element, a scene and a source.

import { createAddressBar } from "./address_bar.js";
import { createBoxes } from "./box.js";
import { createCards } from "./cards.js";
import { createChanges } from "./changes.js";
import { createChips } from "./chips.js";
import { ends, fitted, isThere, kept, recordedChoice, settle, stackKey } from "./choice.js";
import { createControls } from "./controls.js";
import { make, write } from "./element.js";
import { keepingFocus } from "./focus.js";
import { createFrames } from "./frames.js";
import { headSets } from "./head_sets.js";
import { createHeads, isSaid } from "./heads.js";
import { createHover } from "./hover.js";
import { listenToKeys } from "./keys.js";
import { createMatrix } from "./matrix.js";
import { mostChangedButtons } from "./most_changed.js";
import { createNumbers } from "./numbers.js";
import { createPanes } from "./panes.js";
import { createPhoto } from "./photo.js";
import { createPlay, nextStep } from "./play.js";
import { createSaid } from "./said.js";
import { createShelf } from "./shelf.js";
import { createShares } from "./shares.js";
import { codeOf, createStatus } from "./status.js";
import { createStrip } from "./strip.js";
import { createKeysLine, createTools } from "./tools.js";
import { createZoom } from "./zoom.js";

const REST = 250; // ms without a change after which the address is written and neighbours are asked for

/**
 * What is looked at: replaced as a whole by `show` and `update`.
 * @typedef {object} Look
 * @property {Scene} scene
 * @property {Source} source
 * @property {string} key
 * @property {ReturnType<typeof createShelf>} shelf
 * @property {boolean} isFirst whether no other result was shown before
 * @property {{ take(choice: Choice): Changes | null, retry(): void }} changes
 * @property {{ here(choice: Choice): HeadChanges | null, any(): HeadChanges | null, take(choice: Choice): HeadChanges | null, retry(): void }} headChanges
 * @property {ReturnType<typeof createPhoto>} photo
 */

/**
 * @param {HTMLElement} root
 * @param {{ auto?: boolean }} [options] auto: light or dark as the system is, where no page says which
 * @returns {Viewer}
 */
export function createViewer(root, { auto = false } = {}) {
  /** @type {Look | null} */
  let look = null;
  /** @type {Choice | null} */
  let choice = null;
  /** @type {number | null} */
  let previewed = null;
  /** @type {Drawn | null} */
  let drawn = null;
  let resting = 0;
  let recording = "";
  /** @type {[string, Changes | null, HeadChanges | null] | null} the adapter and the changes that the chips and buttons show */
  let chipped = null;
  /** @type {{ variant: string, word: number } | null} the word of a variant's answer that was sent to be replayed */
  let expected = null;
  /** @type {"layers" | "checkpoints"} */
  let playing = "layers";
  /** @type {Set<string>} the parts of the choice that somebody ever changed: the others are as results opened */
  const picked = new Set();
  /** @type {((choice: Choice) => void)[]} */
  const listeners = [];

  const frames = createFrames(draw, (on) => root.classList.toggle("lav-behind", on));
  const { queue } = frames;
  const addressBar = createAddressBar();
  const where = make("p", { class: "lav-where", "aria-live": "polite" });
  const staleLine = make("p", { class: "lav-status-line lav-stale-line", role: "status" });
  const zoom = createZoom(queue);
  const panes = createPanes(queue);
  const status = createStatus(panes.element);
  const hover = createHover(panes.frames, zoom.part);
  const boxes = createBoxes(panes.frames, zoom.part, (change) => choose(change), queue);
  const said = createSaid(panes.frames, (change) => choose(change));
  const chips = createChips({ choose, preview, replay });
  const strip = createStrip(choose);
  const shares = createShares(choose);
  const numbers = createNumbers();
  const heads = createHeads(choose, (token) => look?.source.record && record(token), queue);
  const matrix = createMatrix((layer, head, isEffect) => look && choose(isEffect ? { layer, head } : { layer, head, token: recordedChoice(look.scene) }));
  const cards = createCards({ box: () => (choice?.boxes.length ? choice.boxes : null), changed: queue });
  const play = createPlay(step, (on) => {
    controls.playing(on);
    where.setAttribute("aria-live", on ? "off" : "polite"); // or every layer that flies by is read out
  });
  const controls = createControls({ choose, play: () => play.turn(!play.isOn()), speed: play.speed, through: (what) => (playing = what) });

  for (const frame of panes.frames) {
    frame.tabIndex = -1; // a click gives it the focus, and with it the wheel
    zoom.attach(frame);
  }
  chips.onFold(() => look && choice && chips.draw(drawn ?? { scene: look.scene, choice: wanted() }));
  root.classList.add("lav-viewer");
  root.classList.toggle("lav-auto", auto);
  root.hidden = true;
  root.replaceChildren(chips.element,
    make("section", { class: "lav-card lav-looking", "aria-label": "Pictures" },
      make("div", { class: "lav-top" }, where, createTools(boxes.tool, zoom)), staleLine, status.element, panes.element, said.element, boxes.element, hover.readout, strip.element, controls.element, heads.element, createKeysLine()),
    make("div", { class: "lav-below" }, matrix.element, numbers.element, shares.element), cards.element);

  const silence = listenToKeys(root, {
    ready: () => choice !== null && root.isConnected,
    layer: (by) => look && choice && choose({ layer: Math.min(look.scene.layers - 1, Math.max(0, choice.layer + by)) }),
    head(by) {
      if (!choice) return;
      frames.settleBeside(); // the order is that of the layer that is shown
      const order = controls.order();
      choose({ head: order[Math.min(order.length - 1, Math.max(0, order.indexOf(choice.head) + by))] });
    },
    token: (by) => look && choice && choose({ token: Math.min(look.scene.tokens.length - 1, Math.max(0, ends(choice.token, look.scene)[by > 0 ? 1 : 0] + by)) }),
    cell: hover.move,
    play: () => play.turn(!play.isOn()),
    zoom: (factor) => (factor ? zoom.by(factor) : zoom.whole()),
    box: boxes.toggle,
    escape: () => boxes.cancel() || hover.clear(),
  });
  const follow = () => {
    if (!look?.source.address || !choice) return;
    choose(fitted(look.scene, { ...choice, ...addressBar.named(look.source) }));
    addressBar.at(choice);
  };
  addEventListener("hashchange", follow);
  addEventListener("resize", panes.measure);

  /** The one way in which a choice changes. @param {Change} change */
  function choose(change) {
    if (!choice || !look) return;
    expected = null; // whoever goes elsewhere meanwhile stays there
    for (const [name, value] of Object.entries(change)) {
      if (JSON.stringify(value) !== JSON.stringify(choice[/** @type {keyof Choice} */ (name)])) picked.add(name);
    }
    choice = settle(choice, change, look.scene.view_kinds);
    status.clear();
    listeners.forEach((listener) => listener(/** @type {Choice} */ (choice)));
    queue();
  }

  /** Replay another answer, and look at one of its words once it is here. @param {{ text: string } | { variant: string }} answer @param {number} [word] */
  function replay(answer, word) {
    expected = word !== undefined && "variant" in answer ? { variant: answer.variant, word } : null;
    look?.source.replay?.(answer);
  }

  /** @param {number | null} token */
  function preview(token) {
    if (previewed === token) return;
    previewed = token;
    queue();
  }

  /** @returns {Choice} what is to be drawn: the choice, or what a hovered chip previews of it */
  function wanted() {
    const chosen = /** @type {Choice} */ (choice);
    const token = previewed ?? chosen.token;
    if (!look || isThere({ ...chosen, token }, look.scene)) return token === chosen.token ? chosen : { ...chosen, token };
    const view = isThere({ ...chosen, token, head: "mean" }, look.scene) ? chosen.view : "raw";
    return { ...chosen, token, head: "mean", view };
  }

  function draw() {
    if (!look || !choice) return;
    const { scene, source, key, shelf, headChanges, photo } = look;
    if (!isThere(choice, scene)) findHeads(choice.token);
    controls.draw(choice);
    const shown = wanted();
    const stack = shelf.take(shown);
    status.wait(!stack);
    const ground = photo.loaded() && panes.hasSize() ? photo.ground(...panes.size(), zoom.part()) : null;
    if (look.isFirst && !drawn) { // beside no other result's pictures
      showChips(scene, source, shown);
      chips.press({ scene, choice: shown }, choice);
      chips.draw({ scene, choice: shown }); // in folds that were just opened, too, and whatever layer is chosen meanwhile
    }
    if (!stack || !ground) return frames.settle(); // of what stands there
    const now = { key, scene, choice: shown, stack, frame: shown.layer };
    const same = drawn?.stack === stack && drawn.frame === now.frame;
    const moved = !same || drawn?.choice.adapter !== shown.adapter;
    drawn = now;
    panes.draw(now, ground, zoom.part());
    const ofHeads = headChanges.here(shown);
    showChips(scene, source, shown);
    said.draw(now, zoom.part(), panes.frameSize());
    cards.draw(shown);
    const effect = cards.now("heads");
    const chance = cards.now("chance");
    if (!same) {
      write(where, stack.header.headings[now.frame]);
      numbers.draw(now);
    }
    numbers.within(chance, shown);
    hover.draw(now);
    const boxed = boxes.draw(now);
    const chosen = choice;
    frames.follow(() => {
      const latest = choice ?? chosen; // it may be another one by now, whose numbers are still on their way
      controls.offerHeads(...heads.order(effect, stack.header.heads[now.frame], shown.layer), headSets(now, ofHeads, headChanges.any()?.localizing, boxed, effect), latest.head);
      controls.draw(latest);
      chips.press(now, chosen);
      matrix.element.classList.toggle("lav-waiting", !ofHeads);
      heads.draw(now);
      strip.draw(now); // last: it scrolls to its layer, which costs a layout of all that was written before
    }, [() => chips.draw(now), () => shares.draw(now), () => {
      headChanges.take(shown); // now that the picture stands
      if (ofHeads) matrix.draw(now, ofHeads, boxed); // until they are here, it shows and names the ones before
      matrix.offer(effect, chance);
    }], moved);
    clearTimeout(resting);
    resting = setTimeout(rest, REST);
  }

  /** The answers, and the ways to what changed most, made anew where another adapter or other changes are shown. @param {Scene} scene @param {Source} source @param {Choice} shown */
  function showChips(scene, source, shown) {
    if (!look) return;
    const changed = look.changes.take(shown);
    const ofHeads = look.headChanges.here(shown);
    const sameRows = chipped?.[0] === shown.adapter && chipped[1] === changed;
    if (!sameRows) {
      keepingFocus(root, () => chips.show(scene, source, shown.adapter, changed));
      chips.draw({ scene, choice: shown });
    }
    if (sameRows && chipped?.[2] === ofHeads) return;
    chipped = [shown.adapter, changed, ofHeads];
    keepingFocus(root, () => chips.most.replaceChildren(...(changed ? mostChangedButtons(scene, changed, ofHeads, shown.adapter, choose) : [])));
  }

  /**
   * Single heads or a view that were not recorded: the model is asked, the mean of the attention itself is shown
   * meanwhile; and for good, where nobody can be asked.
   * @param {TokenChoice} token
   */
  function findHeads(token) {
    if (look?.source.record) return record(token);
    const now = /** @type {Choice} */ (choice);
    const { scene } = /** @type {Look} */ (look);
    const what = isThere({ ...now, head: "mean" }, scene) ? "Single heads of this token are" : `The ${now.view} view of this token is`;
    choice = settle(now, isThere({ ...now, head: "mean" }, scene) ? { head: "mean" } : { head: "mean", view: "raw" }, scene.view_kinds);
    status.say(`${what} not recorded here; the mean of all heads is shown.`);
  }

  /** Ask the model once for a token's heads; what comes of it comes as an update. @param {TokenChoice} token */
  function record(token) {
    const needed = (choice && look?.scene.view_kinds[choice.view].recorded) || "";
    status.recording(needed ? String(choice?.view) : "");
    const asked = JSON.stringify([look?.key, token, needed]);
    if (recording === asked) return;
    recording = asked;
    look?.source.record?.(token);
  }

  /** Once nothing changes any more: the address, and what may be looked at next. */
  function rest() {
    if (!look || !choice || play.isOn()) return;
    if (look.source.address) addressBar.note(choice);
    if (typeof choice.token !== "number" || choice.head !== "mean") return;
    const { shelf, scene } = look;
    const chosen = choice;
    const near = [choice.token + 1, choice.token - 1].filter((token) => token >= 0 && token < scene.tokens.length);
    void shelf.ahead(near.map((token) => ({ ...chosen, token })).filter((other) => isThere(other, scene)));
  }

  /** @returns {boolean} whether the step was made: not while what was asked before is still on its way */
  function step() {
    if (!look || !choice || !drawn || drawn.frame !== choice.layer || drawn.choice.adapter !== choice.adapter) return false;
    if (stackKey(drawn.choice) !== stackKey(wanted())) return false;
    choose(nextStep(look.scene, choice, playing));
    return true;
  }

  /** @param {unknown} problem @param {Choice} asked @param {Look} from @param {boolean} again whether it was refused before */
  function failed(problem, asked, from, again) {
    if (look !== from) return;
    if (codeOf(problem) === "not_recorded") return again ? undefined : queue();
    if (JSON.stringify(wanted().token) !== JSON.stringify(asked.token)) return; // a neighbour that nobody looks at
    status.failed(problem, () => {
      from.shelf.retry();
      from.changes.retry();
      queue();
    });
  }

  /** @param {Scene} scene @param {Source} source @param {string} key @param {Look | null} before whose photo is the same */
  function turnTo(scene, source, key, before) {
    const isAnother = before?.key !== key; // what closures below name lives as long as this look: never the one before
    const photo = before?.source.photo === source.photo ? before.photo : createPhoto(source.photo);
    const refused = (/** @type {unknown} */ problem, /** @type {Choice} */ asked) => failed(problem, asked, next, false);
    /** @type {Look} */
    const next = { scene, source, key, photo, isFirst: !before, shelf: createShelf(source, (problem, asked, again) => failed(problem, asked, next, again), queue), changes: createChanges(scene, scene.changed, source.changes, refused, queue),
      headChanges: createChanges(scene, scene.head_changes, source.headChanges, (problem) => look === next && matrix.failed(problem, () => {
        next.headChanges.retry();
        queue();
      }), queue) };
    look = next;
    previewed = null;
    if (choice && isThere(choice, scene)) next.shelf.take(choice); // on its way while the elements are made
    photo.ready.then(queue, (/** @type {unknown} */ problem) => look === next && status.say(isSaid(problem) ? problem.message : ""));
    chipped = null;
    drawn = null;
    frames.forget();
    root.hidden = false;
    keepingFocus(root, () => {
      panes.show(scene);
      strip.show(scene);
      shares.show(isAnother);
      controls.show(scene);
      matrix.show(scene);
      heads.show(scene, source);
      cards.show(scene, source, source.result ?? key);
      boxes.show(source);
    });
    queue();
  }

  return {
    show(scene, source, { key, choice: opening = {}, keep = false }) {
      play.turn(false);
      const first = look === null;
      const still = keep && look && choice ? kept(look.scene, choice, scene, picked) : {};
      const named = first && source.address ? addressBar.named(source) : {};
      Object.keys(named).forEach((name) => picked.add(name));
      const word = expected && scene.answers.some(({ variant, replayed }) => replayed && variant === expected?.variant)
        ? { token: scene.tokens.findIndex((token) => token.role === "answer" || token.role === "end") + expected.word } : {};
      expected = null;
      choice = fitted(scene, { ...opening, ...still, ...named, ...word });
      if (!isThere(choice, scene) && !("head" in named)) choice = settle(choice, { head: "mean", view: isThere({ ...choice, head: "mean" }, scene) ? choice.view : "raw" }, scene.view_kinds);
      zoom.whole();
      status.clear();
      if (!keep) addressBar.at(null);
      turnTo(scene, source, key, look);
      listeners.forEach((listener) => listener(/** @type {Choice} */ (choice)));
    },
    update(scene, { key, source }) {
      if (!look || !choice) return;
      choice = fitted(scene, choice);
      recording = "";
      status.clear();
      turnTo(scene, source ?? look.source, key, look);
    },
    explained: cards.news,
    choose,
    choice: () => choice,
    on: (listener) => void listeners.push(listener),
    busy(on) {
      root.classList.toggle("lav-busy", on);
      root.setAttribute("aria-busy", String(on));
    },
    stale(on, words = "") {
      if (on) expected = null; // another question is asked
      root.classList.toggle("lav-stale", on);
      write(staleLine, on ? words : "");
    },
    destroy() {
      play.turn(false);
      silence();
      removeEventListener("hashchange", follow);
      removeEventListener("resize", panes.measure);
      frames.forget();
      frames.stop();
      clearTimeout(resting);
      panes.destroy();
      look = null;
      choice = null;
      root.replaceChildren();
    },
  };
}
