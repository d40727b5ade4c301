// A small graph of a robot's joints over the last half minute. What is drawn moves to the left, and only the newest part
// is drawn anew: to draw all lines of 36 tiles each time took a fifth of a core.

import { colour, jointColour } from "./plot.js";

export const WINDOW_S = 30;
const WINDOW_MS = 1000 * WINDOW_S;
const GAP_MS = 2500; // robots that are not on the screen have a sample a second: what is further apart has no line
const LARGEST = 1e300; // the difference of two such is finite
const MARGIN = 2; // pixels

const bounded = (value) => (value === null ? null : Math.min(Math.max(value, -LARGEST), LARGEST));

export class MiniGraph {
  #samples = []; // [ms, values]
  #drawn = null; // {key, end, from}: how it was drawn, the moment at its right edge, and its last sample

  constructor(canvas) {
    this.canvas = canvas;
  }

  get isEmpty() {
    return !this.#samples.length;
  }

  add(now, values) {
    this.#samples.push([now, values.map(bounded)]);
    const recent = this.#samples.findIndex(([at]) => at > now - WINDOW_MS);
    this.#samples.splice(0, Math.max(recent - 1, 0));
  }

  /** Adds samples from before the first one. */
  fill(samples) {
    const [first] = this.#samples[0] ?? [Infinity];
    const older = samples.filter(([at]) => at < first).map(([at, values]) => [at, values.map(bounded)]);
    this.#samples.unshift(...older);
    this.reset();
  }

  /** Draws all again next time, as after a change of the theme. */
  reset() {
    this.#drawn = null;
  }

  draw(isGrey) {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((size) => Math.round(size * devicePixelRatio));
    if (canvas.width !== width || canvas.height !== height) {
      Object.assign(canvas, { width, height });
      this.#drawn = null;
    }
    if (this.isEmpty || !width) return;
    const range = this.#range();
    const key = [isGrey, ...range].join();
    const context = canvas.getContext("2d");
    const [end] = this.#samples.at(-1);
    const pixels = this.#drawn?.key === key ? Math.ceil(((end - this.#drawn.end) / WINDOW_MS) * width) : width;
    if (pixels < width) this.#shift(context, pixels);
    else context.clearRect(0, 0, width, height);
    const isAll = pixels >= width;
    const right = isAll ? end : this.#drawn.end + (pixels / width) * WINDOW_MS;
    this.#lines(context, isAll ? -Infinity : this.#drawn.from, range, right, isGrey);
    this.#drawn = { key, end: right, from: this.#samples.at(-1)[0] };
  }

  #shift(context, pixels) {
    if (!pixels) return;
    const { width, height } = this.canvas;
    context.globalCompositeOperation = "copy";
    context.drawImage(this.canvas, -pixels, 0);
    context.globalCompositeOperation = "source-over";
    context.clearRect(width - pixels, 0, pixels, height);
  }

  /** The lines from the sample at `from` on. */
  #lines(context, from, [low, high], right, isGrey) {
    const { width, height } = this.canvas;
    const x = (at) => width * (1 - (right - at) / WINDOW_MS);
    const y = (value) => (high > low ? MARGIN + (height - 2 * MARGIN) * ((high - value) / (high - low)) : height / 2);
    context.lineWidth = devicePixelRatio;
    context.lineJoin = "bevel"; // thin lines without round joins: a browser that draws in software has 36 tiles to do
    const samples = this.#samples.filter(([at]) => at >= from);
    const joints = Math.max(...samples.map(([, values]) => values.length));
    for (let joint = 0; joint < joints; joint++) {
      context.strokeStyle = isGrey ? colour("off") : jointColour(joint);
      context.beginPath();
      let before = -Infinity;
      for (const [at, { [joint]: value }] of samples) {
        if (value === undefined || value === null) continue;
        context[at - before > GAP_MS ? "moveTo" : "lineTo"](x(at), y(value));
        before = at;
      }
      context.stroke();
    }
  }

  /** The lowest and the highest value, with room: so the scale stands still while the values move a little. */
  #range() {
    let [low, high] = [Infinity, -Infinity];
    for (const [, values] of this.#samples) {
      for (const value of values) {
        if (value === null) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (!(high > low)) return [low, high];
    const step = 2 ** Math.floor(Math.log2((high - low) / 8));
    return [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  }
}
