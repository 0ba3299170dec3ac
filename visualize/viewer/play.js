// Decides which layer (or checkpoint) comes next while playing, and when: by the clock of the frames, one at a time.

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

/**
 * What comes after a choice: the next layer, or the next checkpoint of the same training run; after the last, the first.
 * @param {Scene} scene
 * @param {Choice} choice
 * @param {"layers" | "checkpoints"} through
 * @returns {Change}
 */
export function nextStep({ layers, variants, families }, { layer, adapter, against }, through) {
  if (through === "layers") return { layer: (layer + 1) % layers };
  const family = families[adapter]?.[0];
  const steps = variants.filter((variant) => variant !== against && families[variant]?.[0] === family)
    .sort((one, other) => families[one][1] - families[other][1]);
  return { adapter: steps[(steps.indexOf(adapter) + 1) % steps.length] };
}
