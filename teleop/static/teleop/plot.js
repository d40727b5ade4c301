// uPlot in the page's colours: observation solid, action dashed, a colour a joint.

import uPlot from "../vendor/uplot-1.6.32/uPlot.esm.js";

const COLOURS = 8; // --joint-0 .. --joint-7 in page.css
const probe = document.createElement("i");
const colours = new Map();
const themed = new Set(); // what is drawn again when the theme changes

// The colour of a CSS variable as it is now. The browser computes it, as the variable holds light and dark; that
// takes a pass over the page's styles, so it is done once a theme.
export function colour(variable) {
  if (!colours.has(variable)) {
    if (!probe.isConnected) document.body.append(probe);
    probe.hidden = true;
    probe.style.color = `var(--${variable})`;
    colours.set(variable, getComputedStyle(probe).color);
  }
  return colours.get(variable);
}

export const jointVariable = (number) => `joint-${number % COLOURS}`;
export const jointColour = (number) => colour(jointVariable(number));

export function onTheme(redraw) {
  themed.add(redraw);
  return () => themed.delete(redraw);
}

function changed() {
  colours.clear();
  for (const redraw of themed) redraw();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
new MutationObserver(changed).observe(document.documentElement, { attributeFilter: ["data-theme"] });

// A number as short as it can be told: 12.34, 1.0e+30. True, false and texts are told as they are.
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(1);
  return value.toFixed(size < 10 ? 3 : size < 100 ? 2 : 1);
}

export const observation = (label, number) => series(label, number);
export const action = (label, number) => series(label, number, { dash: [5, 4], alpha: 0.75 });

function series(label, number, options = {}) {
  return { label, stroke: () => jointColour(number), width: 1.5, points: { show: false }, spanGaps: false, ...options };
}

export function axis(options = {}) {
  const grid = { stroke: () => colour("plot-grid"), width: 1 };
  return { stroke: () => colour("plot-axis"), font: "11px system-ui", grid, ticks: grid, ...options };
}

// Shades [from, to] pairs of x under the lines, as where frames are missing.
export function bands(pairs) {
  const drawClear = (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = colour("plot-gap");
    for (const [from, to] of pairs()) {
      const left = plot.valToPos(from, "x", true);
      const width = Math.max(plot.valToPos(to, "x", true) - left, devicePixelRatio);
      ctx.fillRect(left, bbox.top, width, bbox.height);
    }
    ctx.restore();
  };
  return { hooks: { drawClear } };
}

// A line at each of these x, as at a mark.
export function flags(places) {
  const draw = ({ ctx, bbox, valToPos, scales }) => {
    ctx.save();
    ctx.fillStyle = colour("plot-mark");
    ctx.globalAlpha = 0.6;
    for (const at of places())
      if (at >= scales.x.min && at <= scales.x.max) ctx.fillRect(Math.round(valToPos(at, "x", true)) - 0.5, bbox.top, devicePixelRatio, bbox.height);
    ctx.restore();
  };
  return { hooks: { draw } };
}

// A uPlot that fills `element`, follows its size and the theme; `destroy()` takes it away with its observers.
export function plotIn(element, options, data) {
  const size = () => ({ width: Math.max(element.clientWidth, 1), height: Math.max(element.clientHeight, 1) });
  const plot = new uPlot({ legend: { show: false }, ...options, ...size() }, data, element);
  const resized = new ResizeObserver(() => plot.setSize(size()));
  resized.observe(element);
  const forget = onTheme(() => plot.redraw(false, true));
  const destroy = plot.destroy.bind(plot);
  plot.destroy = () => {
    resized.disconnect();
    forget();
    destroy();
  };
  return plot;
}

export { uPlot };
