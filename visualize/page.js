// Turns the page's JSON values into elements. Every word of a model or a stranger becomes text, never markup.
// Runs once per gr.HTML component, with `element`, `props`, `trigger`, `watch`; `props.part` says which part it is.

const page = (window.attentionPage ??= { parts: {}, playing: null });
page.parts[props.part] = { element, props, trigger };

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};
const show = (...children) => element.replaceChildren(...children.filter(Boolean));
const percent = (share) => {
  const value = share * 100;
  return value === 0 ? "0" : value < 0.1 ? "<0.1" : value.toFixed(value < 10 ? 1 : 0);
};
// Pictures of bars are drawn by our own server from numbers alone; they are the only markup taken from a value.
const bar = (value) => {
  const holder = make("div", { class: "lav-bar" });
  holder.innerHTML = value.svg;
  return holder;
};

const parts = {
  status(value) {
    if (!value?.words) return;
    const mark = { ready: "●", loading: "◌", failed: "✕" }[value.state] ?? "◌";
    show(
      make("div", { class: `lav-status lav-${value.state}`, role: "status" },
        make("span", { class: "lav-mark", "aria-hidden": "true" }, mark),
        ...value.words.map((word) => make("span", {}, word))),
    );
  },

  notice(value) {
    if (!value || !value.kind) return show();
    const head = make("p", { class: "lav-sentence" }, make("strong", {}, value.sentence), value.hint ? ` ${value.hint}` : "");
    const words = (value.words ?? []).map(([variant, text]) =>
      make("p", { class: "lav-writing" }, make("span", { class: "lav-variant" }, variant), make("span", { class: "lav-words" }, text)));
    const meter = value.kind === "busy"
      ? make("div", { class: "lav-meter" }, make("div", {
        class: value.fraction === null ? "lav-run" : "", style: value.fraction === null ? "" : `width:${Math.round(value.fraction * 100)}%` }))
      : null;
    show(make("div", { class: `lav-notice lav-${value.kind}`, role: value.kind === "error" ? "alert" : "status" }, head, ...words, meter));
  },

  about(value) {
    show(make("div", { class: "lav-about" }, ...(value || []).map((line) => make("p", {}, line))));
  },

  examples(value) {
    show(make("div", { class: "lav-examples" }, ...value.map((example, index) =>
      make("button", { type: "button", class: "lav-example", onclick: () => trigger("select", { index }) },
        make("img", { src: example.source, alt: "" }),
        make("span", {}, make("strong", {}, example.title), make("em", {}, example.kind))))));
  },

  answers(value) {
    if (!value) return;
    const chip = (each) => {
      const shares = each.shares.map(percent).join(" → ");
      const bars = each.shares.map((share) => make("i", { style: `width:${Math.min(100, share * 100).toFixed(1)}%` }));
      return make("button", {
        type: "button", class: `lav-chip lav-${each.role}`, "aria-pressed": each.chosen ? "true" : "false", "data-token": each.index,
        title: `token ${each.index}: ${shares} % of its attention is on the image`,
        onclick: () => page.choose({ token: each.index }),
      }, make("span", { class: "lav-text" }, each.text), make("span", { class: "lav-shares" }, ...bars), make("small", {}, `${shares} %`));
    };
    const rows = value.rows.map((row) => make("div", { class: "lav-row" },
      make("span", { class: "lav-variant" }, row.variant, row.replayed ? make("small", {}, "replayed") : null),
      row.chips ? make("div", { class: "lav-chips" }, ...row.chips.map(chip)) : make("p", { class: "lav-own" }, row.text ?? "—")));
    if (value.question) rows.push(make("details", { class: "lav-question" }, make("summary", {}, "words of the question"),
      make("div", { class: "lav-chips" }, ...value.question.map(chip))));
    const open = element.querySelector("details")?.open;
    show(
      make("div", { class: "lav-card lav-answers" }, make("h3", {}, "Answers"), ...rows, make("p", { class: "lav-legend" }, value.legend),
        value.warnings.length ? make("ul", { class: "lav-warnings" }, ...value.warnings.map((each) => make("li", {}, each))) : null),
    );
    if (open) element.querySelector("details").open = true;
  },

  panes(value) {
    if (!value) return;
    page.drawn?.(value.heads);
    const figures = value.panes.map((pane) => pane.missing
      ? make("figure", { class: "lav-pane" }, make("figcaption", { class: "lav-title" }, pane.title), make("p", { class: "lav-missing" }, pane.missing))
      : make("figure", { class: "lav-pane" },
        make("figcaption", { class: "lav-title" }, pane.title),
        make("img", { src: pane.source, alt: pane.alt, width: pane.width, height: pane.height }),
        make("p", { class: "lav-caption" }, pane.caption)));
    const shared = make("div", { class: "lav-scale lav-shared" }, bar(value.bar));
    const signed = value.difference_bar ? make("div", { class: "lav-scale lav-signed" }, bar(value.difference_bar),
      make("p", { class: "lav-sides" }, make("span", {}, `← ${value.sides[0]}`), make("span", {}, `${value.sides[1]} →`))) : null;
    show(make("div", { class: "lav-card lav-panes", "data-count": figures.length },
      make("p", { class: "lav-where", "aria-live": "polite" }, value.where),
      make("div", { class: "lav-figures" }, ...figures, shared, signed),
      ...value.notes.map((note) => make("p", { class: "lav-note" }, note))));
  },

  numbers(value) {
    if (!value) return;
    const header = ["", ...value.columns, value.change].map((word) => make("th", { scope: "col" }, word));
    const body = value.rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.label, make("small", {}, row.unit)),
      ...value.columns.map((_, index) => make("td", {}, row.values[index] ?? "")), make("td", { class: "lav-delta" }, row.delta)));
    show(make("div", { class: "lav-card lav-numbers" }, make("h3", {}, "Numbers"),
      make("div", { class: "lav-scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...header)), make("tbody", {}, ...body)))));
  },

  controls(value) {
    if (!value) return;
    page.play(false);
    const choice = () => props.value.choice;
    const select = (name, label, options, read = (text) => text) => make("label", { class: "lav-field" }, make("span", {}, label),
      make("select", { "data-choice": name, onchange: (event) => page.choose({ [name]: read(event.target.value) }) },
        ...options.map(([key, word]) => make("option", { value: key, selected: String(choice()[name]) === String(key) }, word))));
    const range = (name, label, low, high, step, word) => make("label", { class: `lav-field lav-range lav-${name}` },
      make("span", {}, label, make("output", {}, word(choice()[name]))),
      make("input", { type: "range", min: low, max: high, step, value: choice()[name], "data-choice": name, "aria-label": label,
        oninput: (event) => page.choose({ [name]: Number(event.target.value) }) }));
    const check = (name, label) => make("label", { class: "lav-check" },
      make("input", { type: "checkbox", checked: choice()[name], "data-choice": name, onchange: (event) => page.choose({ [name]: event.target.checked }) }), label);
    const last = value.layers - 1;
    const head = select("head", "head", [], (text) => (text === "mean" || text === "max" ? text : Number(text)));
    const fold = element.querySelector("details")?.open;
    show(make("div", { class: "lav-card lav-controls" },
      make("div", { class: "lav-line" },
        make("button", { type: "button", class: "lav-play", title: "play through the layers (space)", "aria-label": "play through the layers", onclick: () => page.play(!page.playing) }, "▶"),
        range("layer", "layer", 0, last, 1, (layer) => `${layer} of 0–${last}`),
        select("window", "average", [0, 1, 2, 4].filter((n) => n === 0 || n < value.layers).map((n) => [n, n ? `± ${n} layers` : "this layer"]), Number),
        head,
        select("view", "view", value.views.map((view) => [view, view]))),
      make("details", { open: fold },
        make("summary", {}, "display"),
        make("div", { class: "lav-line" },
          range("opacity", "opacity", 0, 1, 0.05, (part) => `${Math.round(part * 100)} %`),
          select("colormap", "colours", value.colormaps.map((name) => [name, name])),
          select("diverging", "colours of differences", value.diverging.map((name) => [name, name])),
          select("percentile", "clip colours at", [[100, "the largest value"], [99, "percentile 99"], [95, "percentile 95"]], Number),
          check("smooth", "smooth between cells"),
          check("log", "logarithmic colours"))),
      make("p", { class: "lav-keys" }, make("kbd", {}, "←"), make("kbd", {}, "→"), " layer  ", make("kbd", {}, "↑"), make("kbd", {}, "↓"), " head  ", make("kbd", {}, "space"), " play")));
    page.drawn(page.ranked ?? []);
  },

  saver(value) {
    if (!value?.source || value.serial === page.saved) return;
    page.saved = value.serial;
    make("a", { href: value.source, download: value.name }).click();
  },
};

if (props.part === "controls") {
  // The one way in which a choice changes: the small value goes to the server, which draws.
  page.choose = (change) => {
    const next = { ...props.value.choice, ...change };
    // contrast subtracts a background that is a mean over heads: it has no single head
    if (next.view === "contrast" && next.head !== "mean") change = { ...change, ...("view" in change ? { head: "mean" } : { view: "raw" }) };
    props.value = { ...props.value, choice: { ...props.value.choice, ...change } };
    for (const [name, value] of Object.entries(change)) {
      const field = element.querySelector(`[data-choice="${name}"]`);
      if (field && field.type !== "checkbox") field.value = value;
      const output = field?.closest(".lav-range")?.querySelector("output");
      if (output) output.textContent = name === "opacity" ? `${Math.round(value * 100)} %` : `${value} of 0–${props.value.layers - 1}`;
    }
    page.waiting = true;
    trigger("input");
  };
  // After each drawing: the heads to choose from, ranked for this token and layer.
  page.drawn = (ranked) => {
    page.waiting = false;
    page.ranked = ranked;
    const field = element.querySelector('[data-choice="head"]');
    if (!field || !props.value) return;
    const chosen = String(props.value.choice.head);
    const plain = Array.from({ length: props.value.heads }, (_, head) => [head, `head ${head}`]);
    const option = ([key, word]) => make("option", { value: key, selected: chosen === String(key) }, word);
    field.replaceChildren(option(["mean", "mean of all"]), option(["max", "maximum"]),
      make("optgroup", { label: ranked.length ? "ranked for this token and layer" : "one head" }, ...(ranked.length ? ranked : plain).map(option)));
    field.value = chosen;
  };
  page.play = (on) => {
    clearInterval(page.playing);
    page.playing = on ? setInterval(() => {
      if (page.waiting || !element.isConnected) return;
      page.choose({ layer: (props.value.choice.layer + 1) % props.value.layers });
    }, 350) : null;
    const button = element.querySelector(".lav-play");
    if (button) { button.textContent = on ? "❚❚" : "▶"; button.setAttribute("aria-pressed", on ? "true" : "false"); }
  };
  document.addEventListener("keydown", (event) => {
    if (!props.value || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, button, summary, [contenteditable], [role=listbox], [role=dialog]")) return;
    const { choice, layers } = props.value;
    const field = element.querySelector('[data-choice="head"]');
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === " ") page.play(!page.playing);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") page.choose({ layer: Math.min(layers - 1, Math.max(0, choice.layer + step)) });
    else if (step && field) {
      const next = field.options[Math.min(field.options.length - 1, Math.max(0, field.selectedIndex + step))].value;
      page.choose({ head: next === "mean" || next === "max" ? next : Number(next) });
    } else return;
    event.preventDefault();
  });
}

// Gradio may hand in an earlier answer after a later one: what was asked for earlier than what is shown is left out.
let stamp = 0;
const render = () => {
  const value = props.value;
  if (value?.stamp < stamp) return;
  stamp = value?.stamp ?? stamp;
  parts[props.part](value);
};
watch("value", render);
render();
