// The dialog that adds tags to sessions and removes them.

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
