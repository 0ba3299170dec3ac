// Decides how the table of measures looks; every number in it is a text from Python.

import { make, words, write } from "./element.js";

export function createNumbers() {
  const head = make("thead");
  const body = make("tbody");
  const measures = make("table", {}, head, body);
  const said = make("p", { class: "lav-note lav-within-words", role: "status" });
  const element = make("section", { class: "lav-card lav-numbers", "aria-label": "Numbers" }, make("h2", {}, "Numbers"),
    make("div", { class: "lav-scroll", tabindex: 0, role: "group", "aria-label": "table of measures" }, measures), said);
  /** @type {NumberTable | null} */
  let shown = null;
  let built = "";

  /** @param {NumberTable} table */
  function build(table) {
    const column = (/** @type {string} */ name) => make("th", { scope: "col" }, words(name));
    measures.classList.toggle("lav-few", table.columns.length + table.changes.length <= 3);
    head.replaceChildren(make("tr", {}, make("td"), ...[...table.columns, ...table.changes].map(column)));
    body.replaceChildren(...table.rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.label, make("small", {}, row.unit)),
      ...table.columns.map(() => make("td")), ...row.deltas.map(() => make("td", { class: "lav-delta" })))));
  }

  return {
    element,
    /** What chance says of the head that is looked at; a change within it is dimmed. @param {Finding | null} chance @param {Choice} choice */
    within(chance, { layer, head, window }) {
      const found = window === 0 ? chance?.heads : null;
      const single = typeof head === "number";
      write(said, (single ? found?.heads?.[layer]?.[head] : found?.layers?.[layer]) ?? "");
      element.classList.toggle("lav-within", Boolean(single && found?.within?.[layer]?.[head]));
    },
    /** @param {Drawn} drawn */
    draw({ stack, frame }) {
      const table = stack.header.numbers[frame];
      if (table === shown) return;
      shown = table;
      const shape = JSON.stringify([table.columns, table.changes, table.rows.map((row) => [row.label, row.unit])]);
      if (shape !== built) build(table);
      built = shape;
      table.rows.forEach((row, index) => {
        const cells = body.rows[index].cells; // the label, then one per variant, then one per change
        const texts = [...table.columns.map((_, at) => row.values[at] ?? ""), ...row.deltas];
        texts.forEach((text, at) => write(cells[at + 1], text));
      });
    },
  };
}
