// The marks of a session: those of people and of the robot, and the pair that trims it for exports.

import { get, post, remove } from "./api.js";

const KINDS = { trim_start: "Trim start", trim_end: "Trim end" };

export class Trims {
  /** `element` is the section of marks; its buttons, if there are any, are named like the kinds. */
  constructor(element, path, { clock, frames, onChange }) {
    Object.assign(this, { path: `${path}/marks`, clock, frames, onChange });
    this.notice = element.querySelector(".notice");
    this.mayChange = Boolean(element.querySelector("button"));
    for (const kind of Object.keys(KINDS)) element.querySelector(`[name=${kind}]`)?.addEventListener("click", () => this.set(kind));
  }

  async read() {
    this.#show(await get(this.path));
  }

  /** Trim at the frame that is shown: a mark of this kind moves there. */
  set(kind) {
    if (this.mayChange) return this.#change(async () => post(this.path, { timestamp: await this.#timestamp(), kind }));
  }

  async #timestamp() {
    const frame = await this.frames.read(this.clock.time);
    if (!frame) throw new Error("the session has no frame here");
    return frame.timestamp;
  }

  async #change(request) {
    try {
      this.#show(await request());
      this.notice.hidden = true;
    } catch (error) {
      Object.assign(this.notice, { textContent: `The marks are not changed: ${error.message}`, hidden: false });
    }
  }

  /** Of a mark with a kind, `remove` removes it. */
  #show(marks) {
    this.onChange(
      marks.map(({ timestamp, note, by, kind, event }) => {
        const removed = () => this.#change(() => remove(`${this.path}/${timestamp}`));
        const text = `${[KINDS[kind], note].filter(Boolean).join(": ") || "Marked"} – ${by}`;
        return { timestamp, text, kind, remove: kind && !event && this.mayChange ? removed : undefined };
      }),
    );
  }
}
