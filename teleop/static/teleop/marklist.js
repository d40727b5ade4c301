// The marks of a session: those of people and of the robot, and the pair that trims it for exports.

import { get, patch, post, remove } from "./api.js";
import { clockTime } from "./joints.js";
import { leavesField } from "./keys.js";

const KINDS = { trim_start: "Trim start", trim_end: "Trim end" };
const NEAR_S = 1e-3;

export class MarkList {
  #marks = [];
  #named = null; // whose note the form has: {timestamp: a promise, note}

  /** `element` is the section of marks; people who may change them have its form and its buttons.
   *  `onChange(marks)` gets all marks, `onDone(what, change)` a change that was made here, in words and for takeBack(). */
  constructor(element, path, { clock, frames, timeline, onChange, onDone }) {
    Object.assign(this, { element, path: `${path}/marks`, clock, frames, timeline, onChange, onDone });
    this.notice = element.querySelector(".notice");
    this.form = element.querySelector("form");
    if (!this.form) return;
    this.note = this.form.elements.note;
    for (const kind of Object.keys(KINDS)) element.querySelector(`[name=${kind}]`).addEventListener("click", () => this.set(kind));
    element.querySelector("[name=mark]").addEventListener("click", () => this.add());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.note.addEventListener("blur", () => this.#saveNote());
    this.note.addEventListener("keydown", (event) => {
      if (!leavesField(event)) return;
      event.preventDefault();
      this.note.blur();
    });
  }

  get mayChange() {
    return Boolean(this.form);
  }

  /** Shows all marks. If a change begins meanwhile, its answer is shown instead: it is newer, and has all marks too. */
  async read() {
    await this.changed;
    const before = this.changed;
    const marks = await get(this.path);
    if (this.changed === before) this.#show(marks);
  }

  /** Marks the frame that is shown, and asks for a note: what is typed next goes into it. */
  add() {
    if (!this.mayChange) return undefined;
    const timestamp = this.#timestamp();
    const made = this.#change(async () => this.#post({ timestamp: await timestamp }, "mark"));
    this.#ask({ timestamp, note: "" }, this.clock.time);
    return made;
  }

  /** Trims at the frame that is shown: a mark of this kind moves there. */
  set(kind) {
    const words = KINDS[kind].toLowerCase();
    return this.mayChange && this.#change(async () => this.#post({ timestamp: await this.#timestamp(), kind }, words));
  }

  /** To the next mark (1), or the one before (-1). */
  step(way) {
    const times = this.#marks.map(({ timestamp }) => this.timeline.within(timestamp)).sort((a, b) => way * (a - b));
    const next = times.find((time) => way * (time - this.clock.time) > NEAR_S);
    if (next !== undefined) this.clock.seek(next);
  }

  #ask(mark, time) {
    this.#named = mark;
    this.form.hidden = false;
    this.form.querySelector("b").textContent = clockTime(time, 1);
    this.note.value = mark.note;
    this.note.focus();
  }

  #saveNote() {
    const mark = this.#named;
    this.form.hidden = true;
    this.#named = null;
    const note = this.note.value.trim();
    if (mark && note !== mark.note) this.#edit(mark, () => ({ note }), "note of a mark");
  }

  /** An earlier mark of this kind goes away. */
  async #post(mark, what) {
    const removed = this.#marks.filter(({ kind }) => kind && kind === mark.kind).map(asSent);
    const marks = await post(this.path, mark);
    this.onDone(what, { added: [mark.timestamp], ...(removed.length && { removed }) });
    return marks;
  }

  #edit(mark, changes, what) {
    return this.#change(async () => {
      const before = { timestamp: await mark.timestamp, note: mark.note };
      const given = await changes();
      const marks = await patch(`${this.path}/${before.timestamp}`, { ...given, seen_note: mark.note });
      this.onDone(what, { edited: [before, { ...before, ...given }] });
      Object.assign(mark, given); // the next change of this mark may wait already
      return marks;
    });
  }

  /** All marks of people at this time: the server removes them together. */
  #remove(mark) {
    return this.#change(async () => {
      const removed = this.#marks.filter(({ timestamp, event }) => timestamp === mark.timestamp && !event);
      const marks = await remove(`${this.path}/${mark.timestamp}`);
      this.onDone(`removed ${removed.map(({ text }) => text).join(", ")}`, { removed: removed.map(asSent) });
      return marks;
    });
  }

  async #timestamp() {
    const frame = await this.frames.read(this.clock.time);
    if (!frame) throw new Error("the session has no frame here");
    return frame.timestamp;
  }

  /** One change after the other: a note follows the mark that it is for. */
  #change(request) {
    this.changed = (this.changed ?? Promise.resolve()).then(async () => {
      try {
        this.#show(await request());
        this.notice.hidden = true;
      } catch (error) {
        Object.assign(this.notice, { textContent: `The marks are not changed: ${error.message}`, hidden: false });
        await get(this.path).then((marks) => this.#show(marks), () => {});
      }
    });
    return this.changed;
  }

  #show(marks) {
    this.#marks = marks.map((mark) => ({ ...mark, text: textOf(mark) }));
    this.element.hidden = !marks.length && !this.mayChange;
    this.element.querySelector("ul").replaceChildren(...this.#marks.map((mark) => this.#item(mark)));
    this.onChange(this.#marks);
  }

  #item(mark) {
    const time = this.timeline.within(mark.timestamp);
    const item = document.createElement("li");
    const [go, at] = ["button", "span"].map((tag) => document.createElement(tag));
    at.textContent = clockTime(time, 1);
    go.append(at, ` ${mark.text}`);
    Object.assign(go, { type: "button", title: mark.text });
    go.addEventListener("click", () => this.clock.seek(time));
    item.append(go);
    if (this.mayChange && !mark.event) {
      const edits = document.createElement("span");
      edits.className = "edits";
      edits.append(
        button("✎", "Change the note of", mark, () => this.#ask(mark, time)),
        button("⇥", "Move to the cursor:", mark, () => this.#edit(mark, async () => ({ timestamp: await this.#timestamp() }), "move of a mark")),
        button("×", "Remove", mark, () => this.#remove(mark)),
      );
      item.append(edits);
    }
    return item;
  }
}

const asSent = ({ timestamp, kind, note }) => ({ timestamp, kind, note });
const textOf = ({ kind, note, by }) => `${[KINDS[kind], note].filter(Boolean).join(": ") || "Marked"} – ${by}`;

function button(sign, what, mark, act) {
  const element = document.createElement("button");
  Object.assign(element, { type: "button", textContent: sign, title: what.replace(/ of$|:$/, ""), ariaLabel: `${what} ${mark.text}` });
  element.addEventListener("click", act);
  return element;
}
