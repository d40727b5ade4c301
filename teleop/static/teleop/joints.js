// A row a joint, all on one time axis: its name, the values under the cursor, its plot; and one cursor through them all.

import { action, axis, bands, observation, onTheme, plotIn, short, jointColour, uPlot } from "./plot.js";
import { swings, valueAt } from "./series.js";

// Between two ticks of the time axis: parts of seconds, minutes and hours, where tens would give 16:40 and 33:20.
const STEPS_S = [1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800]
  .concat([1, 2, 3, 6, 12, 24, 48, 96, 192].map((hours) => 3600 * hours));
const MOST_SWINGS = 100;
const AXIS = 52; // px that the values of every plot take, so that times stand below each other

/** 1:05.250, as exact as the room between two ticks asks for. */
export function clockTime(exact, digits = 3) {
  const seconds = Number(exact.toFixed(digits)); // 59.98 is 1:00.0
  const whole = Math.floor(seconds / 60);
  const rest = (seconds - whole * 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  const hours = Math.floor(whole / 60);
  return hours ? `${hours}:${String(whole % 60).padStart(2, "0")}:${rest}` : `${whole}:${rest}`;
}

const digitsFor = (step) => Math.min(3, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));

export class Joints {
  #rows = new Map();

  /** In `element` a `.rows`, a `.ruler` and a `.playhead`. */
  constructor(element, timeline, view) {
    Object.assign(this, { element, timeline, view });
    this.rows = element.querySelector(".rows");
    this.playhead = element.querySelector(".playhead");
    this.ruler = plotIn(element.querySelector(".ruler"), this.#options([], { ruler: true }), [[0, view.whole], []]);
    view.addEventListener("change", () => this.#redraw());
    onTheme(() => this.#paintNames());
  }

  /** The joints of a picture; those that an earlier one has shown keep their rows. */
  show(joints) {
    for (const joint of joints) {
      const row = this.#rows.get(joint.name) ?? this.#row(joint);
      row.joint = joint;
      this.#fit(row.plot, joint);
      row.plot.setData(tableOf(joint), false);
    }
    this.#redraw();
  }

  /** `frame` is the stored one; where it is not at hand yet (undefined), what the thinned series say, and paler. */
  showValues(time, frame) {
    const isGap = this.timeline.gapAt(time) !== null;
    this.element.classList.toggle("approximate", frame === undefined);
    for (const { joint, cells } of this.#rows.values())
      for (const [part, cell] of Object.entries(cells)) {
        const value = frame ? frame.values[joint.columns[part]] : valueAt(joint[part], time);
        const text = isGap ? "–" : short(value);
        if (cell.textContent !== text) cell.textContent = text;
      }
  }

  showCursor(time) {
    const { left, width } = this.#area();
    const at = (time - this.view.from) / this.view.width;
    this.playhead.hidden = at < 0 || at > 1;
    this.playhead.style.transform = `translateX(${left + at * width}px)`;
  }

  /** The session time under a pointer. */
  timeAt(event) {
    const { width } = this.#area();
    const left = this.ruler.over.getBoundingClientRect().left;
    return this.view.from + Math.min(Math.max((event.clientX - left) / width, 0), 1) * this.view.width;
  }

  #area() {
    return { left: this.ruler.over.getBoundingClientRect().left - this.element.getBoundingClientRect().left, width: this.ruler.over.clientWidth };
  }

  /** A line of one pixel is drawn in 1 ms; a broader one, that goes up and down at every other pixel, in 100. */
  #fit(plot, joint) {
    const isDense = Math.max(swings(joint.observation), swings(joint.action)) > MOST_SWINGS;
    for (const series of plot.series.slice(1)) series.width = isDense ? 1 / devicePixelRatio : 1.5;
  }

  #redraw() {
    const scale = { min: this.view.from, max: this.view.to };
    for (const plot of [this.ruler, ...[...this.#rows.values()].map((row) => row.plot)]) plot.setScale("x", scale);
  }

  #row(joint) {
    const number = this.#rows.size;
    const element = document.createElement("div");
    element.className = "joint";
    element.dataset.joint = joint.name;
    const name = document.createElement("h3");
    name.textContent = joint.name.replace(/\.pos$/, "");
    name.title = joint.name;
    const cells = {};
    const values = document.createElement("p");
    for (const part of ["observation", "action"]) {
      cells[part] = document.createElement("span");
      cells[part].className = `number ${part}`;
      cells[part].title = part;
      values.append(cells[part]);
    }
    const area = document.createElement("div");
    area.className = "plot";
    element.append(name, values, area);
    this.rows.append(element);
    const series = [observation("observation", number), action("action", number)];
    const plot = plotIn(area, this.#options(series), [[], [], []]);
    const row = { element, name, cells, plot, joint, number };
    this.#rows.set(joint.name, row);
    this.#paintNames();
    return row;
  }

  #paintNames() {
    for (const { name, number } of this.#rows.values()) name.style.setProperty("--colour", jointColour(number));
  }

  #options(series, { ruler = false } = {}) {
    const times = ruler
      ? axis({ size: 24, incrs: STEPS_S, values: (_, splits) => splits.map((time) => clockTime(time, digitsFor(splits[1] - splits[0]))) })
      : axis({ size: 0, incrs: STEPS_S, values: (_, splits) => splits.map(() => ""), ticks: { show: false } });
    const values = ruler
      ? axis({ size: AXIS, values: () => [], grid: { show: false }, ticks: { show: false } })
      : axis({ size: AXIS, space: 26, values: (_, splits) => splits.map(tick), ticks: { show: false } });
    return {
      series: [{}, ...series.map((each) => ({ ...each, points: { size: 4 } }))],
      axes: [times, values],
      scales: { x: { time: false, auto: false, min: this.view.from, max: this.view.to }, y: { range: roomy } },
      cursor: { show: false },
      padding: [6, 8, ruler ? 0 : 6, 0],
      plugins: [bands(() => this.timeline.gaps)],
    };
  }
}

/** Ticks are round numbers: all their digits, and no more. */
const tick = (value) => (Math.abs(value) >= 1e5 ? value.toExponential(0) : String(Number(value.toPrecision(6))));

/** A joint that stands still is a line in the middle, not noise over the whole height. */
function roomy(_, low, high) {
  if (low === null || high === null) return [-1, 1];
  const room = Math.max((high - low) * 0.08, Math.abs(high) * 1e-3, 0.01);
  return [low - room, high + room];
}

function tableOf({ observation: seen, action: told }) {
  const column = (each) => [each?.times ?? [], each?.values ?? []];
  return uPlot.join([column(seen), column(told)]);
}
