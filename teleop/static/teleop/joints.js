// A row a joint, all on one time axis: its name, the values under the cursor, its plot; and one cursor through them all.

import { Folding } from "./folding.js";
import { groupOf, labelOf } from "./jointvalues.js";
import { Playhead } from "./playhead.js";
import { action, axis, bands, flags, jointColour, observation, onTheme, plotIn, short, uPlot } from "./plot.js";
import { swings, valueAt } from "./series.js";

// Between two ticks of the time axis: parts of seconds, minutes and hours, where tens would give 16:40 and 33:20.
const STEPS_S = [1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800]
  .concat([1, 2, 3, 6, 12, 24, 48, 96, 192].map((hours) => 3600 * hours));
const MOST_SWINGS = 100;
const AXIS = 52; // px that the values of every plot take, so that times stand below each other; --axis in replay.css
const END = 16; // px after the time axis, for half of its last label; --end in replay.css
const DIGIT = 3.2; // px, half the width of a digit of the time axis
const ZERO_ROOM = 0.25; // of a plot's height, between the labels of its ends and that of zero
const NEAR_PX = 200; // rows so near to what is seen are written too
const MOST_TEXTS = 12;
const MOST_CHARACTERS = 200;
const CELLS = ["observation", "action", "difference"];

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
  #groups = new Map(); // name -> the element with its rows
  #folding = new Folding("joints.folded");
  #texts = new Map(); // name -> its element
  #unseen = new Set(); // elements of rows that are scrolled away
  marks = [];

  /** In `element` a `.rows`, a `.ruler`, a `.playhead` and a `.pointed`; `texts` is a list; `onResize` has to draw. */
  constructor(element, texts, timeline, view, onResize) {
    Object.assign(this, { element, texts, timeline, view });
    this.rows = element.querySelector(".rows");
    this.playhead = new Playhead(element.querySelector(".playhead"), onResize);
    this.pointer = element.querySelector(".pointed");
    const noteSeen = (entries) => {
      for (const { target, isIntersecting } of entries) this.#unseen[isIntersecting ? "delete" : "add"](target);
      onResize();
    };
    this.seen = new IntersectionObserver(noteSeen, { rootMargin: `${NEAR_PX}px` });
    this.ruler = plotIn(element.querySelector(".ruler"), this.#options([], { ruler: true }), [[0, view.whole], []]);
    view.addEventListener("change", () => this.#redraw());
    onTheme(() => this.#paintNames());
  }

  get names() {
    return [...this.#rows.keys()];
  }

  /** The joints of a picture; those that an earlier one has shown keep their rows. */
  show(joints) {
    for (const joint of joints) {
      const row = this.#rows.get(joint.name) ?? this.#row(joint);
      row.joint = joint;
      this.#fit(row.plot, joint);
      row.plot.setData(tableOf(joint), false);
    }
    for (const [name, group] of this.#groups) group.firstChild.hidden = !name || this.#groups.size < 2;
    this.#fold();
    this.#redraw();
  }

  /** Hides all rows of `hidden`, a Set of names. */
  choose(hidden) {
    for (const [name, { element }] of this.#rows) element.hidden = hidden.has(name);
    for (const group of this.#groups.values()) group.classList.toggle("empty", !group.querySelector(".joint:not([hidden])"));
    this.#redraw();
  }

  showMarks(marks) {
    this.marks = marks.map(({ timestamp }) => this.timeline.within(timestamp));
    for (const { plot } of this.#rows.values()) plot.redraw(false);
  }

  /** `frame` is the stored one; where it is not at hand yet (undefined), what the thinned series say, and paler. While
   *  the clock runs, rows that are scrolled away are left out. */
  showValues(time, frame, isRunning = false) {
    const isGap = this.timeline.gapAt(time) !== null;
    this.element.classList.toggle("approximate", frame === undefined);
    for (const { joint, cells, element } of this.#rows.values()) {
      if (element.hidden || (isRunning && this.#unseen.has(element))) continue;
      const [is, should] = ["observation", "action"].map((part) =>
        isGap ? null : frame ? frame.values[joint.columns[part]] : valueAt(joint[part], time),
      );
      const difference = typeof is === "number" && typeof should === "number" ? is - should : null;
      [is, should, difference].forEach((value, at) => write(cells[CELLS[at]], short(value)));
    }
    if (frame !== undefined) this.#showTexts(isGap ? {} : (frame?.values ?? {}));
  }

  /** At the time; with `seconds`, in which the clock goes to the right end of what is seen, it moves by itself. */
  showCursor(time, seconds = null) {
    this.playhead.show((time - this.view.from) / this.view.width, seconds);
  }

  /** A thin line where the pointer is; null: nowhere. */
  showPointer(time) {
    this.pointer.hidden = time === null;
    if (time !== null) this.pointer.style.transform = `translateX(${((time - this.view.from) / this.view.width) * this.playhead.width}px)`;
  }

  /** The session time under a pointer. */
  timeAt(event) {
    const { left, width } = this.ruler.over.getBoundingClientRect();
    return this.view.from + Math.min(Math.max((event.clientX - left) / width, 0), 1) * this.view.width;
  }

  /** Texts are told only, as of the frame; a name that has come stays. */
  #showTexts(values) {
    for (const [name, value] of Object.entries(values)) {
      if (typeof value !== "string" || this.#texts.has(name) || this.#texts.size >= MOST_TEXTS) continue;
      const [row, term, told] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      term.textContent = labelOf(name.replace(/^observation\./, ""));
      term.title = name;
      row.append(term, told);
      this.texts.append(row);
      this.#texts.set(name, told);
    }
    for (const [name, told] of this.#texts) {
      const value = values[name];
      write(told, short(typeof value === "string" ? value.slice(0, MOST_CHARACTERS) : value));
      told.title = told.textContent;
    }
  }

  /** A line of one pixel is drawn in 1 ms; a broader one, that goes up and down at every other pixel, in 100. */
  #fit(plot, joint) {
    const isDense = Math.max(swings(joint.observation), swings(joint.action)) > MOST_SWINGS;
    for (const series of plot.series.slice(1)) series.width = isDense ? 1 / devicePixelRatio : 1.5;
  }

  #redraw() {
    const scale = { min: this.view.from, max: this.view.to };
    this.ruler.setScale("x", scale);
    for (const { plot, element } of this.#rows.values()) if (!element.hidden) plot.setScale("x", scale);
  }

  #row(joint) {
    const number = this.#rows.size;
    const element = document.createElement("div");
    element.className = "joint";
    element.dataset.joint = joint.name;
    const name = document.createElement("h3");
    name.append(...breakable(labelOf(joint.name)));
    name.title = joint.name;
    const cells = {};
    const values = document.createElement("p");
    for (const part of CELLS) {
      cells[part] = document.createElement("span");
      Object.assign(cells[part], { className: `number ${part}`, title: part, textContent: "–" });
      values.append(cells[part]);
    }
    const area = document.createElement("div");
    area.className = "plot";
    element.append(name, values, area);
    this.#groupOf(joint.name).append(element);
    this.seen.observe(element);
    const series = [observation("observation", number), action("action", number)];
    const plot = plotIn(area, this.#options(series), [[], [], []]);
    const row = { element, name, cells, plot, joint, number };
    this.#rows.set(joint.name, row);
    this.#paintNames();
    return row;
  }

  /** The element of a joint's group, which begins with its heading. */
  #groupOf(joint) {
    const name = groupOf(joint);
    if (!this.#groups.has(name)) {
      const [group, heading] = ["section", "h2"].map((tag) => document.createElement(tag));
      group.className = "group";
      const fold = this.#folding.button(name, () => this.#fold());
      fold.append(name);
      heading.append(fold);
      group.append(heading);
      this.rows.append(group);
      this.#groups.set(name, group);
    }
    return this.#groups.get(name);
  }

  /** Of a group without a heading nothing folds. */
  #fold() {
    for (const [name, group] of this.#groups) group.classList.toggle("folded", !group.firstChild.hidden && this.#folding.has(name));
  }

  #paintNames() {
    for (const { name, number } of this.#rows.values()) name.style.setProperty("--colour", jointColour(number));
  }

  #options(series, { ruler = false } = {}) {
    const times = ruler
      ? axis({ size: 24, incrs: STEPS_S, values: timeLabels })
      : axis({ size: 0, incrs: STEPS_S, values: (_, splits) => splits.map(() => ""), ticks: { show: false } });
    const values = ruler
      ? axis({ size: AXIS, values: () => [], grid: { show: false }, ticks: { show: false } })
      : axis({ size: AXIS, splits: ends, values: valueLabels, ticks: { show: false } });
    return {
      series: [{}, ...series.map((each) => ({ ...each, points: { size: 4 } }))],
      axes: [times, values],
      scales: { x: { time: false, auto: false, min: this.view.from, max: this.view.to }, y: { range: roomy } },
      cursor: { show: false },
      padding: [7, END, ruler ? 0 : 7, 0],
      plugins: [bands(() => this.timeline.gaps), flags(() => this.marks)],
    };
  }
}

/** Of the last time only what fits: its middle is at the end of the axis. */
function timeLabels(plot, splits) {
  const right = plot.width - 1;
  return splits.map((time) => {
    const label = clockTime(time, digitsFor(splits[1] - splits[0]));
    return AXIS + plot.valToPos(time, "x") + label.length * DIGIT > right ? "" : label;
  });
}

/** A plot always has its least and greatest value as labels; and zero, where it has room. */
function ends(plot) {
  const seen = plot.series.slice(1).filter(({ min }) => min !== null && min !== undefined);
  const [low, high] = [Math.min(...seen.map(({ min }) => min)), Math.max(...seen.map(({ max }) => max))];
  if (!seen.length || !Number.isFinite(high - low)) return [];
  if (low === high) return [low];
  const zero = -low / (high - low);
  return zero > ZERO_ROOM && zero < 1 - ZERO_ROOM ? [low, 0, high] : [low, high];
}

/** As many digits as tell both ends apart. */
function valueLabels(_, splits) {
  const size = Math.max(...splits.map(Math.abs));
  const digits = Math.min(7, Math.max(3, Math.ceil(Math.log10(size / (splits.at(-1) - splits[0] || size))) + 2)) || 3;
  const isExtreme = size >= 1e5 || size < 1e-3;
  return splits.map((value) => (value && isExtreme ? value.toExponential(1) : String(Number(value.toPrecision(digits)))));
}

/** A joint that stands still is a line in the middle, not noise over the whole height. */
function roomy(_, low, high) {
  if (low === null || high === null) return [-1, 1];
  const room = Math.max((high - low) * 0.08, Math.abs(high) * 1e-3) || 1;
  return [low - room, high + room];
}

/** A name that a narrow column may break after _ and . only. */
function breakable(name) {
  const parts = name.split(/(?<=[_./ ])/);
  return parts.flatMap((part, at) => (at ? [document.createElement("wbr"), part] : [part]));
}

/** Changes the text that is there: a new one costs the style of its element too. */
function write(element, text) {
  if (!element.firstChild) element.append(text);
  else if (element.firstChild.data !== text) element.firstChild.data = text;
}

function tableOf({ observation: seen, action: told }) {
  const column = (each) => [each?.times ?? [], each?.values ?? []];
  return uPlot.join([column(seen), column(told)]);
}
