// The replay of one session: videos of all cameras and plots of all joints on one clock.

import { clockNotes, showMoments } from "./about.js";
import { get } from "./api.js";
import { Cameras } from "./cameras.js";
import { Chooser } from "./chooser.js";
import { Clock } from "./clock.js";
import { controls, keys } from "./controls.js";
import { Drawing } from "./drawing.js";
import { inWords } from "./events.js";
import { Frames } from "./frames.js";
import { Joints } from "./joints.js";
import { keepNames, readNames } from "./keptnames.js";
import { MarkList } from "./marklist.js";
import { jointVariable } from "./plot.js";
import { jointsOf, View } from "./series.js";
import { SessionActions } from "./sessionactions.js";
import { Timeline } from "./timeline.js";
import { Track } from "./track.js";

const HIDDEN = "replay.hidden"; // key of the browser's storage
const POINTS = 2000;
const MOST_COLUMNS = 64;
const FEWEST_FRAMES = 10; // that a zoom shows
const ZOOM_WAIT_MS = 150;
const PREVIEW_WAIT_MS = 5000;
const page = document.querySelector(".replay");
const find = (selector) => page.querySelector(selector);
const path = `/sessions/${page.dataset.session}`;

start().catch((error) => say(`This session cannot be shown: ${error.message}`, "error"));

async function start() {
  const [session, picture, videos, events] = await Promise.all([get(path), readPicture(), readVideos(), readEvents()]);
  const timeline = new Timeline(picture.anchors, picture.gaps, videos, picture.clock_steps);
  const clock = new Clock(timeline.duration);
  const view = new View(timeline.duration, FEWEST_FRAMES / session.fps);
  const frames = new Frames(timeline, async (from, limit) => (await get(`${path}/frames?start=${from}&limit=${limit}`)).results);
  const parts = { clock, view, timeline, frames };
  const drawing = new Drawing(page, parts);
  parts.track = new Track(find(".track"), timeline, view, drawing.change);
  parts.joints = new Joints(find(".joints"), find(".texts"), timeline, view, drawing.change);
  parts.cameras = new Cameras(find(".cameras"), find(".shelf"), timeline, clock, session.fps, drawing.change);
  clock.addEventListener("change", drawing.change);
  view.addEventListener("change", drawing.change);

  const marks = new MarkList(find("section.marks"), path, {
    ...parts,
    onChange: (all) => showMarks(parts, all),
    onDone: (what, change) => actions.undo.noteMarks(what, change),
  });
  const actions = new SessionActions(page, session, marks);
  page.classList.toggle("without-video", !timeline.cameras.size);
  showEvents(session, events, parts);
  tellWhatIsMissing(session, timeline, picture);
  plots(parts.joints, view, timeline, picture);
  chooseJoints(parts.joints, drawing);
  controls(page, { ...parts, drawing });
  keys(page, parts, { ...actions.keys, ...marksKeys(marks), Escape: () => parts.cameras.enlarge(null) });
  clock.seek(Number(new URL(location).searchParams.get("t")) || 0);
  moment(clock);
  page.dataset.ready = "";
  actions.undo.tell();
  watchPreviews(timeline, parts.track, drawing);
}

/** All columns; of a robot with very many, those that are joints. */
async function readPicture(range = "") {
  try {
    return await get(`${path}/series?points=${POINTS}${range}${readPicture.fields ?? ""}`);
  } catch (error) {
    if (error.status !== 400 || readPicture.fields) throw error;
    const { joints } = await get(path);
    const names = Object.entries(joints).flatMap(([part, each]) => each.map((name) => `${part}.${name}`));
    readPicture.fields = `&fields=${encodeURIComponent(names.slice(0, MOST_COLUMNS))}`;
    return readPicture(range);
  }
}

async function readVideos() {
  const videos = [];
  for (let next = `/videos?session=${page.dataset.session}&limit=1000`; next; ) {
    const answer = await get(next);
    videos.push(...answer.results);
    next = answer.next;
  }
  return videos;
}

/** All other events of the robot: no session has more than a page of them. */
async function readEvents() {
  const { results } = await get(`${path}/events?limit=1000`);
  return results.filter(({ kind }) => kind !== "mark").map((event) => ({ ...event, text: inWords(event) }));
}

function showEvents(session, events, { timeline, clock, track }) {
  showMoments(find("section.events"), events, timeline, (time) => clock.seek(time));
  track.showEvents(events);
  find(".dropped").hidden = !session.events_dropped;
  find(".dropped").textContent = `${session.events_dropped} more were not stored.`;
}

function showMarks({ track, joints }, marks) {
  track.showMarks(marks);
  track.showTrims(marks);
  joints.showMarks(marks);
}

function marksKeys(marks) {
  return { m: () => marks.add(), i: () => marks.set("trim_start"), o: () => marks.set("trim_end"), j: () => marks.step(1), k: () => marks.step(-1) };
}

/** Looks again until all previews are made, at most a twentieth of the time. */
async function watchPreviews(timeline, track, drawing) {
  for (let wait = PREVIEW_WAIT_MS; timeline.isPending; ) {
    await new Promise((done) => setTimeout(done, wait));
    if (document.hidden) continue;
    const began = performance.now();
    const videos = await readVideos().catch(() => []); // the next look may have an answer
    wait = Math.max(PREVIEW_WAIT_MS, 20 * (performance.now() - began));
    timeline.update(videos);
    track.showFilms();
    drawing.change();
  }
}

/** The coarse picture at once; of what is zoomed into, its own. */
function plots(joints, view, timeline, whole) {
  joints.show(jointsOf(whole.series, timeline.origin));
  const depth = find(".depth");
  const tell = ({ stride }) => (depth.textContent = stride > 1 ? `1 of ${stride} frames; zoom in to see all` : "");
  tell(whole);
  let newest = 0;
  let timer;
  view.addEventListener("change", () => {
    clearTimeout(timer);
    const number = ++newest;
    const look = async () => {
      if (view.isWhole) return show(whole);
      const [from, to] = [view.from - view.width / 4, view.to + view.width / 4];
      const range = `&start=${timeline.indexAt(Math.max(from, 0))}&stop=${timeline.indexAt(to) + 2}`;
      const picture = await readPicture(range);
      if (number === newest) show(picture);
    };
    timer = setTimeout(() => look().catch((error) => say(`The plots could not be refined: ${error.message}`, "error")), ZOOM_WAIT_MS);
  });
  const show = (picture) => {
    joints.show(jointsOf(picture.series, timeline.origin));
    tell(picture);
  };
}

/** The browser keeps the joints that are hidden. */
function chooseJoints(joints, drawing) {
  const hidden = readNames(HIDDEN);
  const choose = () => {
    joints.choose(hidden);
    drawing.change();
  };
  const onChange = () => {
    keepNames(HIDDEN, hidden);
    choose();
  };
  const colourOf = (name) => `var(--${jointVariable(joints.names.indexOf(name))})`;
  new Chooser(find(".chooser"), { hidden, colourOf, onChange }).show(joints.names);
  choose();
}

/** The address has the moment, so that a link opens at it: rounded up, as a frame begins at its time. */
function moment(clock) {
  let timer;
  const write = () => {
    timer = undefined;
    const url = new URL(location);
    url.searchParams.set("t", String(Math.ceil(clock.time * 1e4) / 1e4));
    history.replaceState(null, "", url);
    if (clock.playing) note();
  };
  const note = () => (timer ??= setTimeout(write, clock.playing ? 1000 : 100)); // browsers allow few changes a second
  clock.addEventListener("change", note);
}

function tellWhatIsMissing(session, timeline, picture) {
  const notes = clockNotes(picture.clock_steps, timeline);
  if (session.live) notes.push("This session is still being recorded. The page shows what was stored when it was opened.");
  if (!timeline.anchors.length && !timeline.cameras.size) notes.push("The session has no frames and no video.");
  else if (!timeline.anchors.length) notes.push("The session has no frames, only video.");
  else if (!picture.series.length) notes.push("The frames contain no numbers to plot.");
  if (notes.length) say(notes.join(" "));
}

function say(text, kind = "warning") {
  const notice = find("#notice");
  Object.assign(notice, { textContent: text, hidden: false });
  notice.dataset.kind = kind;
}
