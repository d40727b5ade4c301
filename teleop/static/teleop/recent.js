// The newest frames of a robot, by joint, for plots that scroll. No DOM.

import { jointOf } from "./series.js";

const STEP_BACK_S = 1; // a clock that jitters stands still; one that was set back begins a new picture
const SILENCE_S = 1; // frames further apart are not joined by a line, though none may be missing between them
const LARGEST = 1e300; // the difference of two such is finite

const bounded = (value) => Math.min(Math.max(value, -LARGEST), LARGEST);

/** All numbers in a frame's part by their dotted names: `shoulder_pan.pos`, `joint_positions.0`. True is 1, false 0. */
export function numbersOf(value, name = "", found = new Map()) {
  if (typeof value === "number" || typeof value === "boolean") found.set(jointOf(name), bounded(Number(value)));
  else if (value && typeof value === "object")
    for (const key of Object.keys(value)) numbersOf(value[key], name ? `${name}.${key}` : key, found);
  return found;
}

/** A frame's observation or action; of LeRobot's flat keys (`observation.state`) without the prefix. */
function partOf(data, part) {
  if (part in data) return data[part];
  const prefix = `${part}.`;
  const flat = Object.entries(data).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(flat.map(([name, value]) => [name.slice(prefix.length), value]));
}

export class Recent {
  constructor(window_s) {
    this.window_s = window_s;
    this.frames = []; // by time: {session, index, time, observation, action}
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
      const [observation, action] = ["observation", "action"].map((part) => numbersOf(partOf(data, part)));
      this.frames.push({ session, index, time, observation, action });
    }
    this.#trim();
  }

  /** The same for frames of any place, read from where they are stored; what is there stays. */
  fill(session, frames) {
    const there = new Set(this.frames.filter((frame) => frame.session === session).map(({ index }) => index));
    const others = new Recent(Infinity);
    others.add(session, frames.filter(([index]) => !there.has(index)));
    this.frames = [...this.frames, ...others.frames].sort((a, b) => a.time - b.time || a.index - b.index);
    this.#trim();
  }

  #trim() {
    const oldest = this.last?.time - this.window_s;
    const first = this.frames.findIndex(({ time }) => time >= oldest);
    if (first > 0) this.frames.splice(0, first);
  }

  /** {times, joints: name -> {observation, action}, gaps: [[from, to], ...]}: columns of one length, null where a frame
   * has no such joint. A gap has a row of nulls of its own, so that no line is drawn over it. */
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
    const column = (part, name) => rows.map((frame) => frame?.[part].get(name) ?? null);
    const joints = new Map();
    for (const name of names) joints.set(name, { observation: column("observation", name), action: column("action", name) });
    return { times, joints, gaps };
  }
}

const isGap = (a, b) => a.session !== b.session || b.index > a.index + 1 || b.time - a.time > SILENCE_S;
