// The whole session as lanes: where there are frames, where each camera has video, what was marked, what the robot
// reported, what the plots show.

import { nameOf } from "./films.js";
import { Playhead } from "./playhead.js";

const PREVIEWS = { pending: "a preview is being made", none: "no preview" };
const SLOTS = 400; // for flags along the track
const MOST_TEXTS = 5; // of flags that are one

export class Track {
  /** `onResize` has to draw the cursor again. */
  constructor(element, timeline, view, onResize) {
    Object.assign(this, { element, timeline, view });
    this.lanes = element.querySelector(".lanes");
    this.window = element.querySelector(".window");
    this.playhead = new Playhead(element.querySelector(".playhead"), onResize);
    const frames = this.#lane("frames", "frames");
    if (timeline.anchors.length) this.#piece(frames, 0, view.whole);
    for (const [from, to] of timeline.gaps) this.#piece(frames, from, to, "gap");
    this.films = new Map([...timeline.cameras.keys()].map((camera) => [camera, this.#lane("camera", nameOf(camera))]));
    this.showFilms();
    view.addEventListener("change", () => this.#showWindow());
    this.#showWindow();
  }

  /** A film without a preview looks different, and says so under the pointer. */
  showFilms() {
    for (const [camera, lane] of this.films) {
      lane.replaceChildren();
      for (const [from, to, preview] of this.timeline.coverage(camera)) {
        const piece = this.#piece(lane, from, to, `piece ${preview}`);
        piece.title = PREVIEWS[preview] ?? "";
      }
    }
  }

  /** The marks of people and of the robot, over all lanes. */
  showMarks(marks) {
    const area = this.element.querySelector(".area");
    area.querySelectorAll(".mark").forEach((each) => each.remove());
    this.#flags(area, "mark", marks);
  }

  /** The ends that exports leave out: what is before the mark trim_start, and after trim_end. */
  showTrims(marks) {
    const area = this.element.querySelector(".area");
    area.querySelectorAll(".trimmed").forEach((each) => each.remove());
    const timeOf = (kind) => marks.filter((mark) => mark.kind === kind).map(({ timestamp }) => this.timeline.within(timestamp))[0];
    const [start, end] = [timeOf("trim_start"), timeOf("trim_end")];
    if (start > 0) this.#piece(area, 0, start, "trimmed").title = "Exports leave this out";
    if (end < this.view.whole) this.#piece(area, end, this.view.whole, "trimmed end").title = "Exports leave this out";
  }

  /** What else the robot reported, in a lane of its own. */
  showEvents(events) {
    if (events.length) this.#flags(this.#lane("events", "events"), "event", events);
  }

  /** At the time; with `seconds`, in which the clock goes to the end of the session, it moves by itself. */
  showCursor(time, seconds = null) {
    this.playhead.show(time / this.view.whole, seconds);
  }

  /** The time under the pointer, or that of the flag which it presses. */
  timeAt(event) {
    const { time } = event.target.dataset;
    if (time && event.type === "pointerdown") return Number(time);
    const { left, width } = this.lanes.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - left) / width, 0), 1) * this.view.whole;
  }

  #showWindow() {
    this.window.hidden = this.view.isWhole;
    this.window.style.left = this.#percent(this.view.from);
    this.window.style.width = this.#percent(this.view.width);
  }

  /** Those that would lie upon each other are one. */
  #flags(place, kind, moments) {
    const flags = new Map();
    for (const { timestamp, text } of moments) {
      const time = this.timeline.within(timestamp);
      const slot = Math.round((SLOTS * time) / this.view.whole);
      if (!flags.has(slot)) flags.set(slot, { time, texts: [] });
      flags.get(slot).texts.push(text);
    }
    for (const { time, texts } of flags.values()) {
      const flag = this.#piece(place, time, null, kind);
      const more = texts.length > MOST_TEXTS ? [`and ${texts.length - MOST_TEXTS} more`] : [];
      flag.title = [...texts.slice(0, MOST_TEXTS), ...more].join("\n");
      flag.dataset.time = time;
    }
  }

  #lane(kind, name) {
    const label = document.createElement("span");
    label.textContent = name;
    label.title = name;
    this.element.querySelector(".names").append(label);
    const lane = document.createElement("div");
    lane.className = `lane ${kind}`;
    this.lanes.append(lane);
    return lane;
  }

  #piece(lane, from, to, kind = "piece") {
    const piece = document.createElement("i");
    piece.className = kind;
    piece.style.left = this.#percent(from);
    if (to !== null) piece.style.width = this.#percent(to - from);
    lane.append(piece);
    return piece;
  }

  #percent(time) {
    return `${(100 * time) / this.view.whole}%`;
  }
}
