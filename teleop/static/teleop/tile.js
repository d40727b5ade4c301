// A robot on the fleet page: its words, and a small graph of its joints over the last half minute.

import { colour, jointColour } from "./plot.js";
import { draw, isOld } from "./previews.js";

const WINDOW_MS = 30_000;
const GAP_MS = 1500; // news comes four times a second: what is further apart is not joined by a line
const LATE_MS = 500;
const LOW_SHARE = 0.8; // of the session's own rate
const TROUBLE_STAYS_MS = 10_000; // what comes and goes within seconds would make tiles jump
const LARGEST = 1e300; // the difference of two such is finite

const template = document.querySelector("#tile");
const bounded = (value) => (value === null ? null : Math.min(Math.max(value, -LARGEST), LARGEST));
const count = new Intl.NumberFormat("en");

export class Tile {
  constructor(id) {
    this.id = id;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.dataset.robot = id;
    this.isDrawn = false;
    this._parts = new Map([...this.element.querySelectorAll("[class]")].map((part) => [part.classList[0], part]));
    this._canvas = this.element.querySelector("canvas");
    this._samples = []; // [ms, values]
    this._troubleUntil = 0;
    for (const link of this.element.querySelectorAll("[data-to=live]")) link.href = `/robots/${id}/live`;
    // The admin writes _ of a key as _5F.
    this.element.querySelector("[data-to=admin]").href = `/admin/robots/robot/${id.replaceAll("_", "_5F")}/change/`;
  }

  hear(robot, now) {
    this._robot = robot;
    const trouble = this._trouble(robot);
    if (trouble) [this._troubleUntil, this._why] = [now + TROUBLE_STAYS_MS, trouble];
    this.status = robot.status === "online" && now < this._troubleUntil ? "trouble" : robot.status;
    if (robot.values?.length) {
      this._samples.push([now, robot.values.map(bounded)]);
      const old = this._samples.findIndex(([at]) => at > now - WINDOW_MS);
      this._samples.splice(0, Math.max(old - 1, 0));
    }
    if (this.element.dataset.status !== this.status) this.element.dataset.status = this.status;
    this.isDrawn = false;
  }

  matches(text) {
    const { id, name, robot_type, task } = this._robot;
    return [id, name, robot_type, task].some((each) => each?.toLowerCase().includes(text));
  }

  _trouble({ status, rate_hz, ack_lag_ms, fps }) {
    if (status !== "online") return "";
    if (ack_lag_ms > LATE_MS) return "late acks";
    return rate_hz !== null && rate_hz < LOW_SHARE * fps ? "low rate" : "";
  }

  /** The words, of a tile that nobody sees too: it is found by searching the page. */
  write() {
    const { id, name, task, rate_hz, ack_lag_ms, frame_count, session_id, last_heartbeat, last_error } = this._robot;
    this._say("name", name || id);
    this._say("id", name ? id : "");
    this._say("status", this.status === "trouble" ? this._why : this.status).dataset.status = this.status;
    this.element.dataset.trouble = this.status === "trouble" ? this._why : "";
    this._say("task", task ?? (session_id ? "no task" : "")).title = task ?? "";
    this._say("rate", typeof rate_hz === "number" ? `${rate_hz.toFixed(1)} Hz` : "");
    this._say("lag", typeof ack_lag_ms === "number" ? `ack ${duration(ack_lag_ms)}` : "");
    this._say("frames", frame_count === null ? "" : `${count.format(frame_count)} frames`);
    this._say("silent", this._samples.length ? "" : `last heartbeat: ${ago(last_heartbeat)}`);
    this._say("error", last_error ? `${ago(last_error.at)}: ${last_error.detail || last_error.code}` : "").title =
      last_error ? `${last_error.code}: ${last_error.detail}` : "";
    this._parts.get("picture").classList.toggle("old", Boolean(this._picture) && isOld(this._picture));
    const replay = this._say("replay", session_id ? `Session ${session_id}` : "");
    if (session_id) replay.href = `/sessions/${session_id}/replay`;
  }

  async show(picture) {
    this._picture = picture;
    const canvas = this._parts.get("picture");
    canvas.setAttribute("aria-label", `Camera ${picture.camera}`);
    canvas.title = picture.camera;
    await draw(canvas, picture);
    canvas.hidden = false;
  }

  _say(part, text) {
    const element = this._parts.get(part);
    if (element.textContent !== text) element.textContent = text;
    return element;
  }

  draw() {
    if (this.isDrawn) return;
    this.isDrawn = true;
    const { clientWidth: width, clientHeight: height } = this._canvas;
    const context = this._canvas.getContext("2d");
    const scale = devicePixelRatio;
    if (this._canvas.width !== Math.round(width * scale)) this._canvas.width = Math.round(width * scale);
    if (this._canvas.height !== Math.round(height * scale)) this._canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this._samples.length) return;
    const all = this._samples.flatMap(([, values]) => values).filter((value) => value !== null);
    const low = Math.min(...all);
    const high = Math.max(...all);
    const end = this._samples.at(-1)[0];
    const x = (at) => width * (1 - (end - at) / WINDOW_MS);
    const y = (value) => (high > low ? 2 + (height - 4) * ((high - value) / (high - low)) : height / 2);
    context.lineJoin = "bevel"; // thin lines without round joins: a browser that draws in software has 36 tiles to do
    const joints = Math.max(...this._samples.map(([, values]) => values.length));
    for (let joint = 0; joint < joints; joint++) {
      context.strokeStyle = this.status === "offline" ? colour("off") : jointColour(joint);
      context.beginPath();
      let before = -Infinity;
      for (const [at, { [joint]: value }] of this._samples) {
        if (value === undefined || value === null) continue;
        context[at - before > GAP_MS ? "moveTo" : "lineTo"](x(at), y(value));
        before = at;
      }
      context.stroke();
    }
  }
}

const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

function ago(moment) {
  if (!moment) return "never";
  const seconds = Math.max(0, (Date.now() - Date.parse(moment)) / 1000);
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return "just now";
}
