// Decides when what is chosen is drawn: the pictures once per frame of the browser, what stands beside them a frame
// after, and what stands further off, whose layout costs more than the pictures, once the hand rests. Whoever drags sees
// the pictures first, and the rest once there is time.

const PAUSE = 100; // ms without another drawing after which the hand rests
const LONGEST = 500; // ms after which what stands further off is drawn all the same, as while layers play

/** @param {() => void} draw */
export function createFrames(draw) {
  let queued = 0;
  let following = 0;
  let resting = 0;
  let waits = 0; // since when something further off waits to be drawn
  /** @type {(() => void) | null} draws what stands beside the pictures, where that is not done yet */
  let beside = null;
  /** @type {(() => void) | null} draws what stands further off, where that is not done yet */
  let afar = null;

  function settleBeside() {
    beside?.();
    beside = null;
  }

  function settle() {
    settleBeside();
    clearTimeout(resting);
    afar?.();
    afar = null;
  }

  return {
    /** Draw in the next frame. */
    queue() {
      if (!queued) queued = requestAnimationFrame(() => {
        queued = 0;
        draw();
      });
    },
    /**
     * Draw what belongs to the pictures that were just drawn.
     * @param {() => void} near a frame after them
     * @param {() => void} far once nothing else is drawn
     */
    follow(near, far) {
      const now = performance.now();
      if (!afar) waits = now;
      [beside, afar] = [near, far];
      cancelAnimationFrame(following);
      clearTimeout(resting);
      if (now - waits >= LONGEST) return settle(); // with their pictures, since no rest came
      following = requestAnimationFrame(() => {
        if (!queued) settleBeside(); // else the next picture comes in this frame, and brings its own
      });
      resting = setTimeout(() => queued || settle(), PAUSE); // where one is queued, it brings its own too
    },
    settle,
    settleBeside,
    /** What belongs to other pictures is not drawn any more. */
    forget() {
      beside = afar = null;
    },
    stop() {
      cancelAnimationFrame(queued);
      cancelAnimationFrame(following);
      clearTimeout(resting);
    },
  };
}
