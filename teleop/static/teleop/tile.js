// A robot on the fleet page: its words, and a small graph of its joints over the last half minute.

import { MiniGraph, WINDOW_S } from "./minigraph.js";
import { draw, isOld } from "./previews.js";
import { readStored } from "./storedgraph.js";

const LATE_MS = 500;
const LOW_SHARE = 0.8; // of the session's own rate
const TROUBLE_STAYS_MS = 10_000; // what comes and goes within seconds would make tiles jump

const template = document.querySelector("#tile");
const count = new Intl.NumberFormat("en");

export class Tile {
  constructor(id) {
    this.id = id;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.dataset.robot = id;
    this.isDrawn = false;
    this.writtenAt = -Infinity;
    this._parts = new Map([...this.element.querySelectorAll("[class]")].map((part) => [part.classList[0], part]));
    this._texts = new Map(); // what is written
    this._graph = new MiniGraph(this.element.querySelector(".graph canvas"));
    this._robot = {};
    this._troubleUntil = 0;
    this._isFilled = false;
    for (const link of this.element.querySelectorAll("[data-to=live]")) link.href = `/robots/${id}/live`;
    // The admin writes _ of a key as _5F.
    this.element.querySelector("[data-to=admin]").href = `/admin/robots/robot/${id.replaceAll("_", "_5F")}/change/`;
  }

  /** Takes the robot of an answer, or those of its fields that are live. */
  hear(robot, now) {
    Object.assign(this._robot, robot);
    const trouble = troubleOf(this._robot);
    if (trouble) [this._troubleUntil, this._trouble] = [now + TROUBLE_STAYS_MS, trouble];
    const { status, values } = this._robot;
    this.status = status === "online" && now < this._troubleUntil ? "trouble" : status;
    if (values?.some((value) => value !== null)) {
      if (this._graph.isEmpty) this.writtenAt = -Infinity; // the words in its place have to go
      this._graph.add(now, values);
    }
    if (this.element.dataset.status !== this.status) {
      this.element.dataset.status = this.status;
      this.writtenAt = -Infinity;
    }
    this.isDrawn = false;
  }

  /** The robot sends, and its stored frames were not read yet. */
  get isUnfilled() {
    return !this._isFilled && Boolean(this._robot.frame_count) && !this._graph.isEmpty;
  }

  async fill() {
    this._isFilled = true;
    try {
      this._graph.fill(await readStored(this._robot, WINDOW_S, performance.now()));
      this.isDrawn = false;
    } catch {
      // The graph begins where the page was opened.
    }
  }

  matches(text) {
    const { id, name, robot_type, task } = this._robot;
    return [id, name, robot_type, task].some((each) => each?.toLowerCase().includes(text));
  }

  /** The words, of a tile that nobody sees too: it is found by searching the page. */
  write() {
    this.writtenAt = performance.now();
    const { id, name, task, rate_hz, ack_lag_ms, frame_count, session_id, last_error } = this._robot;
    const { word, measure } = this.status === "trouble" ? this._trouble : { word: this.status, measure: "" };
    this._say("name", name || id).title = name || id;
    this._say("id", name ? id : "");
    this._say("status", [word, measure].filter(Boolean).join(", ")).dataset.status = this.status;
    this.element.dataset.trouble = this.status === "trouble" ? word : "";
    this._say("task", task ?? (session_id ? "no task" : "")).title = task ?? "";
    this._say("rate", typeof rate_hz === "number" ? `${rate_hz.toFixed(1)} Hz` : "");
    this._say("lag", typeof ack_lag_ms === "number" ? `ack ${duration(ack_lag_ms)}` : "");
    this._say("frames", frame_count === null ? "" : `${count.format(frame_count)} ${frame_count === 1 ? "frame" : "frames"}`);
    this._say("silent", this._graph.isEmpty ? this._whyEmpty() : "");
    this._say("error", last_error ? `Last error ${ago(last_error.at)}: ${last_error.detail || last_error.code}` : "").title =
      last_error ? `${last_error.code}: ${last_error.detail}` : "";
    this._parts.get("picture").classList.toggle("old", Boolean(this._picture) && isOld(this._picture));
    const replay = this._say("replay", session_id ? `Session ${session_id}` : "");
    if (session_id) replay.href = `/sessions/${session_id}/replay`;
  }

  _whyEmpty() {
    const { rate_hz, frame_count, last_heartbeat } = this._robot;
    if (typeof rate_hz === "number" && frame_count) return "no numbers to plot";
    return `last heartbeat: ${ago(last_heartbeat)}`;
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
    if (this._texts.get(part) !== text) {
      this._texts.set(part, text);
      element.textContent = text;
    }
    return element;
  }

  draw() {
    if (this.isDrawn) return;
    this.isDrawn = true;
    this._graph.draw(this.status === "offline");
  }

  changeTheme() {
    this._graph.reset();
    this.isDrawn = false;
  }
}

/** {word, measure}, or null. */
function troubleOf({ status, rate_hz, ack_lag_ms, fps }) {
  if (status !== "online") return null;
  if (ack_lag_ms > LATE_MS) return { word: "late acks", measure: duration(ack_lag_ms) };
  if (typeof rate_hz !== "number" || !(rate_hz < LOW_SHARE * fps)) return null;
  return { word: "low rate", measure: `${Math.round(rate_hz)} of ${fps} Hz` };
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
