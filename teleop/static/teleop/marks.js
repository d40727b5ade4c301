// Moments of a session that people or the robot have marked, drawn on the plots. Who may not mark has no form.

import * as api from "./api.js";
import { timeOfDay } from "./rows.js";

const form = document.querySelector("#marking");

export class Marks {
  /** `moment()` is the unix time to mark, `onChange(marks)` is told of all that there are. */
  constructor({ moment, onChange }) {
    this._moment = moment;
    this._onChange = onChange;
    document.querySelector("#mark")?.addEventListener("click", () => this.begin());
    form?.addEventListener("submit", (event) => {
      event.preventDefault();
      this._save();
    });
    form?.addEventListener("reset", () => (form.hidden = true));
    form?.addEventListener("keydown", ({ key }) => key === "Escape" && form.reset());
  }

  of(session) {
    this._session = session;
    this._onChange([]);
    return this.read();
  }

  async read() {
    const session = this._session;
    try {
      const marks = await api.get(`/sessions/${session}/marks`);
      if (this._session === session) this._onChange(marks);
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

  async _save() {
    const { session, timestamp } = this._marked;
    try {
      const marks = await api.post(`/sessions/${session}/marks`, { timestamp, note: form.elements.note.value });
      if (this._session === session) this._onChange(marks);
      form.reset();
    } catch (error) {
      document.querySelector("#refused").textContent = error.message;
    }
  }
}
