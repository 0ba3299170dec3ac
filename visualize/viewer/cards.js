// Decides how questions about the change are asked and answered: a card each, with its price before it runs, then one
// sentence and the picture behind it. Every sentence and number is Python's.

import { make, words, write } from "./element.js";
import { findingOf, measuredToken } from "./findings.js";
import { findingPicture } from "./finding_picture.js";

/**
 * @typedef {object} Card
 * @property {HTMLElement} element
 * @property {HTMLElement} body
 * @property {HTMLElement} foot
 * @property {HTMLElement} said
 * @property {SceneQuestion} question
 * @property {string} shown what stands in it
 */

/**
 * @param {{ ask: (kind: string) => void, stop: () => void }} turns
 */
export function createCards({ ask, stop }) {
  const grid = make("div", { class: "lav-cards" });
  const element = make("section", { class: "lav-card lav-findings", "aria-label": "Why the answer changed" },
    make("h2", {}, "Why did the answer change?"),
    make("p", { class: "lav-note" }, "What changed most is not what matters most: each answer below is measured by replays of the model."), grid);
  /** @type {Card[]} */
  let cards = [];
  /** @type {readonly Finding[]} */
  let findings = [];
  /** @type {{ kind: string, words: string, failed: boolean } | null} */
  let asking = null;
  let canAsk = false;

  /** @param {SceneQuestion} question @returns {Card} */
  function card(question) {
    const body = make("div", { class: "lav-finding" });
    const foot = make("div", { class: "lav-card-foot" });
    const said = make("p", { class: "lav-asking", role: "status" });
    return { question, body, foot, said, shown: "", element: make("article", { class: "lav-question", "data-question": question.kind }, make("h3", {}, question.question), body, said, foot) };
  }

  /** @param {Card} target @param {Finding | null} found @param {boolean} stale */
  function fill(target, found, stale) {
    target.element.classList.toggle("lav-old", stale);
    if (!found) return target.body.replaceChildren();
    const numbers = make("details", { class: "lav-fold" }, make("summary", {}, "all numbers"),
      make("dl", {}, ...found.rows.flatMap(([label, value]) => [make("dt", {}, words(label)), make("dd", {}, value)])));
    target.body.replaceChildren(make("p", { class: "lav-sentence" }, words(found.sentence)), ...findingPicture(found.picture),
      make("p", { class: "lav-note" }, stale ? "of another token: " : "of ", words(found.about)), ...found.notes.map((note) => make("p", { class: "lav-note" }, words(note))), numbers);
  }

  /** @param {Scene} scene @param {Choice} choice */
  function draw(scene, choice) {
    const token = measuredToken(scene, choice.token);
    const pair = choice.against !== choice.adapter;
    for (const target of cards) {
      const { kind, price } = target.question;
      const found = findingOf(findings, kind, choice, token);
      const here = asking?.kind === kind ? asking : null;
      const shown = JSON.stringify([found && findings.indexOf(found), found && found.token !== token, here, asking !== null, pair, token]);
      if (shown === target.shown) continue;
      target.shown = shown;
      fill(target, found, found !== null && found.token !== token);
      write(target.said, here?.words ?? "");
      target.said.classList.toggle("lav-failed", here?.failed ?? false);
      target.element.hidden = !canAsk && !found;
      const answered = found && found.token === token && kind !== "knockout";
      const running = here && !here.failed;
      target.foot.replaceChildren(
        ...(running ? [make("button", { type: "button", class: "lav-small", "data-stop": kind, onclick: stop }, "Stop")] : []),
        ...(canAsk && !running && !answered ? [make("button", { type: "button", class: "lav-small lav-ask", "data-ask": kind, disabled: !pair || (asking !== null && !asking.failed), onclick: () => ask(kind) }, found ? "Find out for this" : "Find out"), make("span", { class: "lav-price" }, price)] : []));
    }
    element.hidden = cards.every((each) => each.element.hidden);
  }

  return {
    element,
    /** @param {Scene} scene @param {boolean} able whether a model can be asked */
    show(scene, able) {
      canAsk = able;
      asking = null;
      cards = scene.questions.map(card);
      grid.replaceChildren(...cards.map((each) => each.element));
    },
    /** @param {readonly Finding[]} found */
    take(found) {
      findings = found;
      asking = null;
    },
    /** What is being found out now, or why it could not be. @param {{ kind: string, words: string, failed: boolean } | null} now */
    say(now) {
      asking = now;
    },
    draw,
  };
}
