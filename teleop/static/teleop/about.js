// What is known of a session: when, how long, how good, what was marked.

import { clockTime } from "./joints.js";
import { local, utc } from "./localtime.js";

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const share = (value) => `${(100 * value).toFixed(1)} %`;

/** Of the quality: its words, and how each number is told. */
const QUALITY = {
  idle_share: ["Idle", share, "Share of the time in which no joint moves"],
  jerk: ["Jerk", (value) => `${SHORT.format(value)} /s³`, "Root mean square of the third difference; the lower the smoother"],
  fps_jitter: ["Jitter", share, "Spread of the intervals between frames, of the nominal one"],
  missing_frames: ["Missing", (value) => NUMBER.format(value), "Frame indexes that are not stored"],
  duration_ratio: ["Duration", (value) => `${value.toFixed(2)} ×`, "Of the median of the task's other sessions"],
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

export function showQuality(element, quality) {
  element.querySelector(".unknown").hidden = Boolean(quality);
  const list = element.querySelector("dl");
  list.replaceChildren();
  for (const [name, [label, inWords, help]] of Object.entries(quality ? QUALITY : {})) {
    const value = quality[name];
    const row = part("div", part("dt", label), part("dd", value === null || value === undefined ? "–" : inWords(value)));
    row.title = help;
    list.append(row);
  }
}

export function showMarks(element, marks, origin, seek) {
  element.hidden = !marks.length;
  element.querySelector("ul").replaceChildren(
    ...marks.map(({ timestamp, note, by }) => {
      const button = part("button", part("span", clockTime(Math.max(0, timestamp - origin), 1)), ` ${note || "Marked"}`);
      Object.assign(button, { type: "button", title: by ? `by ${by}` : "" });
      button.addEventListener("click", () => seek(timestamp - origin));
      return part("li", button);
    }),
  );
}

function part(kind, ...content) {
  const element = document.createElement(kind);
  element.append(...content);
  return element;
}
