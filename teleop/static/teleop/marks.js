// Moments of a session that people or the robot have marked, drawn on the plots. Who may not mark has no form.

import * as api from "./api.js";
import { timeOfDay } from "./rows.js";

const form = document.querySelector("#marking");

export class Marks {
  #saving = Promise.resolve();

  /** `moment()` is the unix time to mark, `onChange(marks)` is told of all that there are. */
  constructor({ moment, onChange }) {
    this._moment = moment;
    this._onChange = onChange;
    document.querySelector("#mark")?.addEventListener("click", () => this.begin());
    form?.addEventListener("submit", (event) => {
      event.preventDefault();
      const mark = { ...this._marked, note: form.elements.note.value };
      this.#saving = this.#saving.then(() => this._save(mark));
    });
    form?.addEventListener("reset", () => (form.hidden = true));
    form?.addEventListener("keydown", ({ key }) => key === "Escape" && form.reset());
  }

  of(session) {
    this._session = session;
    this._onChange([]);
    return this.read();
  }

  /** Shows all marks. If a mark is saved meanwhile, the answer to that is shown instead: it is newer. */
  async read() {
    await this.#saving;
    const [session, saving] = [this._session, this.#saving];
    try {
      const marks = await api.get(`/sessions/${session}/marks`);
      if (this._session === session && this.#saving === saving) this._onChange(marks);
    } catch {
      // drawn without marks: the live plots matter more
    }
  }

  /** The moment is that of the key, not that at which the note is written. */
  begin() {
    const moment = this._moment();
    if (!form || moment === undefined) return;
    this._marked = { session: this._session, timestamp: moment };
    document.querySelector("#marked").textContent = timeOfDay(moment);
    document.querySelector("#refused").textContent = "";
    form.hidden = false;
    form.elements.note.focus();
  }

  async _save({ session, ...mark }) {
    try {
      const marks = await api.post(`/sessions/${session}/marks`, mark);
      if (this._session === session) this._onChange(marks);
      form.reset();
    } catch (error) {
      document.querySelector("#refused").textContent = error.message;
      this.read();
    }
  }
}
