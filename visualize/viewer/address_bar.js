// Decides what the browser's address names and what Back leads to: another token, head, view, window or variant is
// another place; a step of the layers is no jump.

import { fromAddress, toAddress } from "./address.js";
import { stackKey } from "./choice.js";

export function createAddressBar() {
  let noted = ""; // the place that the address names

  return {
    /** What an address names, unchecked; other boxes than a file holds have no numbers in it. @param {Source} source */
    named(source, address = location.href) {
      const { boxes, ...rest } = fromAddress(new URL(address).hash);
      return source.fixed || boxes === undefined ? rest : { ...rest, boxes };
    },
    /** Write the address; Back leads to the place before. @param {Choice} now */
    note(now) {
      const address = `#${toAddress(now)}`;
      const place = placeOf(now);
      if (address !== location.hash) history[noted && place !== noted ? "pushState" : "replaceState"](history.state, "", address);
      noted = place;
    },
    /** The address names this place already; null: what is noted next is no step from here. @param {Choice | null} now */
    at(now) {
      noted = now ? placeOf(now) : "";
    },
  };
}

/** @param {Choice} choice */
const placeOf = (choice) => stackKey(choice) + choice.adapter;
