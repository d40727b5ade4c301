// The fleet page: a tile a robot, trouble first, live from /ws/fleet.

import { follow } from "./socket.js";
import { onTheme } from "./plot.js";
import { Tile } from "./tile.js";

const RANKS = ["error", "trouble", "online", "offline"];
const TILES_A_FRAME = 20; // a frame of few tiles costs the browser as much beside them as one of many
const FEW = 8; // so many robots get larger tiles
const MOST_PICTURES = 100;
const SCROLL_MS = 300;
const SORT_MS = 3000;
const WRITE_MS = 900; // numbers that change faster cannot be read

const bar = document.querySelector("#bar");
const list = document.querySelector("#tiles");
const nothing = document.querySelector("#nothing");
const tiles = new Map();
const visible = new Set();
const byName = new Intl.Collator("en", { numeric: true }).compare; // robot_9 before robot_10
let drawing = null;
let filling = null;
let isSorted = true;
let toldAt = 0;
let wanting;

// Only tiles that are on the screen are drawn.
const seen = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    const tile = tiles.get(target.dataset.robot);
    if (tile) visible[isIntersecting ? "add" : "delete"](tile);
  }
  drawSoon();
  wantSoon();
}, { rootMargin: "100px" });

/** Resolves when all that is on the screen is drawn: a few tiles a frame, so that nothing holds up scrolling. */
function drawSoon() {
  return (drawing ??= drawDue().finally(() => (drawing = null)));
}

/** Wants pictures of the robots on the screen, once scrolling is over. */
function wantSoon() {
  clearTimeout(wanting);
  wanting = setTimeout(() => socket.want([...visible].map(({ id }) => id).sort().slice(0, MOST_PICTURES)), SCROLL_MS);
}

async function drawDue() {
  while (true) {
    await new Promise(requestAnimationFrame);
    const due = [...visible].filter((tile) => !tile.isDrawn).slice(0, TILES_A_FRAME);
    if (!due.length) return;
    const now = performance.now();
    for (const tile of due) if (now - tile.writtenAt > WRITE_MS) tile.write();
    for (const tile of due) tile.draw(); // after all words: between them it would cost a layout for each tile
  }
}

/** Graphs on the screen begin with stored frames, which are read one robot after the other. */
function fillSoon() {
  filling ??= fillDue().finally(() => (filling = null));
}

async function fillDue() {
  for (let tile; (tile = [...visible].find(({ isUnfilled }) => isUnfilled)) && !document.hidden; drawSoon()) await tile.fill();
}

function hear({ full, robots, live = [] }) {
  const now = performance.now();
  const isFirst = tiles.size === 0;
  const statuses = new Map([...robots, ...live].map(({ id }) => [id, tiles.get(id)?.status]));
  for (const robot of robots) take(robot, now).write();
  for (const robot of live) take(robot, now);
  if (full) forgetAllBut(new Set(robots.map(({ id }) => id)));
  list.classList.remove("stale");
  const isChanged = [...statuses].some(([id, status]) => tiles.get(id)?.status !== status);
  if (full || robots.length || isChanged) filter();
  if (full || isChanged) isSorted = false;
  if (now - toldAt > SORT_MS) tell(now);
  if (isFirst) sort();
  fillSoon();
  return drawSoon();
}

function take(robot, now) {
  if (!tiles.has(robot.id)) add(robot);
  const tile = tiles.get(robot.id);
  tile.hear(robot, now);
  return tile;
}

/** Ages in words, and the order: nothing moves under the pointer or the focus. */
function tell(now) {
  toldAt = now;
  for (const tile of visible) tile.isDrawn = false;
  if (!isSorted && !list.matches(":hover, :focus-within")) sort();
}

function add(robot) {
  const tile = new Tile(robot.id);
  tiles.set(robot.id, tile);
  list.append(tile.element);
  seen.observe(tile.element);
}

function forgetAllBut(ids) {
  for (const [id, tile] of tiles) {
    if (ids.has(id)) continue;
    seen.unobserve(tile.element);
    visible.delete(tile);
    tile.element.remove();
    tiles.delete(id);
  }
}

// Moves only what is not in its place: a tile that stays keeps its focus and costs no layout.
function sort() {
  const sorted = [...tiles.values()].sort(
    (a, b) => RANKS.indexOf(a.status) - RANKS.indexOf(b.status) || byName(a.id, b.id),
  );
  isSorted = true;
  let next = list.firstElementChild;
  for (const { element } of sorted) {
    if (element === next) next = next.nextElementSibling;
    else list.insertBefore(element, next);
  }
}

function filter() {
  const { text, status } = Object.fromEntries(new FormData(bar));
  const counts = { "": 0, error: 0, trouble: 0, online: 0, offline: 0 };
  let shown = 0;
  for (const tile of tiles.values()) {
    const isFound = tile.matches(text.trim().toLowerCase());
    if (isFound) counts[tile.status] += 1;
    if (isFound) counts[""] += 1;
    tile.element.hidden = !isFound || (status !== "" && tile.status !== status);
    shown += !tile.element.hidden;
  }
  for (const chip of bar.querySelectorAll(".chip")) chip.querySelector("b").textContent = counts[chip.dataset.status];
  list.classList.toggle("few", shown <= FEW);
  nothing.hidden = shown > 0;
  nothing.textContent = tiles.size ? "No robot matches the filter." : "There are no robots yet. A robot appears here when it connects.";
}

function keepInUrl() {
  const query = new URLSearchParams([...new FormData(bar)].filter(([, value]) => value));
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}

function takeFromUrl() {
  const query = new URLSearchParams(location.search);
  bar.elements.text.value = query.get("text") ?? "";
  const radios = [...bar.elements.status];
  (radios.find(({ value }) => value === query.get("status")) ?? radios[0]).checked = true;
}

takeFromUrl();
bar.addEventListener("submit", (event) => event.preventDefault());
bar.addEventListener("input", () => {
  keepInUrl();
  filter();
  sort();
});
onTheme(() => {
  for (const tile of tiles.values()) tile.changeTheme();
  drawSoon();
});
const socket = follow("/ws/fleet", document.querySelector("#connection"), {
  onAnswer: hear,
  onPicture: (picture) => tiles.get(picture.robot)?.show(picture),
  onLost: () => list.classList.add("stale"),
});
