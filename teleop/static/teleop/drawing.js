// What is seen of the clock's moment: cursors, values, words, and the state of the page.

import { clockTime } from "./joints.js";

const WRITE_MS = 100; // numbers that change more often cannot be read, and cost a layout each time
const FOLLOW_MS = 33; // a picture of most cameras

export class Drawing {
  #due = 0; // a request for a picture of the screen
  #timer = 0;
  #isChanged = true;
  #written = 0;

  /** `parts` are {clock, timeline, frames, joints, track, view, cameras}, of which some come later. */
  constructor(page, parts) {
    Object.assign(this, { page, parts });
    const [play, rate, time, frame] = ["[name=play]", "[name=rate]", ".time", ".frame"].map((each) => page.querySelector(each));
    Object.assign(this, { play, rate, time, frame });
    this.pointed = null; // the time under the pointer, while nothing moves
  }

  /** After a change: of the clock, the view, the sizes, the frames at hand. */
  change = () => {
    this.#isChanged = true;
    this.again();
  };

  /** Shows the values of a time under the pointer, null: of the clock. */
  point(time) {
    if (time === this.pointed) return;
    this.pointed = this.parts.clock.playing ? null : time;
    this.change();
  }

  /** With the next picture of the screen. */
  again() {
    this.#due ||= requestAnimationFrame((now) => this.#draw(now));
  }

  /** While the clock runs the screen needs no script 60 times a second: what moves there moves by itself. */
  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#draw(performance.now()), this.parts.timeline.cameras.size ? FOLLOW_MS : WRITE_MS);
  }

  #draw(now) {
    this.#due = 0;
    const { clock, view, cameras, frames, joints } = this.parts;
    clock.tick();
    const { time } = clock;
    if (clock.playing) view.follow(time);
    cameras.follow();
    const shown = this.pointed ?? time;
    const frame = frames.at(shown);
    if (frame === undefined) frames.read(shown).then(this.change, () => {}); // until then the thinned values stand
    const isSettled = frame !== undefined && cameras.isSettled;
    const state = clock.running ? "playing" : clock.playing ? "waiting" : isSettled ? "paused" : "seeking";
    if (this.#isChanged || state !== this.page.dataset.state) this.#place(time, clock);
    if (this.#isChanged || state !== this.page.dataset.state || now - this.#written >= WRITE_MS) {
      this.#written = now;
      joints.showValues(shown, frame, clock.running);
      this.#write(time, shown, frame);
    }
    this.page.dataset.state = state;
    this.#isChanged = false;
    if (clock.running && isSettled) this.#later();
    else if (clock.playing || !isSettled) this.again();
  }

  /** The cursors: while the clock runs they move by themselves. */
  #place(time, { running, rate, duration }) {
    const { joints, track, view } = this.parts;
    joints.showCursor(time, running ? (view.to - time) / rate : null);
    track.showCursor(time, running ? (duration - time) / rate : null);
    joints.showPointer(this.pointed);
  }

  #write(time, shown, frame) {
    const { clock, timeline } = this.parts;
    this.time.textContent = `${clockTime(time)} / ${clockTime(timeline.duration)}`;
    const index = frame?.index ?? timeline.indexAt(shown);
    const said = timeline.gapAt(shown) ? "no frame at this time" : index === null ? "" : `frame ${index}`;
    this.frame.textContent = this.pointed === null ? said : `${said} (pointer)`;
    const label = clock.playing ? "Pause" : "Play";
    if (this.play.ariaLabel !== label) this.play.ariaLabel = label;
    if (this.rate.value !== String(clock.rate)) this.rate.value = String(clock.rate);
  }
}
