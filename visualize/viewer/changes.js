// Decides which changes are drawn: those against the variant that is looked at, asked for once each.

/**
 * @param {Scene} scene whose own changes are against the variant it opens with
 * @param {Source} source
 * @param {(problem: unknown, choice: Choice) => void} failed
 * @param {() => void} arrived
 */
export function createChanges(scene, source, failed, arrived) {
  /** @type {Map<string, Changes | null>} null: on its way, or refused */
  const kept = new Map([[scene.changed.against, scene.changed]]);

  return {
    /**
     * The changes against the variant of a choice; null until they are here, or where nobody has them.
     * @param {Choice} choice
     * @returns {Changes | null}
     */
    take(choice) {
      const { against } = choice;
      if (!kept.has(against) && source.changes) {
        kept.set(against, null);
        source.changes(choice, scene.recorded).then((changes) => {
          kept.set(against, changes);
          arrived();
        }, (problem) => failed(problem, choice));
      }
      return kept.get(against) ?? null;
    },
    /** Ask again for what was refused. */
    retry() {
      for (const [against, changes] of kept) if (!changes) kept.delete(against);
    },
  };
}
