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
    const said = value?.kind === "error" ? value.sentence : value?.kind;
    const begins = said !== page.noticed && ["busy", "error"].includes(value?.kind);
    page.noticed = said;
    if (!value || !value.kind) return show();
    const head = make("p", { class: "lav-sentence" }, make("strong", {}, value.sentence), value.hint ? ` ${value.hint}` : "");
    const words = (value.words ?? []).map(([variant, text]) =>
      make("p", { class: "lav-writing" }, make("span", { class: "lav-variant" }, variant), make("span", { class: "lav-words" }, text)));
    const meter = value.kind === "busy"
      ? make("div", { class: "lav-meter" }, make("div", { class: "lav-run" }))
      : null;
    show(make("div", { class: `lav-notice lav-${value.kind}`, role: value.kind === "error" ? "alert" : "status" }, head, ...words, meter));
    // on a phone the results are below the button: whoever pressed it is taken to what happens; and to what failed, up too
    const { top, bottom } = element.getBoundingClientRect();
    if (begins && (top > innerHeight || (bottom < 0 && value.kind === "error"))) element.scrollIntoView({ block: "start" });
  },

  about(value) {
    show(make("div", { class: "lav-about" }, ...(value || []).map((line) => make("p", {}, line))));
  },

  read(value) {
    parts.about(value);
  },

  examples(value) {
    show(make("div", { class: "lav-examples" }, ...value.map((example, index) =>
      make("button", { type: "button", class: "lav-example", onclick: () => trigger("select", { index }) },
        make("img", { src: example.source, alt: "" }),
        make("span", {}, make("strong", {}, example.title), make("em", {}, example.kind))))));
  },

  viewer(value) {
    if (!value?.ticket) return;
    lookLater(value);
  },

  look() {}, // holds what is looked at, for the server

  cards(value) {
    if (value?.key) page.viewer?.explained(value);
  },

  saver(value) {
    if (!value?.source || value.serial === page.saved) return;
    page.saved = value.serial;
    // a blob: a long address of its own would be cut
    fetch(value.source).then((content) => content.blob()).then((content) => {
      const address = URL.createObjectURL(content);
      make("a", { href: address, download: value.name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    });
  },
};

// The viewer is one for the page's life; a result comes to it as a source of numbers, asked for by the result's ticket.
const root = () => (window.gradio_config?.root ?? "").replace(/\/$/, "");
// Its style goes around Gradio, which rewrites sheets of its own and drops what it does not know (@container).
const styled = () => new Promise((loaded, failed) => document.head.append(make("link", {
  rel: "stylesheet", href: `${root()}/viewer/viewer.css`, onload: loaded, onerror: () => failed(new Error("The viewer's style did not come.")) })));
const viewerModules = () => (page.modules ??= Promise.all([import(`${root()}/viewer/viewer.js`), styled()]));
const loadViewer = async () => {
  const [{ createViewer }] = await viewerModules();
  const holder = make("div");
  page.images = make("div", { class: "lav-images", role: "group", "aria-label": "images of the conversation" });
  show(hints(), page.images, holder);
  const viewer = createViewer(holder);
  viewer.on((choice) => tell({ choice }));
  page.ask = () => viewer.stale(true, "These pictures belong to the question before; Analyze brings those of the new one.");
  return viewer;
};
// How to read it, until somebody has read it: closed once, it stays closed in this browser.
const remembered = (closing) => {
  try {
    if (closing) localStorage.setItem("lav-hints", "closed");
    return localStorage.getItem("lav-hints") === "closed";
  } catch {
    return closing; // a browser that keeps nothing
  }
};
const HINTS = [
  "Bright is where the model looks at the marked word, as it reads one of the question or writes one of the answer: left the base model, then the adapter, at the right what changed (red: more, blue: less).",
  "Slide through the layers, click another word of the answer, or a cell of the matrix: each is another look, on one scale.",
  "Attention is where a layer reads, not why the answer came out.",
];
const hints = () => {
  if (remembered(false)) return null;
  const close = () => { remembered(true); box.remove(); };
  const box = make("aside", { class: "lav-hints", "aria-label": "How to read it" },
    make("ol", {}, ...HINTS.map((sentence) => make("li", {}, sentence))),
    make("button", { type: "button", class: "lav-close", onclick: close }, "Got it"));
  return box;
};
const tell = (value, event) => {
  const { look } = page.parts;
  look.props.value = { ...look.props.value, ...value };
  if (event) look.trigger(event);
};
const query = (choice, more = {}) => new URLSearchParams({
  token: [choice.token].flat().join("-"), head: choice.head, view: choice.view, window: choice.window, against: choice.against, ...more });
const run = (recorded) => (recorded.length ? { recorded: recorded.join() } : {});
const sourceOf = (ticket, result) => {
  const visit = `${root()}/visits/${ticket}`;
  const ask = async (address) => {
    const response = await fetch(address);
    if (!response.ok) throw Object.assign(new Error(), (await response.json()).error);
    return response;
  };
  return {
    photo: `${visit}/photo`,
    result,
    address: true,
    scene: async (focus, view) => (await ask(`${visit}/scene${focus ? `?${new URLSearchParams({ token: [focus].flat().join("-"), view })}` : ""}`)).json(),
    stack: async (choice) => (await ask(`${visit}/stack?${query(choice)}`)).arrayBuffer(),
    heads: async (choice, layer) => (await ask(`${visit}/heads?${query(choice, { layer })}`)).arrayBuffer(),
    changes: async (choice) => (await ask(`${visit}/changes?${query(choice)}`)).json(),
    headChanges: async (choice, recorded) => (await ask(`${visit}/head_changes?${query(choice, run(recorded))}`)).json(),
    box: async (choice, recorded) => (await ask(`${visit}/box?${query(choice, { box: choice.boxes.map((box) => box.join(",")).join(";"), ...run(recorded) })}`)).json(),
    record: () => tell({}, "input"),
    replay: (answer) => tell({ answer }, "submit"),
    cards: async () => (await ask(`${visit}/cards`)).json(),
    explain: (question) => { tell({ question }); page.parts.cards.trigger("submit"); },
    stopExplaining: () => page.parts.cards.trigger("stop"),
  };
};
const lookAt = async ({ ticket, key, focus, view, image }) => {
  const same = page.shown === key;
  const shown = image ?? (same ? page.image : undefined); // of several images, the one that is looked at stays
  const source = sourceOf(shown === undefined ? ticket : `${ticket}.${shown}`, key);
  const [viewer, scene] = await Promise.all([page.viewer ?? loadViewer(), source.scene(focus, view)]);
  page.viewer = viewer;
  const name = scene.images > 1 ? `${key} ${scene.shown}` : key;
  if (same && scene.shown !== page.image) viewer.choose({ boxes: [] }); // they lie on another image
  if (focus && same) viewer.update(scene, { key: name, source });
  else viewer.show(scene, source, { key: name, keep: page.shown !== undefined });
  viewer.stale(false);
  const added = scene.variants.filter((variant) => page.variants && !page.variants.includes(variant));
  if (added.length) viewer.choose({ adapter: added[0] }); // whoever adds an adapter wants to see it
  page.variants = scene.variants;
  page.shown = key;
  page.image = scene.shown;
  tell({ image: scene.shown });
  offerImages(scene, { ticket, key });
};
// Which image of a conversation the maps lie on.
const offerImages = ({ images, shown }, { ticket, key }) => {
  page.images.hidden = images < 2;
  page.images.replaceChildren(...Array.from({ length: images < 2 ? 0 : images }, (_, image) =>
    make("button", { type: "button", class: "lav-image", "aria-pressed": String(image === shown), onclick: () => lookLater({ ticket, key, image }) },
      make("img", { src: `${root()}/visits/${ticket}.${image}/photo`, alt: "" }), make("span", {}, `image ${image + 1}`))));
};
const lookLater = (value) => {
  page.looking = Promise.resolve(page.looking).then(() => lookAt(value)).catch((error) => {
    page.parts.notice.props.value = { kind: "error", sentence: error.message || "This result cannot be shown.", hint: error.hint ?? "Reload the page." };
  });
};

if (props.part === "viewer") viewerModules().catch(() => delete page.modules); // before the first result needs them

// Who waits changes while this page does nothing.
if (props.part === "status") {
  setInterval(() => {
    if (!document.hidden && element.isConnected && props.value?.state === "ready") trigger("input");
  }, 2_000);
}

const render = () => parts[props.part](props.value);
watch("value", render);
render();
