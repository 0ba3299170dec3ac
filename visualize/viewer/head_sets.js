// Decides which few heads of all layers are offered as one: those that Python ranked first, and what by.

/**
 * @param {Drawn} drawn
 * @param {HeadChanges | null} changes against the variant that is looked at
 * @param {HeadChanges["localizing"] | undefined} localizing
 * @param {BoxNumbers | null} boxed of the boxes that are drawn
 * @param {Finding | null} effect what carries the change
 * @returns {[HeadSet, string][]} each once
 */
export function headSets({ choice }, changes, localizing, boxed, effect) {
  /** @type {[HeadSet | "" | undefined, string][]} */
  const ranked = [
    [effect?.heads?.top, "carry the change"],
    [localizing?.[choice.adapter], "look at the image, at few cells"],
    [changes?.top[choice.adapter], "changed most"],
    [boxed?.top[choice.adapter], "look into the box"],
  ];
  /** @type {Map<HeadSet, string>} */
  const sets = new Map();
  for (const [set, what] of ranked) {
    if (!set) continue;
    const count = set.split(",").length;
    sets.set(set, sets.has(set) ? `${sets.get(set)}, ${what}` : `${count} that ${what}`);
  }
  return [...sets];
}
