// What is known of a session: when, how long, how good, what was marked and reported.

import { clockTime } from "./joints.js";
import { local, utc } from "./localtime.js";
import { KINDS, inWords as servoInWords } from "./servo.js";

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const DAY = 86400;
const MOST_STEPS = 3; // that the page describes
const share = (value) => `${(100 * value).toFixed(1)} %`;

/** Of the quality: its words, how each number is told, what it means, and the name of its judgement if that differs. */
const QUALITY = {
  idle_share: ["Idle", share, "Share of the time in which no joint moves"],
  jerk: ["Jerk", (value) => `${SHORT.format(value)} /s³`, "Root mean square of the third derivative; lower is smoother"],
  fps_jitter: ["Jitter", share, "Standard deviation of the frame interval, relative to the nominal interval"],
  missing_frames: ["Missing", (value) => NUMBER.format(value), "Number of frame indexes that are not stored"],
  clock_steps: ["Clock steps", (steps) => NUMBER.format(steps.length), "Steps of the robot's clock; the other values leave them out"],
  duration_ratio: ["Duration", (value) => `${value.toFixed(2)} ×`, "Relative to the median of the task's other sessions", "duration_s"],
};

export function showFacts(element, session) {
  const start = new Date(session.start_time);
  const when = document.createElement("time");
  Object.assign(when, { dateTime: session.start_time, textContent: local(start), title: utc(start) });
  const facts = [
    when,
    session.live ? "recording now" : clockTime(session.duration_s, 1),
    `${NUMBER.format(session.frame_count)} frames`,
    session.effective_fps === null ? `${session.fps} fps` : `${session.effective_fps.toFixed(2)} of ${session.fps} fps`,
    session.missing_frames ? `${NUMBER.format(session.missing_frames)} missing` : "",
  ];
  element.replaceChildren(...facts.filter(Boolean).map((fact) => part("span", fact)));
}

/** Each number, and whether it is usual for the task: a word, a colour, and the usual range beside an unusual one. */
export function showQuality(element, { quality, judgement = {}, usual_ranges = {} }) {
  element.querySelector(".unknown").hidden = Boolean(quality);
  const list = element.querySelector("dl");
  list.replaceChildren();
  for (const [name, [label, inWords, help, judged = name]] of Object.entries(quality ? QUALITY : {})) {
    const value = quality[name];
    const row = fact(label, value === null || value === undefined ? "–" : inWords(value), help);
    row.title = [help, usualRange(name, usual_ranges[judged], inWords)].filter(Boolean).join(". ");
    if (["high", "low"].includes(judgement[judged])) judge(row, judgement[judged], usualRange(name, usual_ranges[judged], inWords));
    list.append(row);
  }
  for (const kind of KINDS.filter((each) => quality?.servo_health?.[each])) {
    const { frames_over, min, max } = quality.servo_health[kind];
    const over = frames_over ? `; over the limit in ${NUMBER.format(frames_over)} frames` : "";
    const range = min === max ? servoInWords(kind, max) : `${servoInWords(kind, min)} to ${servoInWords(kind, max)}`;
    list.append(fact(`Motors' ${kind}`, `${range}${over}`, "Least and greatest value of all motors"));
  }
  for (const [camera, faults] of Object.entries(quality?.camera_faults ?? {})) {
    const counts = Object.entries(faults).map(([fault, count]) => (count > 1 ? `${fault} ${count} times` : fault));
    list.append(fact(`Camera ${camera}`, counts.join(", "), "Faults that the robot reported"));
  }
  for (const why of quality?.limits_ignored ?? []) list.append(fact("Ignored", why, "A limit in a meta_info that cannot be used"));
}

function judge(row, word, range) {
  row.dataset.judgement = word;
  const sign = part("b", word === "high" ? "▲ high" : "▼ low");
  row.lastChild.prepend(sign, " ");
  if (range) row.lastChild.append(part("small", range));
}

/** In the words of the number; a duration's range is in seconds, as ratios have none. */
function usualRange(name, range, inWords) {
  if (!range) return "";
  const [low, high] = range.map(name === "duration_ratio" ? (value) => `${SHORT.format(value)} s` : inWords);
  return `usual: ${low} to ${high}`;
}

function fact(label, value, help) {
  const row = part("div", part("dt", label), part("dd", value));
  row.title = help;
  return row;
}

/** A list of moments that seek: {timestamp, text}. */
export function showMoments(element, moments, timeline, seek) {
  element.hidden = !moments.length;
  element.querySelector("ul").replaceChildren(
    ...moments.map(({ timestamp, text }) => {
      const time = timeline.within(timestamp);
      const button = part("button", part("span", clockTime(time, 1)), ` ${text}`);
      Object.assign(button, { type: "button", title: text });
      button.addEventListener("click", () => seek(time));
      return part("li", button);
    }),
  );
}

/** Sentences about the steps of the robot's clock. */
export function clockNotes(steps, timeline) {
  if (!steps.length) return [];
  const notes = steps.slice(0, MOST_STEPS).map(({ frame_index, timestamp, step_s }) => {
    const how = step_s < 0 ? `back by ${size(-step_s)}` : `ahead by ${size(step_s)} (or nothing was recorded for that time)`;
    return `The robot's clock stepped ${how} at ${clockTime(timeline.timeOfFrame(frame_index, timestamp), 1)}, frame ${frame_index}.`;
  });
  if (steps.length > MOST_STEPS) notes.push(`It stepped ${steps.length - MOST_STEPS} more times.`);
  return [...notes, "The times on this page leave the steps out."];
}

function size(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return seconds < 2 * DAY ? clockTime(seconds, 0) : `${Math.round(seconds / DAY)} days`;
}

function part(kind, ...content) {
  const element = document.createElement(kind);
  element.append(...content);
  return element;
}
