// Decides which changes are drawn: those against the variant that is looked at, asked for once each.

/**
 * @template {{ against: string }} Found
 * @param {Scene} scene
 * @param {Found | null} first what is here without asking
 * @param {((choice: Choice, recorded: number[]) => Promise<Found>) | undefined} ask
 * @param {(problem: unknown, choice: Choice) => void} failed
 * @param {() => void} arrived
 */
export function createChanges(scene, first, ask, failed, arrived) {
  /** @type {Map<string, Found | null>} null: on its way, or refused */
  const kept = new Map(first ? [[first.against, first]] : []);

  return {
    /** The changes against the variant of a choice, where they are here. @param {Choice} choice */
    here: ({ against }) => kept.get(against) ?? null,
    /**
     * The same, and asked for where they are not; null until they are here, or where nobody has them.
     * @param {Choice} choice
     * @returns {Found | null}
     */
    take(choice) {
      const { against } = choice;
      if (!kept.has(against) && ask) {
        kept.set(against, null);
        ask(choice, scene.recorded).then((found) => {
          kept.set(against, found);
          arrived();
        }, (problem) => failed(problem, choice));
      }
      return kept.get(against) ?? null;
    },
    /** Those against any variant. */
    any: () => [...kept.values()].find((found) => found !== null) ?? null,
    /** Ask again for what was refused. */
    retry() {
      for (const [against, found] of kept) if (!found) kept.delete(against);
    },
  };
}
