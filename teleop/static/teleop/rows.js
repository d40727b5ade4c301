// A row a joint: its values and its plot, all on one time axis with one cursor.

import { labelOf } from "./jointvalues.js";
import { action, axis, bands, colour, jointVariable, observation, plotIn, short } from "./plot.js";

const AXIS_HEIGHT = 24;
const LABEL_HEIGHT = 14;
const LABEL_WIDTH = 52; // of a time
const RIGHT = 8; // of the plot
const template = document.querySelector("#row");
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });

export const timeOfDay = (time) => clock.format(time * 1000);

export class Rows {
  /** `window_s` seconds up to the newest frame. `onCursor(time)` is told where the pointer is, null: nowhere. */
  constructor(element, window_s, onCursor = () => {}) {
    this.element = element;
    this.shown = { times: [], joints: new Map(), gaps: [] };
    this.marks = [];
    this.events = [];
    this._window_s = window_s;
    this._onCursor = onCursor;
    this._rows = new Map();
    this._numbers = new Map(); // joint -> its colour, which it keeps
  }

  /** Draws these columns, of the joints that `isChosen`. */
  show(columns, isChosen) {
    this.shown = columns;
    for (const name of columns.joints.keys()) {
      if (!this._numbers.has(name)) this._numbers.set(name, this._numbers.size);
    }
    const names = [...columns.joints.keys()].filter(isChosen);
    if (names.join() !== [...this._rows.keys()].join()) this._rebuild(names);
    for (const [name, { plot }] of this._rows) {
      plot.setData(plotted(columns, name));
    }
    this.tell();
  }

  /** As CSS. */
  colourOf(name) {
    return `var(--${jointVariable(this._numbers.get(name))})`;
  }

  redraw() {
    for (const { plot } of this._rows.values()) plot.redraw(false);
  }

  /** The values under the cursor; without one those of the newest frame. */
  tell() {
    const { times, joints } = this.shown;
    const cursor = [...this._rows.values()].find(({ plot }) => plot.cursor.left >= 0)?.plot;
    const at = cursor ? cursor.posToIdx(cursor.cursor.left) : times.length - 1;
    for (const [name, { parts }] of this._rows) {
      const [is, should] = [joints.get(name).observation[at], joints.get(name).action[at]];
      write(parts.observation, short(is));
      write(parts.action, short(should));
      write(parts.difference, typeof is === "number" && typeof should === "number" ? short(is - should) : "–");
    }
    this._onCursor(cursor ? times[at] : null);
  }

  _rebuild(names) {
    for (const { plot } of this._rows.values()) plot.destroy();
    this._rows.clear();
    this.element.replaceChildren();
    const columns = Math.ceil(names.length / 8);
    const perColumn = Math.ceil(names.length / columns);
    this.element.style.setProperty("--columns", columns);
    this.element.style.setProperty("--rows", perColumn);
    for (const [at, name] of names.entries()) {
      const isLast = at % perColumn === perColumn - 1 || at === names.length - 1;
      this._rows.set(name, this._row(name, isLast));
    }
  }

  _row(name, hasAxis) {
    const row = template.content.firstElementChild.cloneNode(true);
    row.dataset.joint = name;
    const parts = Object.fromEntries([...row.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));
    parts.name.textContent = labelOf(name);
    parts.name.title = name;
    row.style.setProperty("--joint", this.colourOf(name));
    row.classList.toggle("has-axis", hasAxis);
    this.element.append(row);
    const plot = plotIn(parts.plot, this._options(this._numbers.get(name), hasAxis), plotted(this.shown, name));
    return { parts, plot };
  }

  _options(number, hasAxis) {
    const latest = () => this.shown.times.at(-1) ?? 0;
    return {
      series: [{}, observation("observation", number), action("action", number)],
      scales: { x: { range: () => [latest() - this._window_s, latest()] }, y: { range: (_, low, high) => around(low, high) } },
      axes: [
        axis({ size: hasAxis ? AXIS_HEIGHT : 0, gap: 3, space: 90, values: (plot, splits) => splits.map((at) => (hasAxis && fits(plot, at) ? timeOfDay(at) : "")) }),
        axis({ size: 58, splits: (plot, _, low, high) => between(low, high, plot.bbox.height / devicePixelRatio), values: (plot, splits) => splits.map(hasNumbers(plot) ? label : () => "") }),
      ],
      padding: [6, RIGHT, hasAxis ? 0 : 6, 0],
      cursor: { drag: { x: false, y: false }, y: false, points: { size: 6 }, sync: { key: "rows", setSeries: false, scales: ["x", null] } },
      hooks: { setCursor: [() => (this._telling ||= requestAnimationFrame(() => this._told()))], draw: [(plot) => this._drawFlags(plot)] },
      plugins: [bands(() => this.shown.gaps)],
    };
  }

  _told() {
    this._telling = 0;
    this.tell();
  }

  /** A mark has a line. Events are at the bottom only: there may be so many that lines would hide the plot. */
  _drawFlags({ ctx, bbox, valToPos }) {
    const [from, to] = [(this.shown.times.at(-1) ?? 0) - this._window_s, this.shown.times.at(-1) ?? 0];
    const places = (moments) => moments.filter(({ timestamp }) => timestamp >= from && timestamp <= to).map(({ timestamp }) => Math.round(valToPos(timestamp, "x", true)));
    ctx.save();
    ctx.fillStyle = colour("trouble");
    for (const x of places(this.events)) ctx.fillRect(x - 1, bbox.top + bbox.height - 8, 8, 8);
    ctx.fillStyle = colour("plot-mark");
    for (const x of places(this.marks)) {
      ctx.fillRect(x - 1, bbox.top, 2, bbox.height);
      ctx.fillRect(x - 1, bbox.top, 8, 8);
    }
    ctx.restore();
  }
}

// 1, 2 or 5 times a power of ten: uPlot's own steps end at 10^16.
function step(low, high) {
  const rough = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * (rough >= 5 * power ? 5 : rough >= 2 * power ? 2 : 1);
}

// Rounded outwards, so that the scale stands still while the values move a little.
function around(low, high) {
  if (low === null || high === null) return [-1, 1];
  if (low === high) return [low - Math.max(1, Math.abs(low) / 2), high + Math.max(1, Math.abs(high) / 2)];
  const size = step(low, high);
  return [Math.floor(low / size) * size, Math.ceil(high / size) * size];
}

/** The lowest and the highest value always, and the steps between them if there is room. */
function between(low, high, height) {
  const size = step(low, high);
  const splits = [];
  for (let n = Math.ceil(low / size - 1e-6); n * size <= high + size * 1e-6 && splits.length < 8; n++) splits.push(n * size);
  return splits.length * LABEL_HEIGHT <= height ? splits : [low, high];
}

/** The columns of a plot. True is 1, false 0; texts have no line. */
function plotted({ times, joints }, name) {
  const { observation, action } = joints.get(name);
  return [times, ...[observation, action].map((column) => (column.every(isNumber) ? column : column.map(numberOf)))];
}

/** The label of this time is not cut off at the right edge. */
const fits = (plot, at) => plot.valToPos(at, "x") + LABEL_WIDTH / 2 <= plot.over.clientWidth + RIGHT;
const hasNumbers = ({ data: [, ...columns] }) => columns.some((column) => column.some((value) => value !== null));

const isNumber = (value) => value === null || typeof value === "number";
const numberOf = (value) => (value === null || typeof value === "string" ? null : Number(value));

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const label = (value) => (Math.abs(value) >= 1e5 ? value.toExponential(0) : String(+value.toPrecision(4)));
