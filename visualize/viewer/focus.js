// Decides where the focus goes when what had it is made anew: whoever works with the keyboard goes on from there.

const MARKED = ["token", "choice", "most", "head"]; // data attributes that name an element of the viewer

/** @param {HTMLElement} root @param {() => void} make makes elements anew */
export function keepingFocus(root, make) {
  const active = document.activeElement;
  const names = active instanceof HTMLElement && root.contains(active) ? Object.entries(active.dataset) : [];
  make();
  const name = names.find(([attribute]) => MARKED.includes(attribute));
  if (!name || root.contains(document.activeElement)) return;
  /** @type {HTMLElement | null} */ (root.querySelector(`[data-${name[0]}="${CSS.escape(name[1] ?? "")}"]`))?.focus({ preventScroll: true });
}
