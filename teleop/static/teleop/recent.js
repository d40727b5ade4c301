// The newest frames of a robot, by joint, for plots that scroll. No DOM.

import { placeOf, rankOf, valuesOf } from "./jointvalues.js";

const STEP_BACK_S = 1; // a clock that jitters stands still; one that was set back begins a new picture
const SILENCE_S = 1; // frames further apart are not joined by a line, though none may be missing between them
const LARGEST = 1e300; // the difference of two such is finite

const bounded = (value) => (typeof value === "number" ? Math.min(Math.max(value, -LARGEST), LARGEST) : value);

export class Recent {
  constructor(window_s) {
    this.window_s = window_s;
    this.frames = []; // by time: {session, index, time, observation, action}
    this.ranks = new Map(); // joint -> its place among the joints
  }

  get last() {
    return this.frames.at(-1);
  }

  /** One past the session's newest frame that is here; 0 if none is. */
  nextIndex(session) {
    return this.last?.session === session ? this.last.index + 1 : 0;
  }

  /** `frames` as the live socket has them: [[index, timestamp, data], ...]. What was filled in already is passed over. */
  add(session, frames) {
    for (const [index, timestamp, data] of frames) {
      if (index < this.nextIndex(session)) continue;
      if (timestamp < this.last?.time - STEP_BACK_S) this.frames = [];
      const time = Math.max(timestamp, this.last?.time ?? -Infinity);
      this.frames.push({ session, index, time, ...this.#partsOf(data) });
    }
    this.#trim();
  }

  /** The same for frames of any place, read from where they are stored; what is there stays. */
  fill(session, frames) {
    const there = new Set(this.frames.filter((frame) => frame.session === session).map(({ index }) => index));
    const others = new Recent(Infinity);
    others.add(session, frames.filter(([index]) => !there.has(index)));
    this.frames = [...this.frames, ...others.frames].sort((a, b) => a.time - b.time || a.index - b.index);
    this.ranks = new Map([...this.ranks, ...others.ranks]);
    this.#trim();
  }

  /** All values of a frame, each by its joint: {observation, action}. */
  #partsOf(data) {
    const parts = { observation: new Map(), action: new Map() };
    for (const [name, value] of Object.entries(valuesOf(data))) {
      const { part, joint, isBeside } = placeOf(name);
      parts[part].set(joint, bounded(value));
      if (!this.ranks.has(joint)) this.ranks.set(joint, rankOf(joint, isBeside));
    }
    return parts;
  }

  #trim() {
    const oldest = this.last?.time - this.window_s;
    const first = this.frames.findIndex(({ time }) => time >= oldest);
    if (first > 0) this.frames.splice(0, first);
  }

  /** {times, joints: name -> {observation, action}, gaps: [[from, to], ...]}: columns of one length with numbers, booleans
   * and texts, null where a frame has no such joint. A gap has a row of nulls, so that no line is drawn over it. */
  columns() {
    const [times, rows, gaps] = [[], [], []];
    for (const [at, frame] of this.frames.entries()) {
      const before = this.frames[at - 1];
      if (before && isGap(before, frame)) {
        gaps.push([before.time, frame.time]);
        times.push((before.time + frame.time) / 2);
        rows.push(null);
      }
      times.push(frame.time);
      rows.push(frame);
    }
    const names = new Set(this.frames.flatMap(({ observation, action }) => [...observation.keys(), ...action.keys()]));
    const sorted = [...names].sort((a, b) => this.ranks.get(a) - this.ranks.get(b));
    const column = (part, name) => rows.map((frame) => frame?.[part].get(name) ?? null);
    const joints = new Map();
    for (const name of sorted) joints.set(name, { observation: column("observation", name), action: column("action", name) });
    return { times, joints, gaps };
  }
}

const isGap = (a, b) => a.session !== b.session || b.index > a.index + 1 || b.time - a.time > SILENCE_S;
