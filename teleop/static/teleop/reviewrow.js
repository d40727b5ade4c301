// A session in the list of /review: picture, labels, speed of the joints, quality.

import { cameraName } from "./reviewquery.js";

const template = document.querySelector("#session");
const TIME = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat("en", { weekday: "short", month: "short", day: "numeric" });
const YEAR = new Intl.DateTimeFormat("en", { year: "numeric", month: "short", day: "numeric" });
const FULL = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "long" });
const NUMBERS = { idle_share: "idle share", jerk: "jerk", fps_jitter: "jitter", missing_frames: "missing frames", duration_s: "duration" };
const REASONS = {
  idle_share: { low: "little idle time", high: "much idle time" },
  jerk: { low: "low jerk", high: "high jerk" },
  fps_jitter: { low: "low jitter", high: "high jitter" },
  missing_frames: { low: "few missing frames", high: "many missing frames" },
  duration_s: { low: "short", high: "long" },
};
const LABELS = new Map([[true, "Success"], [false, "Failure"]]);
const WIDTH = 64;
const HEIGHT = 24;

/** "Today", "Yesterday", "Wed, Nov 25" or "Nov 25, 2025", in the reader's time zone. */
export function dayInWords(date, now = new Date()) {
  const days = Math.round((startOfDay(now) - startOfDay(date)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? DAY : YEAR).format(date);
}

const startOfDay = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());

export function length(seconds) {
  if (seconds === null) return "";
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const last = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${last}` : `${minutes}:${last}`;
}

export class Row {
  constructor(session, robots, links) {
    this.element = template.content.firstElementChild.cloneNode(true);
    this.robots = robots;
    this.element.dataset.session = session.id;
    this._parts = new Map([...this.element.querySelectorAll("[class]")].map((part) => [part.classList[0], part]));
    this.checkbox = this._parts.get("pick").querySelector("input");
    this.link = this._parts.get("task");
    for (const link of this.element.querySelectorAll("a")) link.href = `/sessions/${session.id}/replay${links ? `?${links}` : ""}`;
    this.update(session);
  }

  /** The labels as the page knows them; what is not of a label's type is not shown as one. */
  get labels() {
    const { task, success, tags, operator, note } = this.session.meta_info ?? {};
    return {
      task: typeof task === "string" ? task : null,
      success: typeof success === "boolean" ? success : null,
      tags: Array.isArray(tags) ? tags.filter((tag) => typeof tag === "string") : [],
      operator: typeof operator === "string" ? operator : null,
      note: typeof note === "string" ? note : null,
    };
  }

  update(session) {
    this.session = session;
    const { task, success, tags, operator, note } = this.labels;
    const name = `session ${session.id}`;
    this._say("task", task || (session.meta_info_left_out ? `Session ${session.id} (its labels are too large for this list)` : "No task")).title = task ?? "";
    this.link.classList.toggle("unknown", !task);
    this.link.setAttribute("aria-label", `${task || "No task"}, ${name}`);
    this.checkbox.setAttribute("aria-label", `Select ${name}`);
    this._parts.get("label").setAttribute("aria-label", `Label of ${name}`);
    this._say("robot", this.robots.get(session.robot) || session.robot).title = session.robot;
    this._say("operator", operator ? `by ${operator}` : "").title = operator ? `Operator: ${operator}` : "";
    this._say("note", note ?? "").title = note ?? "";
    this._say("id", `#${session.id}`);
    this._parts.get("tags").replaceChildren(...tags.map(tagOf));
    this._parts.get("tags").hidden = !tags.length;
    this._showTime();
    this._showPicture();
    this._showLabel(success);
    this._showQuality();
    this._parts.get("spark").replaceChildren(...sparkline(session.sparkline));
  }

  _showTime() {
    const { start_time, duration_s, live } = this.session;
    const date = new Date(start_time);
    const time = this._say("time", TIME.format(date));
    Object.assign(time, { dateTime: start_time, title: FULL.format(date) });
    this._say("date", dayInWords(date));
    this._say("length", live ? "live" : length(duration_s)).classList.toggle("live", live);
  }

  _showPicture() {
    const { poster, cameras } = this.session;
    const image = this._parts.get("poster");
    image.hidden = !poster || image.dataset.lost === poster;
    if (poster && image.getAttribute("src") !== poster) image.src = poster;
    image.onerror = () => {
      image.dataset.lost = poster;
      image.hidden = true;
    };
    this._say("cameras", cameras.length > 1 ? `${cameras.length} cameras` : "").title = cameras.map(cameraName).join(", ");
  }

  _showLabel(success) {
    this.element.dataset.label = String(success);
    for (const button of this._parts.get("label").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === String(success)));
    }
    const word = this._parts.get("word");
    if (word) word.textContent = LABELS.get(success) ?? "No label";
  }

  _showQuality() {
    const { quality, judgement, live } = this.session;
    const overall = judgement?.overall ?? null;
    const reasons = Object.entries(REASONS).flatMap(([number, words]) => words[judgement?.[number]] ?? []);
    const status = this._say("status", overall ? capital(overall) : live ? "" : quality ? "Not compared" : "");
    status.dataset.judgement = overall ?? "";
    this._say("reasons", reasons.join(", "));
    const why = quality && !overall ? "Too few sessions of this task to know what is usual" : "";
    this._parts.get("quality").title = [why, ...numbers(quality)].filter(Boolean).join("\n");
  }

  _say(part, text) {
    const element = this._parts.get(part);
    if (element.textContent !== text) element.textContent = text;
    return element;
  }
}

function tagOf(tag) {
  const element = document.createElement("span");
  Object.assign(element, { className: "tag", textContent: tag, dir: "auto", title: tag });
  return element;
}

function numbers(quality) {
  if (!quality) return [];
  const value = (number) => (typeof quality[number] === "number" ? Number(quality[number].toPrecision(3)) : "–");
  return Object.entries(NUMBERS).map(([number, word]) => `${word}: ${value(number)}`);
}

/** An area of the values (0 to 255); nothing if there are none. */
function sparkline(values) {
  if (!values?.length) return [];
  const step = WIDTH / Math.max(values.length - 1, 1);
  const points = values.map((value, place) => `${(place * step).toFixed(1)},${(HEIGHT - 1 - (value / 255) * (HEIGHT - 2)).toFixed(1)}`);
  const line = points.join("L");
  return [path("area", `M0,${HEIGHT}L${line}L${WIDTH},${HEIGHT}Z`), path("line", `M${line}`)];
}

function path(name, d) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
  element.setAttribute("class", name);
  element.setAttribute("d", d);
  return element;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
