// The saved filters of the person: a chip each, and a dialog that saves, renames or deletes one.

import { get, patch, post, remove } from "./api.js";
import { filtersOf, normalized, suggestedName } from "./reviewquery.js";

export class SavedFilters {
  all = [];

  /** `choose(query)` is called with the query of a chip; `say` shows a message. */
  constructor(element, dialog, { choose, say, robots }) {
    Object.assign(this, { element, dialog, choose, say, robots, form: dialog.querySelector("form"), save: element.querySelector("[name=save]") });
    this.save.addEventListener("click", () => this.open());
    this.form.addEventListener("submit", (event) => this.#submit(event));
    this.form.elements.delete.addEventListener("click", () => this.#delete());
  }

  async read() {
    const { results } = await get("/filters?limit=100");
    this.all = results;
    this.#draw();
  }

  /** Mark the filter that is chosen; offer to save one that is not saved. */
  showQuery(query) {
    this.query = query;
    this.active = this.all.find((saved) => normalized(new URLSearchParams(saved.query)) === normalized(query));
    for (const chip of this.element.querySelectorAll("[data-filter]")) chip.setAttribute("aria-pressed", String(Number(chip.dataset.filter) === this.active?.id));
    this.save.hidden = !this.active && !filtersOf(query).length;
    this.save.textContent = this.active ? "Edit…" : "Save filter…";
  }

  use(place) {
    if (this.all[place]) this.choose(new URLSearchParams(this.all[place].query));
  }

  open() {
    const { elements } = this.form;
    elements.name.value = this.active?.name ?? suggestedName(this.query, this.robots);
    elements.delete.hidden = !this.active;
    this.dialog.querySelector("h2").textContent = this.active ? "Edit filter" : "Save filter";
    this.#refuse("");
    this.dialog.showModal();
    elements.name.select();
  }

  async #submit(event) {
    if (event.submitter?.value === "cancel") return;
    event.preventDefault();
    const name = this.form.elements.name.value.trim();
    try {
      if (this.active) await patch(`/filters/${this.active.id}`, { name });
      else await post("/filters", { name, query: String(this.query) });
      this.dialog.close();
      await this.read();
    } catch (error) {
      this.#refuse(`Not saved: ${error.message}`);
    }
  }

  async #delete() {
    const { id, name, query } = this.active;
    try {
      await remove(`/filters/${id}`);
      this.dialog.close();
      await this.read();
      this.say(`Filter “${name}” deleted`, { undo: () => post("/filters", { name, query }).then(() => this.read()) });
    } catch (error) {
      this.#refuse(`Not deleted: ${error.message}`);
    }
  }

  #refuse(text) {
    const notice = this.dialog.querySelector(".notice");
    Object.assign(notice, { textContent: text, hidden: !text });
  }

  #draw() {
    for (const chip of this.element.querySelectorAll("[data-filter]")) chip.remove();
    this.save.before(...this.all.map((saved, place) => chipOf(saved, place, () => this.use(place))));
    if (this.query) this.showQuery(this.query);
  }
}

function chipOf({ id, name }, place, use) {
  const chip = document.createElement("button");
  Object.assign(chip, { type: "button", className: "chip", textContent: name, dir: "auto" });
  chip.title = place < 9 ? `${name} (${place + 1})` : name;
  chip.dataset.filter = id;
  chip.addEventListener("click", use);
  return chip;
}
