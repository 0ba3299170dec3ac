// Decides which part of the photo all panes show together: wheel, pinch, drag, keys and buttons change it.

const MOST = 16;
/** @type {Part} */
const WHOLE = Object.freeze({ left: 0, top: 0, size: 1 });

/**
 * @param {() => void} changed
 */
export function createZoom(changed) {
  /** @type {Part} */
  let part = WHOLE;
  /** @type {Map<number, PointerEvent>} */
  const fingers = new Map();
  /** @type {HTMLElement[]} */
  const frames = [];

  /** @param {Part} next */
  function turnTo({ left, top, size }) {
    const bounded = Math.min(1, Math.max(1 / MOST, size));
    const inside = (/** @type {number} */ edge) => Math.min(1 - bounded, Math.max(0, edge));
    part = bounded === 1 ? WHOLE : Object.freeze({ left: inside(left), top: inside(top), size: bounded });
    for (const frame of frames) frame.style.touchAction = bounded < 1 ? "none" : ""; // a finger moves the photo, not the page
    changed();
  }

  /**
   * Magnify about a place of the pane, which stays where it is.
   * @param {number} factor
   * @param {number} [x] fraction of the pane's width
   * @param {number} [y]
   */
  function by(factor, x = 0.5, y = 0.5) {
    const size = Math.min(1, Math.max(1 / MOST, part.size / factor));
    turnTo({ left: part.left + x * (part.size - size), top: part.top + y * (part.size - size), size });
  }

  /**
   * @param {HTMLElement} frame
   * @param {{ clientX: number, clientY: number }} event
   */
  function placeIn(frame, event) {
    const box = frame.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height, box };
  }

  /** @param {HTMLElement} frame @param {PointerEvent} event */
  function moved(frame, event) {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
    const { box } = placeIn(frame, event);
    fingers.set(event.pointerId, event);
    if (other) {
      const apart = (/** @type {PointerEvent} */ finger) => Math.max(8, Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY));
      const middle = placeIn(frame, { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
      by(apart(event) / apart(before), middle.x, middle.y);
    }
    if (part.size === 1) return;
    const share = (other ? 0.5 : 1) * part.size;
    turnTo({
      left: part.left - ((event.clientX - before.clientX) / box.width) * share,
      top: part.top - ((event.clientY - before.clientY) / box.height) * share,
      size: part.size,
    });
  }

  return {
    part: () => part,
    by,
    whole: () => turnTo(WHOLE),
    /**
     * Let a pane's frame zoom: with ctrl the wheel always does, alone only once the pictures have the focus (clicked or
     * tabbed to) or are magnified, so that a page that is scrolled past stays a page.
     * @param {HTMLElement} frame
     */
    attach(frame) {
      frames.push(frame);
      frame.addEventListener("wheel", (event) => {
        const meant = event.ctrlKey || event.metaKey || part.size < 1 || frame.contains(document.activeElement);
        if (!meant || (part.size === 1 && event.deltaY > 0 && !event.ctrlKey)) return;
        event.preventDefault();
        const { x, y } = placeIn(frame, event);
        const turned = Math.max(-25, Math.min(25, event.deltaY)); // a pinch sends many small ones, a wheel few of 100
        by(Math.exp(-turned * 0.012), x, y);
      }, { passive: false });
      frame.addEventListener("dblclick", (event) => {
        const { x, y } = placeIn(frame, event);
        if (part.size < 1) turnTo(WHOLE);
        else by(3, x, y);
      });
      frame.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        fingers.set(event.pointerId, event);
        if (part.size < 1 || fingers.size > 1) frame.setPointerCapture(event.pointerId);
      });
      frame.addEventListener("pointermove", (event) => moved(frame, event));
      for (const end of /** @type {const} */ (["pointerup", "pointercancel", "pointerleave"])) {
        frame.addEventListener(end, (event) => fingers.delete(event.pointerId));
      }
    },
  };
}
