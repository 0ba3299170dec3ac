// Decides when the next layer (or checkpoint) comes while playing: by the clock of the frames, one step at a time.

/**
 * @param {() => boolean} step goes on by one; false where what was asked before is not drawn yet
 * @param {(on: boolean) => void} changed
 */
export function createPlay(step, changed) {
  let on = false;
  let rate = 4; // steps a second
  let due = 0;

  /** @param {number} now */
  function tick(now) {
    if (!on) return;
    requestAnimationFrame(tick);
    if (now < due) return;
    if (step()) due = Math.max(due + 1000 / rate, now - 4); // a late frame is not made up for, a punctual one loses nothing
  }

  return {
    isOn: () => on,
    /** @param {boolean} next */
    turn(next) {
      if (next === on) return;
      on = next;
      due = 0;
      if (on) requestAnimationFrame(tick);
      changed(on);
    },
    /** @param {number} next steps a second */
    speed: (next) => (rate = next),
  };
}
