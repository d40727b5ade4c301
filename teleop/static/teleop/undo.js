// What a person did to sessions in this tab, the newest last: `u` undoes it, also after going on to another session.

import { patch, post } from "./api.js";
import { inWords, wordOf } from "./labels.js";
import { takeBack } from "./markchanges.js";
import { toast } from "./toast.js";

const KEY = "replay.done";
const MOST = 100;
const TEXTS = ["task", "tags", "operator", "note"];

export class Undo {
  #done = read();
  #undoing = Promise.resolve();

  /** `session` is the id of the page's session; `goTo(id)` opens another one. */
  constructor(session, { labels, marks, goTo }) {
    Object.assign(this, { session, labels, marks, goTo });
  }

  /** A label has changed from one value to another; texts that were saved while they were written are one change. */
  noteLabel(name, before, after) {
    const last = this.#done.at(-1);
    const isSame = TEXTS.includes(name) && last?.session === this.session && last.name === name;
    if (isSame) last.after = after;
    else this.#done.push({ session: this.session, name, before, after });
    this.#keep();
  }

  /** The page's session was moved to the trash; the next page says so. */
  noteTrash() {
    this.#done.push({ session: this.session, isTrashed: true, isUntold: true });
    this.#keep();
  }

  /** Marks of the page's session have changed, as takeBack() knows it. What was removed cannot be seen any more. */
  noteMarks(what, change) {
    const done = { session: this.session, what, change };
    this.#done.push(done);
    this.#keep();
    if (!change.added && change.removed) toast(`${capital(what)}.`, { "Undo (u)": () => this.undo(done) });
  }

  /** The next session's page tells what was done here. */
  tellNext() {
    const last = this.#done.at(-1);
    if (last?.session === this.session && last.name) last.isUntold = true;
    this.#keep();
  }

  tell() {
    const last = this.#done.at(-1);
    if (!last?.isUntold) return;
    last.isUntold = false;
    this.#keep();
    if (last.session !== this.session) toast(inWordsOf(last), { "Undo (u)": () => this.undo(last) });
  }

  /** Of `done`, else of the last change, once all changes have reached the server. */
  undo(done) {
    this.#undoing = this.#undoing.then(() => Promise.all([this.labels.saved, this.marks.changed])).then(() => this.#undoLast(done));
    return this.#undoing;
  }

  async #undoLast(done = this.#done.at(-1)) {
    this.#done = this.#done.filter((each) => each !== done);
    this.#keep();
    if (!done) return toast("There is nothing to undo.");
    try {
      await this.#undo(done);
    } catch (error) {
      if (error.status === 0) this.#done.push(done);
      this.#keep();
      toast(`Session ${done.session}: this cannot be undone: ${error.message}`);
    }
  }

  async #undo({ session, name, before, after, what, change, isTrashed }) {
    if (isTrashed) {
      await post(`/sessions/${session}/restore`);
      this.goTo(session);
    } else if (change) {
      await takeBack(`/sessions/${session}/marks`, change);
      const isHere = session === this.session;
      if (isHere) await this.marks.read();
      toast(`Undone: ${isHere ? "" : `session ${session}, `}${what}.`, isHere ? {} : { "Open it": () => this.goTo(session) });
    } else if (session === this.session) {
      this.labels.set(name, before, { isUndo: true });
      toast(`${capital(wordOf(name))}: ${quoted(before)} again.`);
    } else {
      await patch(`/sessions/${session}`, { meta_info: { [name]: before }, seen: { [name]: after } });
      toast(`Session ${session}: ${wordOf(name)} is ${quoted(before)} again.`, { "Open it": () => this.goTo(session) });
    }
  }

  #keep() {
    this.#done = this.#done.slice(-MOST);
    sessionStorage.setItem(KEY, JSON.stringify(this.#done));
  }
}

function inWordsOf({ session, name, after, isTrashed }) {
  return isTrashed ? `Session ${session} is in the trash.` : `Session ${session}: ${wordOf(name)} is ${quoted(after)}.`;
}

const capital = (name) => name[0].toUpperCase() + name.slice(1);
const quoted = (value) => (inWords(value) === "" ? "empty" : `“${inWords(value)}”`);

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return []; // not ours
  }
}
