// Which joints are plotted: a box for each, one for each group, and all. Groups fold.

import { Folding } from "./folding.js";
import { groupOf, labelOf } from "./jointvalues.js";

export class Chooser {
  #folding = new Folding("chooser.folded");

  /** `element` is a <details>, `hidden` the Set of names that are not plotted, which a choice changes. `colourOf(name)` is
   *  CSS; `onChange()` is called after each choice. */
  constructor(element, { hidden, colourOf, onChange }) {
    Object.assign(this, { element, hidden, colourOf, onChange, names: [] });
    this.list = element.querySelector("ul");
    this.count = element.querySelector(".count");
    element.addEventListener("change", ({ target }) => this.#choose(target));
    element.addEventListener("click", ({ target: { name } }) => ["all", "none"].includes(name) && this.#set(this.names, name === "all"));
    element.addEventListener("keydown", (event) => event.key === "Escape" && this.#close(event));
    document.addEventListener("click", ({ target }) => element.contains(target) || (element.open = false));
  }

  /** Offers these joints. */
  show(names) {
    if (names.join() === this.names.join()) return;
    this.names = names;
    this.element.hidden = names.length < 2;
    const groups = Map.groupBy(names, groupOf);
    const items = [...groups].flatMap(([group, members]) => (group && groups.size > 1 ? [this.#group(group, members)] : this.#items(members)));
    this.list.replaceChildren(...items);
    this.#tell();
  }

  #items(names) {
    return names.map((name) => item(labelOf(name), { name, colour: this.colourOf(name) }));
  }

  /** A box for all joints of the group, and a list of them that folds. */
  #group(group, names) {
    const element = item(`All ${group.toLowerCase()}`, { group });
    const list = document.createElement("ul");
    list.append(...this.#items(names));
    list.hidden = this.#folding.has(group);
    const fold = this.#folding.button(group, (isFolded) => (list.hidden = isFolded));
    fold.setAttribute("aria-label", group);
    element.prepend(fold);
    element.append(list);
    return element;
  }

  #choose({ checked, dataset }) {
    this.#set(dataset.group === undefined ? [dataset.name] : this.#membersOf(dataset.group), checked);
  }

  #membersOf(group) {
    return this.names.filter((name) => groupOf(name) === group);
  }

  #set(names, isShown) {
    for (const name of names) this.hidden[isShown ? "delete" : "add"](name);
    this.#tell();
    this.onChange();
  }

  #tell() {
    for (const box of this.list.querySelectorAll("input")) {
      const { name, group } = box.dataset;
      const shown = (group === undefined ? [name] : this.#membersOf(group)).map((each) => !this.hidden.has(each));
      box.checked = shown.every(Boolean);
      box.indeterminate = !box.checked && shown.some(Boolean);
    }
    const shown = this.names.filter((name) => !this.hidden.has(name)).length;
    this.count.textContent = shown < this.names.length ? ` ${shown} of ${this.names.length}` : "";
  }

  #close(event) {
    event.stopPropagation();
    this.element.open = false;
    this.element.querySelector("summary").focus();
  }
}

function item(text, { name, group, colour }) {
  const [element, label, box] = ["li", "label", "input"].map((tag) => document.createElement(tag));
  box.type = "checkbox";
  Object.assign(box.dataset, group === undefined ? { name } : { group });
  label.append(box);
  if (colour) {
    const line = document.createElement("i");
    line.style.setProperty("--colour", colour);
    label.append(line);
  }
  label.append(text);
  label.title = name ?? text;
  element.append(label);
  element.classList.toggle("whole", group !== undefined);
  return element;
}
