// Task, success, tags, operator and note of a session: shown to all, and changed by those who may.
//
// Each label is saved by itself, texts also while they are written, with what was seen of it: the server refuses (409) to
// overwrite what someone else has set since, and the page then shows theirs and yours.

import { get, patch } from "./api.js";
import { leavesField } from "./keys.js";

const NAMES = ["success", "task", "tags", "operator", "note"];
const PAUSE_MS = 1000; // in writing, after which a text is saved
const WORDS = { true: "success", false: "failure" };

/** What people read for the name of a label. */
export const wordOf = (name) => (name === "success" ? "label" : name);
export const inWords = (value) => (Array.isArray(value) ? value.join(", ") : (WORDS[value] ?? value ?? ""));
const isSame = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

export class Labels {
  #seen = {};
  #unsaved = new Map(); // values that the server has refused or not got, by name
  #saving = Promise.resolve();
  #timer = 0;
  #isEnding = false; // the page is being left; it is hidden then too

  /** `element` has a [data-label] for each: a control in a <form>, or a place for text. `onChange(session)` gets what the
   *  server has, `onSaved(name, before, after)` what was changed here. */
  constructor(element, session, { onChange, onSaved = () => {} }) {
    Object.assign(this, { element, path: `/sessions/${session.id}`, onChange, onSaved });
    this.notice = element.querySelector(".notice");
    this.state = element.querySelector(".saved");
    this.mayChange = element.matches("form");
    for (const name of NAMES) this.#show(name, session.meta_info?.[name] ?? null);
    addEventListener("focus", () => this.#lookAgain());
    if (!this.mayChange) return;
    element.addEventListener("submit", (event) => event.preventDefault());
    element.addEventListener("change", ({ target }) => this.set(target.name, this.#given(target.name)));
    element.addEventListener("input", ({ target }) => target.type !== "radio" && this.#saveSoon());
    element.addEventListener("focusout", ({ target }) => this.#tidy(target.name));
    element.addEventListener("keydown", (event) => {
      if (!leavesField(event)) return;
      event.preventDefault();
      event.target.blur();
    });
    addEventListener("pagehide", () => this.#saveAtEnd());
    addEventListener("pageshow", () => (this.#isEnding = false)); // a browser may bring it back as it was
    document.addEventListener("visibilitychange", () => document.hidden && !this.#isEnding && this.#saveTexts());
    addEventListener("beforeunload", (event) => this.#unsaved.size && event.preventDefault());
  }

  /** All that was given is saved; if not, the page says why. */
  get isSaved() {
    return !this.#unsaved.size;
  }

  focus(name) {
    this.element.elements?.[name]?.focus();
  }

  /** Nothing is on its way to the server any more. */
  get saved() {
    return this.#saving;
  }

  set(name, value, { isUndo = false } = {}) {
    if (!this.mayChange) return;
    this.#saving = this.#saving.then(() => (isSame(value, this.#seen[name]) ? this.#unsaved.delete(name) : this.#save(name, value, isUndo)));
  }

  /** Texts that are being written. */
  #saveSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#saveTexts(), PAUSE_MS);
  }

  #saveTexts() {
    for (const name of this.#edited()) this.set(name, this.#given(name));
  }

  #edited() {
    return NAMES.filter((name) => name !== "success" && !isSame(this.#given(name), this.#seen[name]));
  }

  /** One request, which outlives the page and does not wait for those before it. */
  #saveAtEnd() {
    this.#isEnding = true;
    const names = this.#edited();
    const pick = (value) => Object.fromEntries(names.map((name) => [name, value(name)]));
    if (names.length) patch(this.path, { meta_info: pick((name) => this.#given(name)), seen: pick((name) => this.#seen[name]) }).catch(() => {});
  }

  async #save(name, value, isUndo) {
    this.state.textContent = "Saving…";
    const before = this.#seen[name];
    try {
      const session = await patch(this.path, { meta_info: { [name]: value }, seen: { [name]: before } });
      this.#unsaved.delete(name);
      this.#show(name, session.meta_info[name] ?? null);
      this.notice.hidden = true;
      this.state.textContent = `${capital(name)} saved`;
      if (!isUndo) this.onSaved(name, before, value);
      this.#take(session);
    } catch (error) {
      this.#unsaved.set(name, value);
      this.state.textContent = "";
      if (error.status === 409) await this.#choose(name, value).catch(() => this.#sayUnsaved(name, value, error));
      else this.#sayUnsaved(name, value, error);
    }
  }

  #sayUnsaved(name, value, error) {
    const choices = { "Try again": () => this.set(name, value), Discard: () => this.#discard(name) };
    this.#say(`${capital(name)} is not saved: ${error.message}`, "error", choices);
  }

  #discard(name) {
    this.#unsaved.delete(name);
    this.#show(name, this.#seen[name]);
  }

  /** Someone was faster: what they have set stands until somebody chooses. */
  async #choose(name, mine) {
    const session = await get(this.path);
    const theirs = session.meta_info?.[name] ?? null;
    this.#show(name, theirs, true);
    const what = `${capital(name)} was changed by someone else: ${quoted(theirs)}. Your value, ${quoted(mine)}, is not saved.`;
    this.#say(what, "warning", { "Keep their value": () => this.#discard(name), "Save my value": () => this.set(name, mine) });
    this.#take(session);
  }

  /** What others have changed is shown, and said; not in a field that is being edited, which the server will refuse. */
  #take(session) {
    const changed = NAMES.filter((name) => !isSame(session.meta_info?.[name], this.#seen[name]) && !this.#isFocused(name));
    for (const name of changed) this.#show(name, session.meta_info?.[name] ?? null);
    const list = changed.map((name) => `${wordOf(name)}: ${quoted(session.meta_info?.[name] ?? null)}`);
    if (changed.length && this.notice.hidden) this.#say(`Someone else has changed ${list.join("; ")}.`, "warning");
    this.onChange(session);
  }

  async #lookAgain() {
    await this.#saving;
    const before = this.#saving;
    try {
      const session = await get(this.path);
      if (this.#saving === before) this.#take(session); // a label that was set meanwhile is newer
    } catch (error) {
      if (error.status === 404) this.#say("This session has been deleted.", "error");
    }
  }

  /** A field that is being written in keeps its text, unless it `isRefused`. */
  #show(name, value, isRefused = false) {
    this.#seen[name] = value;
    const place = this.element.querySelector(`[data-label="${name}"]`);
    if (!this.mayChange) {
      place.textContent = inWords(value) || "–";
      place.dataset.value = String(value);
    } else if (name === "success") {
      this.element.elements.success.value = String(value);
    } else if (isRefused || place !== document.activeElement) place.value = inWords(value);
  }

  /** A field that is left shows what is saved of it: "a, b" of "a,b,". */
  #tidy(name) {
    if (name && name !== "success" && isSame(this.#given(name), this.#seen[name])) this.#show(name, this.#seen[name]);
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

  #isFocused(name) {
    return this.mayChange && name !== "success" && this.element.elements[name] === document.activeElement;
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

const capital = (name) => wordOf(name)[0].toUpperCase() + wordOf(name).slice(1);
const quoted = (value) => (inWords(value) === "" ? "empty" : `“${inWords(value)}”`);
