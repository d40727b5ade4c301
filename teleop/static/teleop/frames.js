// A session's frames as they were stored, read in pages around the moment that is looked at. No DOM.

import { valuesOf } from "./jointvalues.js";
import { lastUpTo } from "./timeline.js";

export const PAGE_FRAMES = 300; // 5 s at 60 a second, 130 kB of six joints
const MOST_PAGES = 40;
const BEFORE_S = 1; // a page begins so long before the moment it was asked for
const ROUNDED = 1e-6;

export class Frames {
  #pages = []; // the one that was used last is the last
  #asked = new Map(); // first index -> the promise of a page

  /** `load(start, limit)` promises the first stored frames from the index `start` on. */
  constructor(timeline, load) {
    this.timeline = timeline;
    this.load = load;
  }

  /** The frame that holds at this time (the last up to it), if it is at hand; undefined: not yet; null: there is none. */
  at(time) {
    const page = this.#pageOf(time);
    return page && page.frames[Math.max(0, lastUpTo(page.frames, time + ROUNDED, (frame) => frame.time))];
  }

  /** The same, read where it is not at hand. */
  async read(time) {
    for (let tries = 0; this.at(time) === undefined && tries < 5; tries++)
      await this.#readPage(this.timeline.indexAt(Math.max(0, time - BEFORE_S)));
    return this.at(time) ?? null;
  }

  /** The stored frame after (steps 1) or before (-1) that which holds at `time`; at the ends that one itself. */
  async step(time, steps) {
    await this.read(time);
    const page = this.#pageOf(time);
    if (!page) return null;
    const at = Math.max(0, lastUpTo(page.frames, time + ROUNDED, (frame) => frame.time));
    return page.frames[at + steps] ?? page.frames[at];
  }

  /** A page in which the moment has a frame before it and one behind it, if the session has. */
  #pageOf(time) {
    if (!this.timeline.anchors.length) return null;
    const at = this.#pages.findLastIndex(
      ({ frames, isFirst, isLast }) =>
        (isFirst || frames[0].time < time - ROUNDED) && (isLast || time + ROUNDED < frames.at(-1).time),
    );
    if (at < 0) return undefined;
    this.#pages.push(...this.#pages.splice(at, 1));
    return this.#pages.at(-1);
  }

  async #readPage(start) {
    const asked = this.#asked.get(start) ?? this.load(start, PAGE_FRAMES);
    this.#asked.set(start, asked);
    try {
      this.#keep(start, await asked);
    } finally {
      this.#asked.delete(start);
    }
  }

  #keep(start, stored) {
    const { timeline } = this;
    let time = -Infinity; // frames that are a little out of order stand still
    const frames = stored.map(({ frame_index, timestamp, ...data }) => {
      time = Math.max(time, timeline.timeOfFrame(frame_index, timestamp));
      return { index: frame_index, time, timestamp, values: valuesOf(data) };
    });
    if (!frames.length) return;
    const [isFirst, isLast] = [start <= timeline.anchors[0].index, frames.length < PAGE_FRAMES];
    this.#pages.push({ frames, isFirst, isLast });
    if (this.#pages.length > MOST_PAGES) this.#pages.shift();
    // Where the frames' rate changed between two anchors the next guess is better.
    timeline.learn(frames[0]);
    timeline.learn(frames.at(-1));
  }
}
