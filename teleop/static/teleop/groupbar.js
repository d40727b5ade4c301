// The groups of joints above the plots of the live page: a button for each, which folds its plots away.

import { Folding } from "./folding.js";
import { groupOf } from "./jointvalues.js";

export class GroupBar {
  #folding = new Folding("joints.folded");
  #names = "";

  /** `onFold()` is called when a group is folded or unfolded. */
  constructor(element, onFold) {
    Object.assign(this, { element, onFold });
  }

  /** Joints of one group only have no buttons. */
  show(names) {
    if (names.join() === this.#names) return;
    this.#names = names.join();
    const groups = Map.groupBy(names, groupOf);
    this.element.hidden = groups.size < 2;
    groups.delete("");
    this.element.replaceChildren(...[...groups].map(([group, { length }]) => this.#button(group, length)));
  }

  isFolded(name) {
    return !this.element.hidden && this.#folding.has(groupOf(name));
  }

  #button(group, count) {
    const button = this.#folding.button(group, this.onFold);
    const number = document.createElement("span");
    Object.assign(number, { className: "quiet digits", textContent: count });
    button.append(`${group} `, number);
    button.title = "Fold or unfold the plots of this group";
    return button;
  }
}
