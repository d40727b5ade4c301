// Groups of joints that a person has folded. The browser remembers them by their names, for all robots.

import { keepNames, readNames } from "./keptnames.js";

export class Folding {
  #key;
  #folded;

  /** `key` is the place in the browser's storage. */
  constructor(key) {
    this.#key = key;
    this.#folded = readNames(key);
  }

  has(group) {
    return this.#folded.has(group);
  }

  /** A button that folds a group and unfolds it; `onFold(isFolded)` is called after each click. */
  button(group, onFold) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "fold" });
    button.setAttribute("aria-expanded", String(!this.has(group)));
    button.addEventListener("click", () => {
      this.#folded[this.has(group) ? "delete" : "add"](group);
      keepNames(this.#key, this.#folded);
      button.setAttribute("aria-expanded", String(!this.has(group)));
      onFold(this.has(group));
    });
    return button;
  }
}
