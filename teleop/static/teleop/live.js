// The live page: the last 30 s of one robot, from /ws/live/<robot_id>. What the socket has not brought (frames from
// before the page was opened, those a slow browser missed) is read from where it is stored.
//
// For tests and the curious: `page.series()` is what is plotted.

import * as api from "./api.js";
import { Chooser } from "./chooser.js";
import { inWords as eventInWords } from "./events.js";
import { GroupBar } from "./groupbar.js";
import { keyOf } from "./keys.js";
import { Marks } from "./marks.js";
import { Cameras } from "./previews.js";
import { Recent } from "./recent.js";
import { RobotStatus } from "./robotstatus.js";
import { Rows, timeOfDay } from "./rows.js";
import { Servo } from "./servo.js";
import { follow } from "./socket.js";

const WINDOW_S = 30;
const MOST_JOINTS = 64;
const PAGE_FRAMES = 1000;
const MOST_PAGES = 10;
const LATE_MS = 500;
const LOW_SHARE = 0.8;
const EVENTS_WAIT_MS = 5000;
const MOST_EVENTS = 3; // that are told; the replay has all
const FIRST_PICTURE_MS = 10_000;

const $ = (id) => document.getElementById(id);
const robot = $("live").dataset.robot;
const recent = new Recent(WINDOW_S);
const servo = new Servo($("servo"));
const away = new RobotStatus($("away"), robot);
const hidden = new Set(new URLSearchParams(location.search).getAll("hide"));
const rows = new Rows($("rows"), WINDOW_S, (time) => {
  pointed = time;
  $("time").textContent = time === null ? "" : timeOfDay(time);
});
const cameras = new Cameras($("previews"), $("camera"));
const groups = new GroupBar($("groups"), () => plotChosen());
const chooser = new Chooser($("joints"), { hidden, colourOf: (name) => rows.colourOf(name), onChange: choose });
let session = null;
let pointed = null;
let isPaused = false;
let isNew = true; // nothing was heard on this connection yet
let counted = 0; // frames committed, as was last heard
let isLive = false;
let events = []; // of the session, in the order in which they were stored
let onlineSince = null;

const marks = new Marks({
  moment: () => pointed ?? rows.shown.times.at(-1),
  onChange: (all) => {
    rows.marks = all;
    rows.redraw();
  },
});

function hear(answer) {
  const { session_id, fps, frame_count, frames, missed } = answer;
  isLive = Boolean(session_id);
  servo.hear(answer);
  if (isLive && session_id !== session) begin(session_id);
  if (session) {
    const next = recent.nextIndex(session);
    // Indexes are as high as the count at least; higher where frames are missing, and then more is read than is shown.
    if (isNew) fill(session, Math.max(next, (frame_count ?? 0) - WINDOW_S * (fps ?? 60)));
    // Frames that are committed and were not heard came before the robot's worker knew that somebody watches.
    else if (missed || (!frames.length && frame_count > counted)) fill(session, next, frames[0]?.[0]);
    isNew = false;
    counted = frame_count ?? 0;
    recent.add(session, frames);
  }
  write(answer);
  if (!isPaused) draw();
}

function begin(session_id) {
  session = session_id;
  isNew = true;
  $("replay").hidden = false;
  $("replay").href = `/sessions/${session_id}/replay`;
  events = [];
  tell();
  marks.of(session_id);
  readEvents();
}

/** What the robot reported since the last look. */
async function readEvents() {
  const [of, known] = [session, events];
  try {
    const { results } = await api.get(`/sessions/${of}/events?after_id=${known.at(-1)?.id ?? 0}&limit=1000`);
    if (!results.length || events !== known) return; // another session, or another look that was faster
    events = [...known, ...results];
    if (results.some(({ kind }) => kind === "mark")) marks.read();
    tell();
  } catch {
    // the next look may have an answer
  }
}

/** The newest events in words, and all on the plots. */
function tell() {
  const told = events.filter(({ kind }) => kind !== "mark").sort((a, b) => a.timestamp - b.timestamp);
  $("events").replaceChildren(...told.slice(-MOST_EVENTS).reverse().map((event) => {
    const [item, time] = ["li", "time"].map((tag) => document.createElement(tag));
    time.textContent = timeOfDay(event.timestamp);
    item.append(time, ` ${eventInWords(event)}`);
    item.title = item.textContent;
    return item;
  }));
  rows.events = told;
  rows.redraw();
}

async function watchEvents() {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVENTS_WAIT_MS));
    if (isLive && !document.hidden) await readEvents();
  }
}

async function fill(of, start, stop) {
  if (stop !== undefined && stop <= start) return;
  const query = new URLSearchParams({ start, limit: PAGE_FRAMES });
  if (stop !== undefined) query.set("stop", stop);
  try {
    let url = `/sessions/${of}/frames?${query}`;
    for (let pages = 0; url && pages < MOST_PAGES; pages++) {
      const { results, next } = await api.get(url);
      recent.fill(of, results.map(({ frame_index, timestamp, ...data }) => [frame_index, timestamp, data]));
      url = next;
    }
  } catch {
    return; // the gap is drawn as what it is; what comes next is not held up by it
  }
  if (!isPaused) draw();
}

function write({ status, session_id, task, fps, rate_hz, ack_lag_ms, frame_count }) {
  $("status").textContent = status;
  $("status").dataset.status = status;
  $("task").textContent = $("task").title = task ?? "";
  const isSlow = rate_hz !== null && rate_hz < LOW_SHARE * fps;
  $("rate").textContent = rate_hz === null ? "–" : `${rate_hz.toFixed(1)} ${isSlow ? `of ${fps} ` : ""}Hz`;
  $("rate").classList.toggle("trouble", isSlow);
  $("lag").textContent = ack_lag_ms === null ? "–" : `${Math.round(ack_lag_ms)} ms`;
  $("lag").classList.toggle("trouble", ack_lag_ms > LATE_MS);
  $("frames").textContent = frame_count?.toLocaleString("en") ?? "–";
  if ($("mark")) $("mark").disabled = !session;
  $("nothing").textContent = inWords(status, session_id);
  away.isShown = !session_id || status === "error";
  onlineSince = status === "offline" ? null : (onlineSince ?? performance.now());
  $("no-preview").textContent = cameras.size ? "" : whyNoPreview();
}

function whyNoPreview() {
  if (onlineSince === null || performance.now() - onlineSince < FIRST_PICTURE_MS) return "";
  return "No preview: the robot's program sends no pictures of cameras.";
}

function inWords(status, session_id) {
  if (!recent.last) {
    if (status === "offline") return "The robot is offline. Its frames appear here when it reconnects.";
    return session_id ? "Connected; no frames yet." : "The robot has no live session.";
  }
  if (!rows.shown.joints.size) return "The frames have no values.";
  return $("rows").childElementCount ? "" : "All joints are hidden or folded.";
}

function draw() {
  const columns = servo.take(recent.columns());
  const names = [...columns.joints.keys()].slice(0, MOST_JOINTS);
  groups.show(names);
  plotChosen(columns, names);
  chooser.show(names);
  const missing = recent.frames.reduce((sum, frame, at, all) => sum + missingBetween(all[at - 1], frame), 0);
  $("missing").textContent = recent.last ? missing : "–";
  $("missing").classList.toggle("trouble", missing > 0);
}

const missingBetween = (a, b) => (a?.session === b.session ? Math.max(0, b.index - a.index - 1) : 0);

/** The plots of joints that are neither hidden nor in a folded group. */
function plotChosen(columns = rows.shown, names = chooser.names) {
  rows.show(columns, (name) => names.includes(name) && !hidden.has(name) && !groups.isFolded(name));
}

function choose() {
  const query = new URLSearchParams([...hidden].map((name) => ["hide", name]));
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  plotChosen();
}

function pause() {
  isPaused = !isPaused;
  $("pause").setAttribute("aria-pressed", isPaused);
  $("pause").textContent = isPaused ? "Resume" : "Pause";
  if (!isPaused) draw();
}

$("pause").addEventListener("click", pause);
document.addEventListener("keydown", (event) => {
  const key = keyOf(event);
  if (event.target.closest("input, textarea, button, summary, a")) return;
  if (key === " ") pause();
  else if (key === "m" && session) marks.begin();
  else return;
  event.preventDefault();
});

follow(`/ws/live/${robot}`, $("connection"), {
  onAnswer: hear,
  onPicture: (picture) => cameras.show(picture),
  onLost: () => (isNew = true),
}).want([robot]);
watchEvents();
window.page = {
  series: () => ({ ...rows.shown, joints: Object.fromEntries(rows.shown.joints), marks: rows.marks, events: rows.events }),
};
