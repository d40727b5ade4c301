// The replay of one session: videos of all cameras and plots of all joints on one clock.

import { clockNotes, showFacts, showMoments, showQuality } from "./about.js";
import { get } from "./api.js";
import { Cameras } from "./cameras.js";
import { Clock, RATES } from "./clock.js";
import { inWords } from "./events.js";
import { Frames } from "./frames.js";
import { clockTime, Joints } from "./joints.js";
import { Labels } from "./labels.js";
import { jointsOf, View } from "./series.js";
import { Timeline } from "./timeline.js";
import { Track } from "./track.js";
import { Trims } from "./trims.js";

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
  const track = new Track(find(".track"), timeline, view);
  const joints = new Joints(find(".joints"), timeline, view);
  const frames = new Frames(timeline, async (from, limit) => (await get(`${path}/frames?start=${from}&limit=${limit}`)).results);
  const draw = drawer({ clock, timeline, frames, joints, track, view });
  const cameras = new Cameras(find(".cameras"), find(".shelf"), timeline, clock, session.fps, draw);
  draw.cameras = cameras;
  clock.addEventListener("change", draw);
  view.addEventListener("change", draw);

  const showMarks = (marks) => {
    showMoments(find(".marks"), marks, timeline, (time) => clock.seek(time));
    track.showMarks(marks);
    track.showTrims(marks);
  };
  const trims = new Trims(find("section.marks"), path, { clock, frames, onChange: showMarks });
  const showSession = (newest) => {
    showFacts(find(".facts"), newest);
    showQuality(find(".quality"), newest.quality);
    trims.read().catch(() => {}); // the rest matters more
  };
  showSession(session);
  showMoments(find("section.events"), events, timeline, (time) => clock.seek(time));
  track.showEvents(events);
  find(".dropped").hidden = !session.events_dropped;
  find(".dropped").textContent = `${session.events_dropped} more were not stored.`;
  const labels = new Labels(find(".labels"), session, showSession);
  page.classList.toggle("without-video", !timeline.cameras.size);
  tellWhatIsMissing(session, timeline, picture);
  plots(joints, view, timeline, picture);
  controls({ clock, view, joints, track, timeline, frames });
  keys({ clock, view, labels, frames, cameras, trims });
  page.addEventListener("click", (event) => leave(event.target.closest("a[rel]"), labels, event));
  clock.seek(Number(new URL(location).searchParams.get("t")) || 0);
  moment(clock);
  page.dataset.ready = "";
  watchPreviews(timeline, track, draw);
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

/** Draws once a picture of the screen while something moves, and rests when nothing does. */
function drawer(parts) {
  let isDue = false;
  const draw = () => {
    if (!isDue) requestAnimationFrame(paint);
    isDue = true;
  };
  const paint = () => {
    isDue = false;
    const { clock, timeline, frames, joints, track, view } = parts;
    clock.tick();
    const { time } = clock;
    if (clock.playing) view.follow(time);
    draw.cameras.follow();
    const frame = frames.at(time);
    if (frame === undefined) frames.read(time).then(draw, () => {}); // until then the thinned values stand
    joints.showCursor(time);
    joints.showValues(time, frame);
    track.showCursor(time);
    find(".time").textContent = `${clockTime(time)} / ${clockTime(timeline.duration)}`;
    const index = frame?.index ?? timeline.indexAt(time);
    find(".frame").textContent = timeline.gapAt(time) ? "no frame at this time" : index === null ? "" : `frame ${index}`;
    const isSettled = frame !== undefined && draw.cameras.isSettled;
    page.dataset.state = clock.running ? "playing" : clock.playing ? "waiting" : isSettled ? "paused" : "seeking";
    find("[name=play]").ariaLabel = clock.playing ? "Pause" : "Play";
    find("[name=rate]").value = String(clock.rate);
    if (clock.playing || !isSettled) draw();
  };
  return draw;
}

/** Looks again until all previews are made, at most a twentieth of the time. */
async function watchPreviews(timeline, track, draw) {
  for (let wait = PREVIEW_WAIT_MS; timeline.isPending; ) {
    await new Promise((done) => setTimeout(done, wait));
    if (document.hidden) continue;
    const began = performance.now();
    const videos = await readVideos().catch(() => []); // the next look may have an answer
    wait = Math.max(PREVIEW_WAIT_MS, 20 * (performance.now() - began));
    timeline.update(videos);
    track.showFilms();
    draw();
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

function controls({ clock, view, joints, track }) {
  scrub(find(".joints"), (event) => joints.timeAt(event), clock, view);
  scrub(find(".track .area"), (event) => track.timeAt(event), clock);
  find(".joints").addEventListener("dblclick", () => view.show(0, view.whole));
  find(".joints").addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) return; // rows are scrolled
      event.preventDefault();
      view.zoom(2 ** (-event.deltaY / 200), joints.timeAt(event));
    },
    { passive: false },
  );
  find("[name=play]").addEventListener("click", () => clock.toggle());
  const rates = find("[name=rate]");
  rates.append(...RATES.map((rate) => new Option(`${rate}×`, rate)));
  rates.addEventListener("change", () => (clock.rate = Number(rates.value)));
  find("[name=in]").addEventListener("click", () => view.zoom(2, clock.time));
  find("[name=out]").addEventListener("click", () => view.zoom(0.5, clock.time));
  find("[name=all]").addEventListener("click", () => view.show(0, view.whole));
  find("[name=keys]").addEventListener("click", () => find(".keys").showModal());
}

/** The pointer leads the clock; with shift it marks what to zoom into. Who was playing plays on afterwards. */
function scrub(element, timeAt, clock, view) {
  element.addEventListener("pointerdown", (down) => {
    if (down.button || down.target.closest(".joint > :not(.plot)")) return;
    down.preventDefault();
    element.setPointerCapture(down.pointerId);
    const begin = timeAt(down);
    const wasPlaying = clock.playing;
    const isZoom = view && down.shiftKey;
    const move = (event) => !isZoom && clock.seek(timeAt(event));
    clock.pause();
    move(down);
    element.addEventListener("pointermove", move);
    element.addEventListener(
      "lostpointercapture",
      (up) => {
        element.removeEventListener("pointermove", move);
        const end = timeAt(up);
        if (isZoom && begin !== end) view.show(Math.min(begin, end), Math.max(begin, end));
        if (wasPlaying) clock.play();
      },
      { once: true },
    );
  });
}

function keys({ clock, view, labels, frames, cameras, trims }) {
  const step = async (steps) => {
    clock.pause();
    const frame = await frames.step(clock.time, steps);
    if (frame) clock.seek(frame.time);
  };
  const faster = (by) => (clock.rate = RATES[Math.min(Math.max(RATES.indexOf(clock.rate) + by, 0), RATES.length - 1)]);
  const does = {
    " ": () => clock.toggle(),
    ArrowLeft: (event) => clock.seek(clock.time - (event.shiftKey ? 10 : 1)),
    ArrowRight: (event) => clock.seek(clock.time + (event.shiftKey ? 10 : 1)),
    Home: () => clock.seek(0),
    End: () => clock.seek(clock.duration),
    ",": () => step(-1),
    ".": () => step(1),
    "[": () => faster(-1),
    "]": () => faster(1),
    "+": () => view.zoom(2, clock.time),
    "-": () => view.zoom(0.5, clock.time),
    0: () => view.show(0, view.whole),
    s: () => labels.set("success", true),
    f: () => labels.set("success", false),
    i: () => trims.set("trim_start"),
    o: () => trims.set("trim_end"),
    n: () => find("a[rel=next]")?.click(),
    p: () => find("a[rel=prev]")?.click(),
    "?": () => find(".keys").showModal(),
    Escape: () => cameras.enlarge(null),
  };
  addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input:not([type=radio]), textarea, select, dialog");
    const isPressing = event.key === " " && event.target.closest("button, a");
    if (isTyping || isPressing || event.ctrlKey || event.metaKey || event.altKey || !does[event.key]) return;
    event.preventDefault();
    does[event.key](event);
  });
}

/** To the neighbour once the labels are saved: a request under way would end with the page. */
async function leave(link, labels, event) {
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  document.activeElement?.blur(); // a field that was edited says so only then
  await labels.saved;
  location.assign(link.href);
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
