// The whole session as lanes: where there are frames, where each camera has video, what was marked, what the plots show.

import { nameOf } from "./films.js";

const PREVIEWS = { pending: "a preview is being made", none: "no preview" };

export class Track {
  constructor(element, timeline, view) {
    Object.assign(this, { element, timeline, view });
    this.lanes = element.querySelector(".lanes");
    this.window = element.querySelector(".window");
    this.playhead = element.querySelector(".playhead");
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

  showMarks(marks) {
    this.element.querySelectorAll(".mark").forEach((each) => each.remove());
    for (const { timestamp, note, by } of marks) {
      const mark = this.#piece(this.element.querySelector(".area"), this.timeline.timeOf(timestamp), null, "mark");
      mark.title = [note, by].filter(Boolean).join(" – ");
    }
  }

  showCursor(time) {
    this.playhead.style.left = this.#percent(time);
  }

  timeAt(event) {
    const { left, width } = this.lanes.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - left) / width, 0), 1) * this.view.whole;
  }

  #showWindow() {
    this.window.hidden = this.view.isWhole;
    this.window.style.left = this.#percent(this.view.from);
    this.window.style.width = this.#percent(this.view.width);
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
