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
    const words = value?.words?.join("\n");
    if (!words || words === page.standing) return; // asked for again and again, said only when it changes
    page.standing = words;
    const mark = { ready: "●", loading: "◌", failed: "✕" }[value.state] ?? "◌";
    show(
      make("div", { class: `lav-status lav-${value.state}`, role: "status" },
        make("span", { class: "lav-mark", "aria-hidden": "true" }, mark),
        ...value.words.map((word) => make("span", {}, word))),
    );
  },

  notice(value) {
    const begins = value?.kind !== page.noticed && ["busy", "error"].includes(value?.kind);
    page.noticed = value?.kind;
    if (!value || !value.kind) return show();
    const head = make("p", { class: "lav-sentence" }, make("strong", {}, value.sentence), value.hint ? ` ${value.hint}` : "");
    const words = (value.words ?? []).map(([variant, text]) =>
      make("p", { class: "lav-writing" }, make("span", { class: "lav-variant" }, variant), make("span", { class: "lav-words" }, text)));
    const meter = value.kind === "busy"
      ? make("div", { class: "lav-meter" }, make("div", {
        class: value.fraction === null ? "lav-run" : "", style: value.fraction === null ? "" : `width:${Math.round(value.fraction * 100)}%` }))
      : null;
    show(make("div", { class: `lav-notice lav-${value.kind}`, role: value.kind === "error" ? "alert" : "status" }, head, ...words, meter));
    // on a phone the results are below the button: whoever pressed it is taken to what happens
    if (begins && element.getBoundingClientRect().top > innerHeight) element.scrollIntoView({ block: "start" });
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
    const chip = (row, token) => {
      const shares = token.shares.map(percent).join(" → ");
      const bars = token.shares.map((share) => make("i", { style: `width:${Math.min(100, share * 100).toFixed(1)}%` }));
      return make("button", {
        type: "button", class: `lav-chip lav-${token.role}`, "aria-pressed": token.chosen ? "true" : "false",
        "data-token": token.index, "data-key": `${row} ${token.index}`,
        title: `token ${token.index}: ${shares} % of its attention is on the image`,
        onclick: () => page.choose({ token: token.index }),
      }, make("span", { class: "lav-text" }, token.text), make("span", { class: "lav-shares" }, ...bars), make("small", {}, `${shares} %`));
    };
    const chips = (row, tokens) => make("div", { class: "lav-chips" }, ...tokens.map((token) => chip(row, token)));
    const rows = value.rows.map((row, index) => make("div", { class: "lav-row" },
      make("span", { class: "lav-variant" }, row.variant, row.replayed ? make("small", {}, "replayed") : null),
      row.chips ? chips(index, row.chips) : make("p", { class: "lav-own" }, row.text ?? "—")));
    const open = element.querySelector("details")?.open;
    const question = value.question ? make("details", { class: "lav-question", open },
      make("summary", { "data-key": "question" }, "words of the question"), chips("question", value.question)) : null;
    show(
      make("div", { class: "lav-card lav-answers" }, make("h3", {}, "Answers"), make("div", { class: "lav-rows" }, ...rows), question, make("p", { class: "lav-legend" }, value.legend),
        value.warnings.length ? make("ul", { class: "lav-warnings" }, ...value.warnings.map((words) => make("li", {}, words))) : null),
    );
  },

  panes(value) {
    if (!value) return;
    page.ranked = value.heads; // the controls may come after the pictures: on a first visit they do
    page.offerHeads?.();
    const figures = value.panes.map((pane) => pane.missing
      ? make("figure", { class: "lav-pane" }, make("figcaption", { class: "lav-title" }, pane.title), make("p", { class: "lav-missing" }, pane.missing))
      : make("figure", { class: "lav-pane" },
        make("figcaption", { class: "lav-title" }, pane.title),
        make("img", { src: pane.source, alt: pane.alt, width: pane.width, height: pane.height }),
        make("p", { class: "lav-caption" }, pane.caption)));
    const shared = make("div", { class: "lav-scale lav-shared" }, bar(value.bar));
    const signed = value.difference_bar ? make("div", { class: "lav-scale lav-signed" }, bar(value.difference_bar),
      make("p", { class: "lav-sides" }, make("span", {}, `← ${value.sides[0]}`), make("span", {}, `${value.sides[1]} →`))) : null;
    // the heading stays the same element: only then does a screen reader say what it changes to
    const where = element.querySelector(".lav-where") ?? make("p", { class: "lav-where", "aria-live": "polite" });
    const card = where.parentElement ?? make("div", { class: "lav-card lav-panes" }, where);
    while (where.nextSibling) where.nextSibling.remove();
    where.textContent = value.where;
    card.dataset.count = figures.length;
    // a photo that is far wider than high would be a thread in a third of the page
    card.classList.toggle("lav-stacked", value.panes[0].width > 3 * value.panes[0].height);
    const [, , difference] = figures;
    card.append(make("div", { class: "lav-figures" }, ...figures.slice(0, 2), shared, difference, signed),
      ...value.notes.map((note) => make("p", { class: "lav-note" }, note)));
    if (!card.isConnected) show(card);
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
    page.headBefore = null;
    const choice = () => props.value.choice;
    const last = value.layers - 1;
    const word = { layer: (layer) => `${layer} of 0–${last}`, opacity: (part) => `${Math.round(part * 100)} %` };
    page.word = (name, chosen) => word[name]?.(chosen) ?? null;
    const select = (name, label, options, read = (text) => text) => make("label", { class: "lav-field" }, make("span", {}, label),
      make("select", { "data-choice": name, onchange: (event) => page.choose({ [name]: read(event.target.value) }) },
        ...options.map(([key, word]) => make("option", { value: key, selected: String(choice()[name]) === String(key) }, word))));
    const range = (name, label, high, step, attributes = {}) => make("label", { class: `lav-field lav-range lav-${name}` },
      make("span", {}, label, make("output", {}, page.word(name, choice()[name]))),
      make("input", { type: "range", min: 0, max: high, step, value: choice()[name], "data-choice": name, "aria-label": label,
        "aria-valuetext": page.word(name, choice()[name]), ...attributes,
        oninput: (event) => page.choose({ [name]: Number(event.target.value) }) }));
    const check = (name, label) => make("label", { class: "lav-check" },
      make("input", { type: "checkbox", checked: choice()[name], "data-choice": name, onchange: (event) => page.choose({ [name]: event.target.checked }) }), label);
    const head = select("head", "head", [], (text) => (text === "mean" || text === "max" ? text : Number(text)));
    const fold = element.querySelector("details")?.open;
    show(make("div", { class: "lav-card lav-controls" },
      make("div", { class: "lav-line" },
        make("button", { type: "button", class: "lav-play", "data-key": "play", title: "play through the layers (space)", "aria-label": "play through the layers", onclick: () => page.play(!page.playing) }, "▶"),
        range("layer", "layer", last, 1, { "aria-describedby": "lav-keys" }),
        select("window", "average", [0, 1, 2, 4].filter((n) => n === 0 || n < value.layers).map((n) => [n, n ? `± ${n} layers` : "this layer"]), Number),
        head,
        select("view", "view", value.views.map((view) => [view, view]))),
      make("details", { open: fold },
        make("summary", { "data-key": "display" }, "display"),
        make("div", { class: "lav-line" },
          range("opacity", "opacity", 1, 0.05),
          select("colormap", "colours", value.colormaps.map((name) => [name, name])),
          select("diverging", "colours of differences", value.diverging.map((name) => [name, name])),
          select("percentile", "clip colours at", [[100, "the largest value"], [99, "percentile 99"], [95, "percentile 95"]], Number),
          check("smooth", "smooth between cells"),
          check("log", "logarithmic colours"))),
      make("p", { class: "lav-keys", id: "lav-keys" }, make("kbd", {}, "←"), make("kbd", {}, "→"), " layer  ", make("kbd", {}, "↑"), make("kbd", {}, "↓"), " head  ", make("kbd", {}, "space"), " play")));
    page.offerHeads();
  },

  saver(value) {
    if (!value?.source || value.serial === page.saved) return;
    page.saved = value.serial;
    make("a", { href: value.source, download: value.name }).click();
  },
};

if (props.part === "controls") {
  // Contrast subtracts a background that is a mean over heads, so it has no single head: choosing it puts the head
  // aside until another view is chosen, and choosing a head leaves it.
  const settled = (choice, change) => {
    const next = { ...choice, ...change };
    if ("head" in change) page.headBefore = null;
    if (next.view !== "contrast") {
      const head = page.headBefore ?? next.head;
      page.headBefore = null;
      return { ...change, head };
    }
    if (next.head === "mean") return change;
    if (!("view" in change)) return { ...change, view: "raw" };
    page.headBefore = next.head;
    return { ...change, head: "mean" };
  };
  // The one way in which a choice changes: the small value goes to the server, which draws.
  page.choose = (asked) => {
    const change = settled(props.value.choice, asked);
    props.value = { ...props.value, choice: { ...props.value.choice, ...change } };
    for (const [name, value] of Object.entries(change)) {
      const field = element.querySelector(`[data-choice="${name}"]`);
      if (field && field.type !== "checkbox") field.value = value;
      if (field?.type !== "range") continue;
      field.setAttribute("aria-valuetext", page.word(name, value));
      field.closest(".lav-range").querySelector("output").textContent = page.word(name, value);
    }
    page.waiting = true;
    trigger("input");
  };
  // After each drawing: the heads to choose from, ranked for this token and layer.
  page.offerHeads = () => {
    page.waiting = false;
    const field = element.querySelector('[data-choice="head"]');
    if (!field || !props.value) return;
    const ranked = page.ranked ?? [];
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
  // Where a key means something of its own it keeps that: letters and arrows in fields, space and Enter on buttons. The
  // layer slider keeps left, right, Home and End, which mean the layer; up and down mean the head there as everywhere.
  const isTaken = (key, target) => {
    if (target.matches('[data-choice="layer"]')) return !["ArrowUp", "ArrowDown", " "].includes(key);
    if (target.closest("input, textarea, select, [contenteditable], [role=listbox], [role=dialog]")) return true;
    return Boolean(target.closest("button, summary, a")) && (key === " " || !target.closest(".lav-card"));
  };
  document.addEventListener("keydown", (event) => {
    if (!props.value || event.ctrlKey || event.metaKey || event.altKey || isTaken(event.key, event.target)) return;
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

// Who waits changes while this page does nothing.
if (props.part === "status") {
  setInterval(() => {
    if (!document.hidden && element.isConnected && props.value?.state === "ready") trigger("input");
  }, 2_000);
}

// Gradio may hand in an earlier answer after a later one: what was asked for earlier than what is shown is left out.
let stamp = 0;
const keyOf = (node) => node?.dataset?.key ?? node?.dataset?.choice;
const render = () => {
  const value = props.value;
  if (value?.stamp < stamp) return;
  stamp = value?.stamp ?? stamp;
  const focused = element.contains(document.activeElement) ? keyOf(document.activeElement) : undefined;
  parts[props.part](value);
  // what had the focus was made anew: whoever works with the keyboard goes on from there
  if (focused === undefined || element.contains(document.activeElement)) return;
  [...element.querySelectorAll("[data-key], [data-choice]")].find((node) => keyOf(node) === focused)?.focus({ preventScroll: true });
};
watch("value", render);
render();
