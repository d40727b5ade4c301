// The facets of /review: the values that sessions have, with their number; a click chooses one, or lets go of it.

import { cameraName, changed, dateOf, DAYS, momentOf } from "./reviewquery.js";

const SHORT = 7; // values of a facet, until a button shows all
const FACETS = [
  { name: "task", title: "Task", none: "No task" },
  { name: "success", title: "Label", none: "No label" },
  { name: "robot", title: "Robot", none: "No robot" },
  { name: "operator", title: "Operator", none: "No operator" },
  { name: "tag", title: "Tag", none: "No tag" },
  { name: "camera", title: "Camera", none: "No camera" },
];
const LABELS = [
  { name: "success", value: "true", of: true, text: "Success" },
  { name: "success", value: "false", of: false, text: "Failure" },
  { name: "unlabelled", value: "true", of: null, text: "No label" },
];
const count = new Intl.NumberFormat("en");

export class Facets {
  #open = new Set();

  /** `choose(query)` is called with the query that a click asks for. */
  constructor(element, choose) {
    Object.assign(this, { element, choose });
    const others = element.querySelector(".others");
    const place = (made) => others.parentNode.insertBefore(made, others);
    this.places = new Map(FACETS.map((facet) => [facet.name, place(section(facet))]));
    this.times = element.querySelector(".times");
    this.times.querySelector(".values").append(...DAYS.map(({ value, label }) => this.#value({ name: "days", value, text: label })));
    for (const input of this.times.querySelectorAll("input")) input.addEventListener("change", () => this.#pickDay(input));
    element.addEventListener("click", ({ target }) => this.#click(target.closest("button[data-name]")));
  }

  /** Show what is chosen at once: the counts come later. */
  showQuery(query) {
    this.query = query;
    for (const button of this.element.querySelectorAll("button[data-name]")) {
      button.setAttribute("aria-pressed", String(query.get(button.dataset.name) === button.value));
    }
    this.times.querySelector("[name=from]").value = query.has("from") ? dateOf(query.get("from")) : "";
    this.times.querySelector("[name=to]").value = query.has("to") ? dateOf(query.get("to"), -1) : "";
    const trash = this.element.querySelector("button[data-name=trash]");
    trash.setAttribute("aria-pressed", String(query.get("trash") === "true"));
  }

  showCounts(found) {
    this.found = found;
    for (const facet of FACETS) this.#show(facet, found[facet.name]);
    this.showQuery(this.query);
  }

  #show(facet, values) {
    const place = this.places.get(facet.name);
    const items = facet.name === "success" ? labels(values) : values.map((value) => ({ ...value, name: facet.name, text: textOf(facet, value) }));
    place.hidden = facet.name !== "success" && !items.some(({ value }) => value !== null);
    const isOpen = this.#open.has(facet.name);
    const focused = place.contains(document.activeElement) ? document.activeElement.value : null;
    const chosen = items.findIndex(({ name, value }) => value !== null && this.query.get(name) === value);
    const most = isOpen ? items.length : Math.max(SHORT, chosen + 1);
    const highest = Math.max(...items.map((item) => item.count), 1);
    const shown = items.slice(0, most).map((item) => this.#value({ ...item, text: item.value === null ? facet.none : item.text, highest }));
    place.querySelector(".values").replaceChildren(...shown, ...(items.length > most || isOpen ? [this.#more(facet, values, items.length, isOpen)] : []));
    if (focused !== null) [...place.querySelectorAll("button")].find(({ value }) => value === focused)?.focus();
  }

  #value({ name, value, text, count: number, highest }) {
    const button = document.createElement(value === null ? "span" : "button");
    if (value !== null) Object.assign(button, { type: "button", value });
    button.dataset.name = value === null ? "" : name;
    button.className = "value";
    button.title = text;
    button.append(part("span", text), ...(number === undefined ? [] : [part("b", count.format(number))]));
    button.firstChild.dir = "auto";
    if (highest) button.style.setProperty("--share", `${(100 * number) / highest}%`);
    return button;
  }

  #more(facet, values, total, isOpen) {
    const button = part("button", isOpen ? "Show fewer" : `Show all ${total}`);
    Object.assign(button, { type: "button", className: "more" });
    button.setAttribute("aria-expanded", String(isOpen));
    button.addEventListener("click", () => {
      this.#open[isOpen ? "delete" : "add"](facet.name);
      this.#show(facet, values);
      this.showQuery(this.query);
      this.places.get(facet.name).querySelector(".more")?.focus();
    });
    return button;
  }

  #click(button) {
    if (!button?.dataset.name) return;
    const { name } = button.dataset;
    this.choose(changed(this.query, name, this.query.get(name) === button.value ? null : button.value));
  }

  #pickDay({ name, value }) {
    this.choose(changed(this.query, name, momentOf(value, name === "to" ? 1 : 0)));
  }
}

const textOf = ({ name }, { value, name: robotName }) => (name === "camera" ? cameraName(value ?? "") : robotName || value);

/** The three labels always, in the same order. */
function labels(values) {
  const counts = new Map(values.map(({ value, count: number }) => [value, number]));
  return LABELS.map((label) => ({ ...label, count: counts.get(label.of) ?? 0 }));
}

function section({ name, title }) {
  const element = part("section");
  element.dataset.facet = name;
  const [heading, values] = [part("h2", title), part("div")];
  values.className = "values";
  values.setAttribute("role", "group");
  values.setAttribute("aria-label", title);
  element.append(heading, values);
  return element;
}

function part(kind, text = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}
