// Decides how the table of measures looks; every number in it is a text from Python.

import { make, words } from "./element.js";

export function createNumbers() {
  const head = make("thead");
  const body = make("tbody");
  const element = make("section", { class: "lav-card lav-numbers", "aria-label": "Numbers" }, make("h3", {}, "Numbers"),
    make("div", { class: "lav-scroll", tabindex: 0, role: "group", "aria-label": "table of measures" }, make("table", {}, head, body)));
  /** @type {NumberTable | null} */
  let shown = null;

  return {
    element,
    /** @param {Drawn} drawn */
    draw({ stack, frame }) {
      const table = stack.header.numbers[frame];
      if (table === shown) return;
      shown = table;
      head.replaceChildren(make("tr", {}, make("td"), ...[...table.columns, ...table.changes].map((name) => make("th", { scope: "col" }, words(name)))));
      body.replaceChildren(...table.rows.map((row) => {
        const cells = table.columns.map((_, index) => make("td", {}, row.values[index] ?? ""));
        const deltas = row.deltas.map((delta) => make("td", { class: "lav-delta" }, delta));
        return make("tr", {}, make("th", { scope: "row" }, row.label, make("small", {}, row.unit)), ...cells, ...deltas);
      }));
    },
  };
}
