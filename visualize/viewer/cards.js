// Decides how questions about a change are asked and their findings shown: one card per question, with its price before it
// runs, its progress, a Stop, one sentence, and the picture behind it. What was measured elsewhere is dimmed and says of what.

import { drawPicture } from "./finding_pictures.js";
import { make, mark, write } from "./element.js";

const RESULTS = 8; // whose findings are remembered
const LEFT = ["attribution", "heads"]; // where there is room for two columns

/**
 * @typedef {object} CardActs
 * @property {() => Choice["boxes"] | null} box the drawn boxes, if any are drawn
 * @property {() => void} changed a finding came, or another one counts now
 */

/** @typedef {ReturnType<typeof createCard>} Card */

/** @param {CardActs} acts */
export function createCards({ box, changed }) {
  const grid = make("div", { class: "lav-cards-grid" });
  const said = make("p", { class: "lav-hidden", role: "status" });
  const element = make("section", { class: "lav-cards", "aria-label": "Why did the answer change" },
    make("h2", {}, "Why did the answer change?"), said, grid);
  /** @type {Map<string, Finding[]>} per result, the newest first */
  const kept = new Map();
  /** @type {Map<string, Card>} */
  let cards = new Map();
  /** @type {{ scene: Scene, source: Source, key: string } | null} */
  let look = null;
  /** @type {Choice | null} */
  let choice = null;
  let offered = "";
  /** @type {CardNews | null} */
  let running = null;

  /** @param {string} key */
  function of(key) {
    return kept.get(key) ?? [];
  }

  /** Which token a question is about. @param {Choice} now */
  function measured({ token }) {
    if (!look || Array.isArray(token)) return token;
    const isAnswer = token !== "digits" && ["answer", "end"].includes(look.scene.tokens[token]?.role ?? "");
    return isAnswer ? token : look.scene.questioned;
  }

  /** @param {Finding} finding */
  const isNow = (finding) => choice !== null && finding.token === measured(choice) && finding.first === choice.against
    && (finding.second === choice.adapter || finding.first === finding.second);

  /** The finding that counts for what is looked at, or else the one measured last. @param {string} card @returns {Finding | null} */
  function best(card) {
    const all = look ? of(look.key).filter((finding) => finding.card === card) : [];
    return all.find(isNow) ?? all[0] ?? null;
  }

  function paint() {
    if (!look) return;
    const { scene, source } = look;
    const now = running;
    for (const [name, card] of cards) {
      const finding = best(name);
      card.draw(finding, finding !== null && !isNow(finding), scene, source.photo, now?.key === look.key && now.card === name ? now : null, now?.state === "busy", box() !== null);
    }
  }

  /** @param {CardOffer[]} offers @param {Source} source */
  function build(offers, source) {
    cards = new Map(offers.map((offer) => [offer.card, createCard(offer, {
      ask: source.explain ? (options) => ask(offer.card, options) : null,
      stop: () => source.stopExplaining?.(),
    })]));
    const made = [...cards.entries()];
    const left = made.every(([name]) => LEFT.includes(name)) ? LEFT.slice(0, 1) : LEFT;
    const column = (/** @type {boolean} */ isLeft) => make("div", { class: "lav-cards-column" },
      ...made.filter(([name]) => left.includes(name) === isLeft).map(([, card]) => card.element));
    grid.replaceChildren(column(true), column(false));
    element.hidden = !offers.length;
    paint();
  }

  /** @param {string} card @param {Record<string, unknown>} options */
  function ask(card, options) {
    if (!look) return;
    const asked = "box" in options ? { ...options, box: box() } : options;
    running = { key: look.key, card, state: "busy", sentence: "Starting…", done: 0, of: 0 };
    paint();
    look.source.explain?.({ card, options: asked });
  }

  return {
    element,
    /** @param {Scene} scene @param {Source} source @param {string} key */
    show(scene, source, key) {
      const again = look?.key === key && offered === key;
      look = { scene, source, key };
      if (source.findings) kept.set(key, source.findings);
      if (again) return paint();
      offered = key;
      write(said, "");
      const found = source.findings ?? [];
      element.hidden = true;
      if (!source.cards) return build(found.map(({ card, title, about }) => ({ card, title, about, ways: [] })), source);
      source.cards().then((offers) => look?.key === key && build(offers, source), () => (offered = ""));
    },
    /** @param {Choice} next */
    draw(next) {
      const other = !choice || choice.token !== next.token || choice.against !== next.against || choice.adapter !== next.adapter;
      choice = next;
      if (other) paint();
    },
    /** What happens to a question. @param {CardNews} news */
    news(news) {
      const { key, findings = [] } = news;
      if (news.state === "done") {
        const older = of(key).filter((finding) => !findings.some((each) => replaces(each, finding)));
        kept.delete(key);
        kept.set(key, [...findings, ...older]);
        if (kept.size > RESULTS) kept.delete([...kept.keys()][0]);
        write(said, findings.map((finding) => finding.sentence).join(" "));
      } else if (news.state !== "busy") write(said, news.state === "stopped" ? "Stopped." : news.sentence ?? "");
      else if (running?.state !== "busy") write(said, "Asked; it runs.");
      running = news.state === "done" ? null : news;
      paint();
      if (news.state === "done") changed();
    },
    /** What a card found of single heads, of what is looked at now. @param {string} card @returns {Finding | null} */
    now: (card) => (look ? of(look.key).find((finding) => finding.card === card && finding.heads && isNow(finding)) ?? null : null),
    paint,
  };
}

/**
 * Whether a finding takes another's place: the same question of the same token and variants, no less fine.
 * @param {Finding} next
 * @param {Finding} before
 */
const replaces = (next, before) => next.card === before.card && next.token === before.token && next.first === before.first && next.second === before.second
  && (next.heads !== null || before.heads === null);

/**
 * @param {CardOffer} offer
 * @param {{ ask: ((options: Record<string, unknown>) => void) | null, stop: () => void }} acts
 */
function createCard(offer, { ask, stop }) {
  const title = `lav-card-${offer.card}`;
  const price = make("span", { class: "lav-price", id: `${title}-price` });
  const ways = make("select", { "aria-label": `${offer.title} In which way` });
  const button = make("button", { type: "button", class: "lav-find", "aria-describedby": `${title}-price`, onclick: () => ask?.(chosen().options) }, "Find out");
  const halt = make("button", { type: "button", class: "lav-small", onclick: stop }, "Stop");
  const meter = make("progress", { "aria-label": `${offer.title} Progress` });
  const step = make("span", { class: "lav-note" });
  const progress = make("div", { class: "lav-asking" }, meter, step, halt);
  const refusal = make("p", { class: "lav-status-line" });
  const old = make("p", { class: "lav-note lav-old-words" });
  const answer = make("div", { class: "lav-found" });
  const asking = make("div", { class: "lav-ask" }, ways, button, price);
  const element = make("article", { class: "lav-card lav-finding", "data-card": offer.card, "aria-labelledby": title },
    make("h3", { id: title }, offer.title), make("p", { class: "lav-note" }, offer.about), ask && asking, progress, refusal, old, answer);
  /** @type {CardWay[]} */
  let offered = [];
  /** @type {Finding | null} */
  let shown = null;
  let listed = "";

  const chosen = () => offered[Math.max(0, ways.selectedIndex)];
  const tell = () => write(price, chosen()?.price ?? "");
  ways.addEventListener("change", tell);

  /** @param {Finding | null} finding @param {boolean} hasBox */
  function offerWays(finding, hasBox) {
    const all = [...(finding?.more ?? []), ...offer.ways.filter((way) => hasBox || !("box" in way.options))];
    const names = JSON.stringify(all);
    if (names === listed) return;
    const before = chosen()?.label;
    [offered, listed] = [all, names];
    ways.replaceChildren(...all.map((way) => make("option", {}, way.label)));
    const same = all.findIndex((way) => way.label === before);
    ways.selectedIndex = finding?.more.length ? 0 : Math.max(0, same);
    ways.hidden = all.length < 2;
    tell();
  }

  /** @param {Finding} finding @param {Scene} scene @param {string} photo */
  function fill(finding, scene, photo) {
    answer.replaceChildren(
      make("p", { class: "lav-sentence-found" }, finding.sentence),
      make("p", { class: "lav-note" }, [finding.measured, finding.spent].filter(Boolean).join(" · ")),
      make("details", { class: "lav-fold", open: true }, make("summary", {}, "the picture behind it"),
        ...finding.pictures.map((picture) => drawPicture(picture, scene, photo)),
        ...finding.details.map((detail) => make("p", { class: "lav-detail" }, detail)),
        ...finding.notes.map((note) => make("p", { class: "lav-note" }, note))));
  }

  return {
    element,
    /**
     * @param {Finding | null} finding
     * @param {boolean} stale whether it was measured on something else than is looked at
     * @param {Scene} scene
     * @param {string} photo
     * @param {CardNews | null} news of this card
     * @param {boolean} taken whether any question runs
     * @param {boolean} hasBox
     */
    draw(finding, stale, scene, photo, news, taken, hasBox) {
      const busy = news?.state === "busy";
      offerWays(stale ? null : finding, hasBox);
      button.disabled = taken;
      progress.hidden = !busy;
      if (busy) {
        if (news.of) Object.assign(meter, { max: news.of, value: news.done ?? 0 });
        else meter.removeAttribute("value");
        write(step, news.sentence ?? "");
      }
      write(refusal, news?.state === "refused" ? [news.sentence, news.hint, finding && "Below is what was found before."].filter(Boolean).join(" ") : news?.state === "stopped" ? "Stopped. What was found before is still here." : "");
      element.classList.toggle("lav-old", stale);
      write(old, stale && finding ? `Of ${finding.of}: not of what is looked at now.${ask ? " Find out again for this one." : ""}` : "");
      mark(answer, "aria-busy", String(busy));
      if (finding === shown) return;
      shown = finding;
      if (finding) fill(finding, scene, photo);
      else answer.replaceChildren();
    },
  };
}
