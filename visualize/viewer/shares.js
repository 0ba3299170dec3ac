// Decides how "where does the attention go?" looks: per variant one stacked column per layer, of shares from Python. Its
// parts are told apart by order, pattern and words, not by colour alone; a column goes to its layer.

import { make, mark, words, write } from "./element.js";

/** @typedef {{ button: HTMLButtonElement, parts: HTMLElement[] }} Column */

/** @param {(change: Change) => void} choose */
export function createShares(choose) {
  const legend = make("ul", { class: "lav-share-legend", "aria-label": "From the top of a column" });
  const charts = [0, 1].map(() => {
    const title = make("figcaption", { class: "lav-share-title" });
    const row = make("div", { class: "lav-share-columns", role: "group" });
    return { title, row, figure: make("figure", { class: "lav-share-chart" }, title, row), columns: /** @type {Column[]} */ ([]) };
  });
  const line = make("p", { class: "lav-share-line" });
  const about = make("p", { class: "lav-note" });
  const head = make("thead");
  const body = make("tbody");
  const fold = make("details", { class: "lav-fold" }, make("summary", {}, "as a table"),
    make("div", { class: "lav-scroll", tabindex: 0, role: "group", "aria-label": "table of shares" }, make("table", {}, head, body)));
  const element = make("section", { class: "lav-card lav-shares-card", "aria-label": "Where the attention goes" }, make("h2", {}, "Where does the attention go?"),
    legend, make("div", { class: "lav-share-charts" }, ...charts.map((chart) => chart.figure)), line, about, fold);
  /** @type {Drawn | null} */
  let drawn = null;
  /** @type {unknown[]} */
  let painted = [];
  let current = -1;

  fold.addEventListener("toggle", () => showTable());

  /** @param {Drawn} of @returns {string[]} the variants whose pictures are side by side, those that have this token */
  const shownOf = ({ choice, stack }) => [...new Set([choice.against, choice.adapter])].filter((name) => name in stack.header.groups.values);

  /** @param {number} layers @param {number} groups */
  function build(layers, groups) {
    for (const chart of charts) {
      chart.columns = Array.from({ length: layers }, (_, layer) => {
        const parts = Array.from({ length: groups }, (_, group) => make("i", { class: `lav-group-${group}` }));
        const button = make("button", { type: "button", class: "lav-share-column", tabindex: -1, onclick: () => choose({ layer }) }, ...parts);
        return { button, parts };
      });
      chart.row.replaceChildren(...chart.columns.map((column) => column.button));
    }
    current = -1;
  }

  /** @param {Drawn} of */
  function paint(of) {
    const { names, labels, values, texts } = of.stack.header.groups;
    const shown = shownOf(of);
    legend.replaceChildren(...names.map((name, group) => make("li", {}, make("i", { class: `lav-group-${group}`, "aria-hidden": "true" }), name)).reverse());
    charts.forEach((chart, at) => {
      chart.figure.hidden = at >= shown.length;
      if (at >= shown.length) return;
      const variant = shown[at];
      chart.title.replaceChildren(words(variant));
      mark(chart.row, "aria-label", `${variant}, a column per layer`);
      chart.columns.forEach(({ button, parts }, layer) => {
        parts.forEach((part, group) => (part.style.height = `${100 * values[variant][layer][group]}%`));
        mark(button, "aria-label", `${labels[layer]}: ${names.map((name, group) => `${name} ${texts[variant][layer][group]}`).join(", ")}`);
        mark(button, "title", button.getAttribute("aria-label") ?? "");
      });
    });
    write(about, of.stack.header.groups.about);
    showTable();
  }

  function showTable() {
    if (!drawn || !fold.open) return;
    const { names, texts } = drawn.stack.header.groups;
    const shown = shownOf(drawn);
    head.replaceChildren(
      make("tr", {}, make("td"), ...shown.map((name) => make("th", { scope: "colgroup", colspan: names.length }, words(name)))),
      make("tr", {}, make("th", { scope: "col" }, "layer"), ...shown.flatMap(() => names.map((name) => make("th", { scope: "col" }, name)))));
    const layers = Array.from({ length: drawn.scene.layers }, (_, layer) => layer);
    body.replaceChildren(...layers.map((layer) => make("tr", {}, make("th", { scope: "row" }, String(layer)),
      ...shown.flatMap((name) => texts[name][layer].map((text) => make("td", {}, text))))));
  }

  /** @param {Drawn} of */
  function showLayer(of) {
    const { stack, frame, choice } = of;
    const { names, labels, texts, changes } = stack.header.groups;
    const shown = shownOf(of);
    const change = shown.length > 1 ? changes[choice.adapter]?.[frame] : undefined;
    line.replaceChildren(make("b", {}, labels[frame]), ...names.map((name, group) => make("span", {}, `${name} ${shown.map((variant) => texts[variant][frame][group]).join(" → ")}${change ? ` (${change[group]})` : ""}`)));
    if (current === frame) return;
    for (const { columns } of charts) {
      if (columns[current]) mark(columns[current].button, "aria-pressed", "false");
      mark(columns[frame].button, "aria-pressed", "true");
    }
    current = frame;
  }

  return {
    element,
    /** @param {boolean} isAnother whether what stands there is of another result: it is hidden until this one's comes */
    show(isAnother) {
      painted = [];
      if (isAnother) element.classList.add("lav-empty");
    },
    /** @param {Drawn} next */
    draw(next) {
      drawn = next;
      element.classList.remove("lav-empty");
      const { stack, choice, scene, frame } = next;
      const now = [stack, choice.adapter];
      const same = now.every((part, index) => part === painted[index]);
      const { columns } = charts[0];
      if (columns.length !== scene.layers || columns[0].parts.length !== stack.header.groups.names.length) build(scene.layers, stack.header.groups.names.length);
      if (!same) paint(next);
      painted = now;
      if (!same || current !== frame) showLayer(next);
    },
  };
}
