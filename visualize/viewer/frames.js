// Decides when what is chosen is drawn: the pictures once per frame of the browser, what stands beside them a frame
// after, and what stands further off, whose layout costs more than the pictures, once the hand rests; where it does not
// rest, part by part. Whoever drags sees the pictures first, and the rest once there is time; it is marked as behind them
// while the hand moves.

const PAUSE = 100; // ms without another drawing after which the hand rests
const LONGEST = 1000; // ms without a rest after which it is drawn all the same, one part with each picture
const BEHIND = 150; // ms of motion after which what stands further off is marked as behind

/**
 * @param {() => void} draw
 * @param {(on: boolean) => void} behind whether what stands further off may be that of a picture before
 */
export function createFrames(draw, behind) {
  let queued = 0;
  let following = 0;
  let resting = 0;
  let moving = 0; // from a hand's first move until it rests
  let waits = 0; // since when something further off waits to be drawn
  let turn = 0; // of the part that is drawn next, where no rest comes
  /** @type {(() => void) | null} draws what stands beside the pictures, where that is not done yet */
  let beside = null;
  /** @type {(() => void)[]} draw what stands further off, where that is not done yet */
  let afar = [];

  function settleBeside() {
    beside?.();
    beside = null;
  }

  function settle() {
    settleBeside();
    clearTimeout(resting);
    afar.forEach((part) => part());
    afar = [];
    turn = 0;
  }

  /** No rest came: draw the next part with its pictures. @param {number} now */
  function drawNext(now) {
    const parts = [settleBeside, ...afar];
    parts[turn]();
    turn = (turn + 1) % parts.length;
    if (turn === 0) waits = now;
  }

  /** The hand rests. */
  function rest() {
    clearTimeout(moving);
    moving = 0;
    behind(false);
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
     * @param {(() => void)[]} far its parts, as many each time: once nothing else is drawn, or one with each picture
     * @param {boolean} moved whether they are of another layer or choice, and no nearer look at the same
     */
    follow(near, far, moved) {
      const now = performance.now();
      if (!afar.length) waits = now;
      if (moved && !moving) moving = setTimeout(behind, BEHIND, true);
      [beside, afar] = [near, far];
      cancelAnimationFrame(following);
      clearTimeout(resting);
      if (now - waits >= LONGEST) drawNext(now);
      following = requestAnimationFrame(() => {
        if (!queued) settleBeside(); // else the next picture comes in this frame, and brings its own
      });
      resting = setTimeout(() => {
        if (queued) return; // it brings its own too
        settle();
        rest();
      }, PAUSE);
    },
    /** Draw all of it now. */
    settle() {
      settle();
      rest();
    },
    settleBeside,
    /** What belongs to other pictures is not drawn any more. */
    forget() {
      beside = null;
      afar = [];
      turn = 0;
      rest();
    },
    stop() {
      cancelAnimationFrame(queued);
      cancelAnimationFrame(following);
      clearTimeout(resting);
      clearTimeout(moving);
    },
  };
}
