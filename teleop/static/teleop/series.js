// What /sessions/{id}/series answers, as joints to plot. No DOM.

import { placeOf, rankOf } from "./jointvalues.js";
import { lastUpTo } from "./timeline.js";

/** {name, observation, action, columns} of each joint, ordered by rank, then as they appear in the observation; each
 *  part is {times, values}, or missing. */
export function jointsOf(columns, origin) {
  const joints = new Map();
  const places = columns.map((column) => ({ ...column, ...placeOf(column.name) }));
  places.sort((a, b) => (a.part === "action") - (b.part === "action"));
  for (const { name, part, joint, isBeside, timestamps, values } of places) {
    if (!joints.has(joint)) joints.set(joint, { name: joint, rank: rankOf(joint, isBeside), columns: {} });
    joints.get(joint)[part] = ascending(timestamps, values, origin);
    joints.get(joint).columns[part] = name;
  }
  return [...joints.values()].sort((a, b) => a.rank - b.rank);
}

/** A frame that is out of order is left out: time goes one way in a plot. */
function ascending(timestamps, values, origin) {
  const column = { times: [], values: [] };
  let last = -Infinity;
  timestamps.forEach((timestamp, at) => {
    if (timestamp <= last) return;
    last = timestamp;
    column.times.push(timestamp - origin);
    column.values.push(values[at]);
  });
  return column;
}

/** The value that holds at this time as far as the thinned column knows. */
export const valueAt = (column, time) => column?.values[lastUpTo(column.times, time + 1e-6)] ?? null;

/** How many times its whole range a column goes up or down. */
export function swings(column) {
  const values = column?.values.filter((value) => value !== null) ?? [];
  let [way, low, high] = [0, Infinity, -Infinity];
  values.forEach((value, at) => {
    way += at ? Math.abs(value - values[at - 1]) : 0;
    low = Math.min(low, value);
    high = Math.max(high, value);
  });
  return high > low ? way / (high - low) : 0;
}

/** The part of a session that the plots show, never past its ends nor narrower than a few frames. */
export class View extends EventTarget {
  constructor(duration, narrowest) {
    super();
    this.whole = Math.max(duration, narrowest);
    this.narrowest = Math.min(narrowest, this.whole);
    this.from = 0;
    this.to = this.whole;
  }

  get width() {
    return this.to - this.from;
  }

  get isWhole() {
    return this.width >= this.whole;
  }

  show(from, to) {
    const width = Math.min(Math.max(to - from, this.narrowest), this.whole);
    const begin = Math.min(Math.max((from + to - width) / 2, 0), this.whole - width);
    if (begin === this.from && begin + width === this.to) return;
    this.from = begin;
    this.to = begin + width;
    this.dispatchEvent(new Event("change"));
  }

  /** By the factor (2: half as much is seen); what is at `time` stays where it is. */
  zoom(factor, time) {
    const left = (time - this.from) / factor;
    this.show(time - left, time - left + this.width / factor);
  }

  /** A page on, if the time is not in sight. */
  follow(time) {
    if (time < this.from || time > this.to) this.show(time - this.width * 0.1, time + this.width * 0.9);
  }
}
