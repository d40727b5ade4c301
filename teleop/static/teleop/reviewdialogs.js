// The dialogs that change labels of sessions: tags are added and removed, task and operator are set.

export class TagDialog {
  /** `apply(rows, added, removed)` is called with the tags that change. */
  constructor(dialog, apply) {
    Object.assign(this, { dialog, apply, form: dialog.querySelector("form"), list: dialog.querySelector(".tags"), options: dialog.querySelector("datalist") });
    this.form.addEventListener("submit", (event) => {
      if (event.submitter?.value !== "cancel") this.#submit();
    });
    this.list.addEventListener("click", ({ target }) => {
      const button = target.closest("button");
      button?.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    });
  }

  /** Tags that the field suggests. */
  suggest(values) {
    this.options.replaceChildren(...values.filter(({ value }) => value !== null).map(({ value }) => new Option(value, value)));
  }

  open(rows) {
    this.rows = rows;
    const counts = new Map();
    for (const tag of rows.flatMap(({ labels }) => labels.tags)) counts.set(tag, (counts.get(tag) ?? 0) + 1);
    this.list.replaceChildren(...[...counts].map(([tag, number]) => this.#tag(tag, number)));
    this.list.hidden = !counts.size;
    this.dialog.querySelector("h2").textContent = rows.length === 1 ? `Tags of session ${rows[0].session.id}` : `Tags of ${rows.length} sessions`;
    this.form.reset();
    this.dialog.showModal();
    this.form.elements.tags.focus();
  }

  /** A pressed tag stays; released, it is removed from all. */
  #tag(tag, number) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "tag", value: tag, dir: "auto", title: "Keep or remove" });
    button.textContent = this.rows.length > 1 ? `${tag} (${number} of ${this.rows.length})` : tag;
    button.setAttribute("aria-pressed", "true");
    return button;
  }

  #submit() {
    const added = this.form.elements.tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
    const removed = [...this.list.querySelectorAll("[aria-pressed=false]")].map(({ value }) => value).filter((tag) => !added.includes(tag));
    if (added.length || removed.length) this.apply(this.rows, [...new Set(added)], removed);
  }
}

export class LabelDialog {
  /** `apply(rows, labels)` is called with the labels that change; null removes one. */
  constructor(dialog, apply) {
    Object.assign(this, { dialog, apply, form: dialog.querySelector("form"), inputs: [...dialog.querySelectorAll("input")] });
    this.form.addEventListener("submit", (event) => {
      if (event.submitter?.value !== "cancel") this.#submit();
    });
  }

  /** Values that the fields suggest: the facets of the list. */
  suggest(found) {
    for (const { name, list } of this.inputs) list.replaceChildren(...found[name].filter(({ value }) => value).map(({ value }) => new Option(value, value)));
  }

  /** A field has the value that all rows share. If they differ it is empty, and they stay unless it is filled in. */
  open(rows) {
    this.rows = rows;
    this.dialog.querySelector("h2").textContent = rows.length === 1 ? `Session ${rows[0].session.id}` : `${rows.length} sessions`;
    for (const input of this.inputs) {
      const values = new Set(rows.map(({ labels }) => labels[input.name] ?? ""));
      input.value = input.defaultValue = values.size === 1 ? [...values][0] : "";
      input.placeholder = values.size === 1 ? "none" : "They differ, and stay as they are";
    }
    this.dialog.showModal();
    this.inputs[0].select();
  }

  #submit() {
    const changed = this.inputs.filter(({ value, defaultValue }) => value.trim() !== defaultValue.trim());
    if (changed.length) this.apply(this.rows, Object.fromEntries(changed.map(({ name, value }) => [name, value.trim() || null])));
  }
}
