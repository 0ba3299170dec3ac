// Decides what is said and seen while numbers are on their way, and where they did not come; it asks for none.

import { make, write } from "./element.js";
import { isSaid } from "./heads.js";

const SEEN = 150; // ms after which a picture that waits is dimmed

/** @param {HTMLElement} pictures */
export function createStatus(pictures) {
  const element = make("p", { class: "lav-status-line", role: "status" });
  let waiting = 0;

  /** @param {string} text @param {boolean} passing whether it goes by itself: it lies over what follows, which stays where it is */
  function say(text, passing = false) {
    element.classList.toggle("lav-passing", passing);
    write(element, text);
  }

  return {
    element,
    /** @param {string} text */
    say: (text) => say(text),
    clear: () => say(""),
    /** The heads, or the view, of the chosen token are being recorded. @param {string} view that is recorded; "" for heads */
    recording(view) {
      say(view ? `Recording the ${view} view of this token; until it is here, the attention itself is shown…` : "Recording the heads of this token; until they are here, the mean of all heads is shown…", true);
    },
    /** What was asked for did not come. @param {unknown} problem @param {() => void} again asks once more */
    failed(problem, again) {
      if (element.hasChildNodes() && !element.classList.contains("lav-passing")) return; // it is said already
      say("");
      element.replaceChildren(isSaid(problem) ? String(problem.message) : "These numbers did not come.", " ");
      if (codeOf(problem) === "not_in_report") return; // what a file does not hold does not come by asking again
      element.append(make("button", { type: "button", class: "lav-small", onclick: () => {
        say("");
        again();
      } }, "try again"));
    },
    /** A picture that waits is dimmed once the wait can be seen. @param {boolean} on */
    wait(on) {
      if (on && !waiting) waiting = setTimeout(() => pictures.classList.add("lav-waiting"), SEEN);
      if (on) return;
      clearTimeout(waiting);
      waiting = 0;
      pictures.classList.remove("lav-waiting");
    },
  };
}

/** @param {unknown} problem @returns {unknown} the code of a refusal; "" where it has none */
export const codeOf = (problem) => (typeof problem === "object" && problem !== null && "code" in problem ? problem.code : "");
