// Task, success, tags, operator and note of a session: shown to all, and changed by those who may.
//
// Each label is saved by itself, with what was seen of it: the server refuses (409) to overwrite what someone else has
// set since, and the page then shows theirs and yours.

import { get, patch } from "./api.js";

const NAMES = ["success", "task", "tags", "operator", "note"];
const WORDS = { true: "success", false: "failure" };

export const inWords = (value) => (Array.isArray(value) ? value.join(", ") : (WORDS[value] ?? value ?? ""));
const isSame = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

export class Labels {
  #seen = {};
  #saving = Promise.resolve();

  /** `element` has a [data-label] for each: a control in a <form>, or a place for text. */
  constructor(element, session, onChange) {
    Object.assign(this, { element, path: `/sessions/${session.id}`, onChange });
    this.notice = element.querySelector(".notice");
    this.state = element.querySelector(".saved");
    this.mayChange = element.matches("form");
    for (const name of NAMES) this.#show(name, session.meta_info?.[name] ?? null);
    addEventListener("focus", () => this.#lookAgain());
    if (!this.mayChange) return;
    element.addEventListener("submit", (event) => event.preventDefault());
    element.addEventListener("change", ({ target }) => this.set(target.name, this.#given(target.name)));
  }

  /** Nothing is on its way to the server any more. */
  get saved() {
    return this.#saving;
  }

  set(name, value) {
    if (!this.mayChange || isSame(value, this.#seen[name])) return;
    this.#saving = this.#saving.then(() => this.#save(name, value));
  }

  async #save(name, value) {
    this.state.textContent = "Saving…";
    try {
      const session = await patch(this.path, { meta_info: { [name]: value }, seen: { [name]: this.#seen[name] } });
      this.#show(name, session.meta_info[name] ?? null);
      this.notice.hidden = true;
      this.state.textContent = `${capital(name)} saved`;
      this.#take(session);
    } catch (error) {
      this.state.textContent = "";
      if (error.status === 409) await this.#choose(name, value);
      else this.#say(`${capital(name)} is not saved: ${error.message}`, "error", { "Try again": () => this.set(name, value) });
    }
  }

  /** Someone was faster: what they have set stands until somebody chooses. */
  async #choose(name, mine) {
    const session = await get(this.path);
    const theirs = session.meta_info?.[name] ?? null;
    this.#show(name, theirs);
    const what = `${capital(name)} was changed by someone else: ${quoted(theirs)}. Your value, ${quoted(mine)}, is not saved.`;
    this.#say(what, "warning", { "Keep their value": () => {}, "Save my value": () => this.set(name, mine) });
    this.#take(session);
  }

  /** What others have changed is shown, and said; not in a field that is being edited, which the server will refuse. */
  #take(session) {
    const changed = NAMES.filter((name) => !isSame(session.meta_info?.[name], this.#seen[name]) && !this.#isEdited(name));
    for (const name of changed) this.#show(name, session.meta_info?.[name] ?? null);
    const list = changed.map((name) => `${name}: ${quoted(session.meta_info?.[name] ?? null)}`);
    if (changed.length && this.notice.hidden) this.#say(`Someone else has changed ${list.join("; ")}.`, "warning");
    this.onChange(session);
  }

  async #lookAgain() {
    await this.#saving;
    try {
      this.#take(await get(this.path));
    } catch (error) {
      if (error.status === 404) this.#say("This session has been deleted.", "error");
    }
  }

  #show(name, value) {
    this.#seen[name] = value;
    const place = this.element.querySelector(`[data-label="${name}"]`);
    if (!this.mayChange) {
      place.textContent = inWords(value) || "–";
      place.dataset.value = String(value);
    } else if (name === "success") {
      this.element.elements.success.value = String(value);
    } else place.value = inWords(value);
  }

  #given(name) {
    const { value } = this.element.elements[name];
    if (name === "success") return { true: true, false: false }[value] ?? null;
    if (name === "tags") {
      const tags = value.split(",").map((tag) => tag.trim()).filter(Boolean);
      return tags.length ? tags : null;
    }
    return value.trim() || null;
  }

  #isEdited(name) {
    return this.mayChange && name !== "success" && !isSame(this.#given(name) ?? null, this.#seen[name]) && this.element.elements[name] === document.activeElement;
  }

  #say(text, kind, choices = { OK: () => {} }) {
    this.notice.hidden = false;
    this.notice.dataset.kind = kind;
    this.notice.replaceChildren(text, " ");
    for (const [label, choose] of Object.entries(choices)) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: label });
      button.addEventListener("click", () => {
        this.notice.hidden = true;
        choose();
      });
      this.notice.append(button, " ");
    }
  }
}

const capital = (name) => name[0].toUpperCase() + name.slice(1);
const quoted = (value) => (inWords(value) === "" ? "empty" : `“${inWords(value)}”`);
