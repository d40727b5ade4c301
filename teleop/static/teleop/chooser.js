// Which joints are plotted: a box for each, one for each group, and all. The browser keeps the choice.

import { groupOf, labelOf } from "./jointvalues.js";
import { jointVariable } from "./plot.js";

const KEY = "replay.hidden";
const MOST_NAMES = 500; // of all robots, that are kept

export class Chooser {
  hidden = new Set(read());

  /** `element` is a <details>; `onChange(hidden)` is called with the names that are hidden, also at the beginning. */
  constructor(element, names, onChange) {
    Object.assign(this, { element, names, onChange });
    this.list = element.querySelector("ul");
    this.count = element.querySelector(".count");
    element.addEventListener("change", ({ target }) => this.#choose(target));
    element.addEventListener("click", ({ target: { name } }) => ["all", "none"].includes(name) && this.#set(names, name === "all"));
    element.addEventListener("keydown", (event) => event.key === "Escape" && this.#close(event));
    document.addEventListener("click", ({ target }) => element.contains(target) || (element.open = false));
    element.hidden = names.length < 2;
    this.#build();
    this.#tell();
  }

  #build() {
    const groups = Map.groupBy(this.names, groupOf);
    for (const [group, names] of groups) {
      if (group && groups.size > 1) this.list.append(item(`All ${group.toLowerCase()}`, { group }));
      for (const name of names) this.list.append(item(labelOf(name), { name, colour: jointVariable(this.names.indexOf(name)) }));
    }
  }

  #choose({ checked, dataset }) {
    this.#set(dataset.group === undefined ? [dataset.name] : this.names.filter((name) => groupOf(name) === dataset.group), checked);
  }

  #set(names, isShown) {
    for (const name of names) this.hidden[isShown ? "delete" : "add"](name);
    localStorage.setItem(KEY, JSON.stringify([...this.hidden].slice(-MOST_NAMES)));
    this.#tell();
  }

  #tell() {
    for (const box of this.list.querySelectorAll("input")) {
      const { name, group } = box.dataset;
      const shown = (group === undefined ? [name] : this.names.filter((each) => groupOf(each) === group)).map((each) => !this.hidden.has(each));
      box.checked = shown.every(Boolean);
      box.indeterminate = !box.checked && shown.some(Boolean);
    }
    const shown = this.names.filter((name) => !this.hidden.has(name)).length;
    this.count.textContent = shown < this.names.length ? ` ${shown} of ${this.names.length}` : "";
    this.onChange(this.hidden);
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
    line.style.setProperty("--colour", `var(--${colour})`);
    label.append(line);
  }
  label.append(text);
  label.title = name ?? text;
  element.append(label);
  element.classList.toggle("whole", group !== undefined);
  return element;
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? [];
  } catch {
    return []; // not ours: a choice that cannot be read is no choice
  }
}
