// Decides how long a stack is kept: under its own key, the least recently used leave first. Who asks late finds a late
// stack under the key it was asked for, so it can never be drawn for another choice.

import { stackKey } from "./choice.js";
import { readBody } from "./stack.js";

const STACKS_ROOM = 24;

/**
 * @param {Source} source
 * @param {(problem: unknown, choice: Choice, again: boolean) => void} failed again: it was said before
 * @param {() => void} arrived
 */
export function createShelf(source, failed, arrived) {
  /** @type {Map<string, Stack>} */
  const kept = new Map();
  /** @type {Set<string>} */
  const asked = new Set();
  /** @type {Map<string, unknown>} why, by key */
  const refused = new Map();

  /** @param {Choice} choice */
  async function ask(choice) {
    const key = stackKey(choice);
    asked.add(key);
    try {
      /** @type {Stack} */
      const stack = readBody(await source.stack(choice));
      kept.set(key, stack);
      for (const oldest of kept.keys()) {
        if (kept.size <= STACKS_ROOM) break;
        kept.delete(oldest);
      }
    } catch (problem) {
      refused.set(key, problem);
      failed(problem, choice, false);
    } finally {
      asked.delete(key);
    }
    arrived();
  }

  return {
    /**
     * The stack of a choice, if it is here; if not, it is asked for once, and a refusal is said each time.
     * @param {Choice} choice
     * @returns {Stack | undefined}
     */
    take(choice) {
      const key = stackKey(choice);
      const stack = kept.get(key);
      if (stack) {
        kept.delete(key);
        kept.set(key, stack); // now the most recently used
      } else if (refused.has(key)) failed(refused.get(key), choice, true);
      else if (!asked.has(key)) void ask(choice);
      return stack;
    },
    /**
     * Ask for what may be looked at next, once nothing else is being asked.
     * @param {Choice[]} choices
     */
    async ahead(choices) {
      for (const choice of choices) {
        const key = stackKey(choice);
        if (asked.size) return;
        if (!kept.has(key) && !refused.has(key)) await ask(choice);
      }
    },
    /** Ask again for what was refused. */
    retry() {
      refused.clear();
    },
  };
}
