// Decides when what is chosen is drawn: the pictures once per frame of the browser, what stands around them a frame
// after. Whoever drags sees the pictures first, and the rest once there is time.

/** @param {() => void} draw */
export function createFrames(draw) {
  let queued = 0;
  let following = 0;
  /** @type {(() => void) | null} draws what stands around the pictures, where that is not done yet */
  let around = null;

  function settle() {
    around?.();
    around = null;
  }

  return {
    /** Draw in the next frame. */
    queue() {
      if (!queued) queued = requestAnimationFrame(() => {
        queued = 0;
        draw();
      });
    },
    /** @param {() => void} later draws what stands around the pictures that were just drawn */
    follow(later) {
      around = later;
      cancelAnimationFrame(following);
      following = requestAnimationFrame(() => {
        if (!queued) settle(); // else the next picture comes in this frame, and brings its own
      });
    },
    settle,
    /** What stands around other pictures is not drawn any more. */
    forget() {
      around = null;
    },
    stop() {
      cancelAnimationFrame(queued);
      cancelAnimationFrame(following);
    },
  };
}
