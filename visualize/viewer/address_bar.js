// Decides what the browser's address names and what Back leads to: another token, head, view, window or variant is
// another place; a step of the layers is no jump.

import { fromAddress, toAddress } from "./address.js";
import { stackKey } from "./choice.js";

export function createAddressBar() {
  let noted = ""; // the place that the address names
  let seen = location.hash; // as it was written or read last

  return {
    /** What the address names, unchecked; other boxes than a file holds have no numbers in it. @param {Source} source */
    named(source) {
      seen = location.hash;
      const { boxes, ...rest } = fromAddress(seen);
      return source.fixed || boxes === undefined ? rest : { ...rest, boxes };
    },
    /** Write the address; Back leads to the place before. @param {Choice} now */
    note(now) {
      if (location.hash !== seen) return; // it led elsewhere a moment ago, which the browser will say
      const address = `#${toAddress(now)}`;
      const place = placeOf(now);
      if (address !== location.hash) history[noted && place !== noted ? "pushState" : "replaceState"](history.state, "", address);
      noted = place;
      seen = location.hash;
    },
    /** The address names this place already; null: what is noted next is no step from here. @param {Choice | null} now */
    at(now) {
      noted = now ? placeOf(now) : "";
    },
  };
}

/** @param {Choice} choice */
const placeOf = (choice) => stackKey(choice) + choice.adapter;
