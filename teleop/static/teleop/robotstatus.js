// What is known of a robot without a live session: its last heartbeat, last error and last sessions, read by REST.

import * as api from "./api.js";
import { local, utc } from "./localtime.js";

const READ_AGAIN_MS = 30_000;
const LABELS = new Map([[true, "success"], [false, "failure"]]);

export class RobotStatus {
  #isReading = false;
  #readAt = -Infinity;

  constructor(element, robot) {
    this.element = element;
    this.robot = robot;
  }

  /** Shows it, or not; reads it when it comes into sight, and again after half a minute. */
  set isShown(isShown) {
    if (isShown === !this.element.hidden && performance.now() - this.#readAt < READ_AGAIN_MS) return;
    if (!isShown) this.element.hidden = true;
    else if (!this.#isReading && !document.hidden) this.#read();
  }

  async #read() {
    this.#isReading = true;
    this.#readAt = performance.now();
    try {
      this.#write(await api.get(`/robots/${this.robot}/status`));
      this.element.hidden = false;
    } catch {
      // The page says that the connection is lost. The next look may have an answer.
    } finally {
      this.#isReading = false;
    }
  }

  #write({ last_heartbeat, last_error, last_sessions }) {
    this.#part("#heartbeat").replaceChildren(last_heartbeat ? moment(last_heartbeat) : "never");
    const error = this.#part("#last-error");
    error.classList.toggle("error", Boolean(last_error));
    error.replaceChildren(...(last_error ? [moment(last_error.at), ` ${last_error.detail || last_error.code}`] : ["none"]));
    this.#part("#last-sessions").replaceChildren(...last_sessions.map(item));
    this.#part("#no-sessions").hidden = last_sessions.length > 0;
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

function item({ id, start_time, duration_s, frame_count, meta_info }) {
  const [item, link, task] = ["li", "a", "span"].map((tag) => document.createElement(tag));
  Object.assign(link, { href: `/sessions/${id}/replay`, textContent: `Session ${id}` });
  const text = meta_info?.task;
  Object.assign(task, { className: "task", textContent: typeof text === "string" ? text : "no task" });
  const facts = [length(duration_s), frame_count === 1 ? "1 frame" : `${frame_count.toLocaleString("en")} frames`, LABELS.get(meta_info?.success)];
  item.append(moment(start_time), link, task, facts.filter(Boolean).join(", "));
  return item;
}

function moment(text) {
  const date = new Date(text);
  return Object.assign(document.createElement("time"), { dateTime: text, textContent: local(date), title: utc(date) });
}

function length(seconds) {
  if (seconds === null) return "";
  return seconds < 60 ? `${Math.max(seconds, 0).toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}
