// The page for daily work: find sessions by facets, words and saved filters, look at them in the list, and label, tag,
// export or delete them without a mouse. The address holds the whole selection.

import { ApiError, get } from "./api.js";
import { isTyping, keyOf } from "./keys.js";
import { Changes } from "./reviewchanges.js";
import { LabelDialog, TagDialog } from "./reviewdialogs.js";
import { Facets } from "./reviewfacets.js";
import { List } from "./reviewlist.js";
import { changed, exportQuery, filtersOf, inWords, pageQuery, replayQuery, restQuery, withoutFilters } from "./reviewquery.js";
import { keepFresh } from "./reviewrefresh.js";
import { SavedFilters } from "./reviewsaved.js";
import { followSearch } from "./reviewsearch.js";
import { Toast } from "./reviewtoast.js";

const AFTER_CHANGE_MS = 400; // counts are read again once the reader pauses
const page = document.querySelector(".review");
const find = (selector) => page.querySelector(selector);
const count = new Intl.NumberFormat("en");
const may = { change: "mayChange" in page.dataset, delete: "mayDelete" in page.dataset, export: "mayExport" in page.dataset };
let query = pageQuery(location.search);
let newest = 0;
let timer;

const toast = new Toast(document.querySelector("#toast"));
const say = (text, options) => toast.show(text, options);
const list = new List(find("#sessions"), { onSelect: showSelection, onLoad: showTotal });
const changes = new Changes(list, { say: (text, { undo, ...rest } = {}) => say(text, { ...rest, undo: undo && (() => changes.undo()) }), onChange: countSoon });
const facets = new Facets(find("#facets"), choose);
const saved = new SavedFilters(find("#saved"), document.querySelector("#saving"), { choose, say, robots: list.robots });
const tagging = may.change ? new TagDialog(document.querySelector("#tagging"), (rows, added, removed) => changes.tag(rows, added, removed)) : null;
const labelling = may.change ? new LabelDialog(document.querySelector("#labelling"), (rows, labels) => changes.label(rows, labels)) : null;

history.scrollRestoration = "manual"; // the rows come later than the browser would scroll
start();

function start() {
  saved.read().catch((error) => say(`The saved filters cannot be read: ${error.message}`, { kind: "error" }));
  return show(whereFrom());
}

/** Where the reader was: after a reload or a way back in the state, after a link back from the replay in the hash. */
function whereFrom() {
  const id = history.state?.current ?? Number(location.hash.match(/^#session-(\d+)$/)?.[1]);
  return { least: history.state?.shown ?? 0, id: id || null };
}

/** Read the sessions and the counts of the query; go to session `id` if it is one of them. */
async function show({ least = 0, id = null } = {}) {
  const number = ++newest;
  const asked = String(restQuery(query));
  showQuery();
  find("#notice").hidden = find("#new").hidden = true;
  try {
    await Promise.all([readList(asked, least, id), readCounts(number)]);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (number === newest) showError(error);
  }
}

async function readList(asked, least, id) {
  const rows = id ? await placeOf(id, asked) : 0;
  const isShown = await list.load(asked, String(replayQuery(query)), Math.max(least, rows));
  if (isShown && id) list.go(list.find(id), "center");
}

/** The number of rows to read so that the session is one of them; 0 if it is not in the list. */
async function placeOf(id, asked) {
  const { position } = await get(`/sessions/${id}/position?${asked}`).catch(() => ({ position: null }));
  return (position ?? -5) + 5;
}

async function readCounts(number = newest) {
  const found = await get(`/sessions/facets?${restQuery(query)}`);
  if (number !== newest) return;
  list.showRobots(found.robot);
  facets.showCounts(found);
  showChips();
  tagging?.suggest(found.tag);
  labelling?.suggest(found);
}

function countSoon() {
  clearTimeout(timer);
  timer = setTimeout(() => readCounts().catch(() => {}), AFTER_CHANGE_MS);
}

/** Go to another selection, which the address then holds. */
function choose(next, { isNew = true } = {}) {
  query = pageQuery(String(next));
  history[isNew ? "pushState" : "replaceState"](null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
  scrollTo(0, 0);
  return show();
}

function showQuery() {
  facets.showQuery(query);
  saved.showQuery(query);
  showChips();
  const { search, ordering } = find("#bar").elements;
  if (document.activeElement !== search) search.value = query.get("search") ?? "";
  ordering.value = query.get("ordering") ?? "";
  page.classList.toggle("in-trash", query.get("trash") === "true");
  page.classList.toggle("by-day", !["longest", "shortest"].includes(query.get("ordering")));
  find("#trash-note").hidden = query.get("trash") !== "true";
  const exporting = find("#export");
  if (exporting) exporting.href = `/exports/new?${exportQuery(restQuery(query))}`;
}

/** Each filter as a chip that takes it away. */
function showChips() {
  const chips = filtersOf(query).map(([name, value]) => chip(inWords(name, value, list.robots), () => choose(changed(query, name, null))));
  if (chips.length > 1) chips.push(chip("Clear all", () => choose(withoutFilters(query)), "clear"));
  find("#chosen").replaceChildren(...chips);
  const number = find("#filter-count");
  number.textContent = filtersOf(query).length || "";
}

function chip(text, act, kind = "chosen") {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: kind, textContent: text, dir: "auto", title: kind === "chosen" ? `Remove the filter “${text}”` : "" });
  button.addEventListener("click", act);
  return button;
}

function showTotal({ rows, total, hasMore }) {
  find("#total").textContent = `${count.format(total)} ${total === 1 ? "session" : "sessions"}`;
  document.querySelector("#show").textContent = `Show ${count.format(total)} ${total === 1 ? "session" : "sessions"}`;
  find("#more").hidden = !hasMore;
  const nothing = find("#nothing");
  nothing.hidden = rows.length > 0;
  if (!rows.length) nothing.replaceChildren(...emptiness());
}

function emptiness() {
  if (query.get("trash") === "true" && !filtersOf(query).length) return ["The trash is empty."];
  if (!filtersOf(query).length) return ["There are no sessions yet. A session appears here when a robot begins to stream."];
  return ["No session matches these filters. ", chip("Clear all filters", () => choose(withoutFilters(query)), "press")];
}

function showError(error) {
  if (!list.rows.length) list.element.replaceChildren(); // the placeholders
  const notice = find("#notice");
  const again = chip("Try again", () => show(), "press");
  const clear = error.status === 400 ? [chip("Clear all filters", () => choose(new URLSearchParams()), "press")] : [again];
  notice.replaceChildren(`The sessions cannot be shown: ${error.message}. `, ...clear);
  notice.dataset.kind = "error";
  notice.hidden = false;
}

function showSelection(selected) {
  const bar = document.querySelector("#bulk");
  bar.hidden = !selected.length;
  bar.querySelector("#selected").textContent = `${count.format(selected.length)} selected`;
  page.classList.toggle("selecting", selected.length > 0);
}

// ---- Actions, for keys and buttons alike ----

/** `rows` default to the selected ones, else the current one. */
const act = {
  label: (success, rows = list.targets) => may.change && withRows(rows, () => changes.label(rows, { success })),
  describe: (rows = list.targets) => may.change && withRows(rows, () => labelling.open(rows)),
  tag: (rows = list.targets) => may.change && withRows(rows, () => tagging.open(rows)),
  trash: (rows = list.targets) => may.delete && withRows(rows, () => changes.trash(rows, query.get("trash") !== "true")),
  export: () => may.export && location.assign(exportAddress()),
  open: () => openReplay(list.current ?? list.rows[0]),
  help: () => document.querySelector("#keys").showModal(),
  search: () => find("#bar").elements.search.select(),
};

function withRows(rows, change) {
  if (rows.length) return change();
  return say("Choose a session first: j goes to the first one.");
}

function exportAddress() {
  const { selected } = list;
  if (!selected.length) return find("#export").href;
  return `/exports/new?sessions=${selected.map(({ session }) => session.id)}`;
}

function openReplay(row) {
  if (!row) return;
  list.go(row);
  row.link.click();
}

const KEYS = {
  j: () => list.move(1),
  ArrowDown: () => list.move(1),
  k: () => list.move(-1),
  ArrowUp: () => list.move(-1),
  o: act.open,
  Enter: act.open,
  s: () => act.label(true),
  f: () => act.label(false),
  c: () => act.label(null),
  u: () => may.change && changes.undo(),
  t: () => act.tag(),
  l: () => act.describe(),
  x: () => list.toggle(list.current),
  X: () => list.toggle(list.current, true),
  a: () => list.selectAll(list.selected.length < list.rows.length),
  "#": () => act.trash(),
  Delete: () => act.trash(),
  e: act.export,
  "/": act.search,
  "?": act.help,
  Escape: () => (list.selected.length ? list.selectAll(false) : toast.hide()),
  ...Object.fromEntries(Array.from({ length: 9 }, (_, place) => [`${place + 1}`, () => saved.use(place)])),
};

addEventListener("keydown", (event) => {
  const action = isTyping(event) || event.isComposing ? undefined : KEYS[keyOf(event)];
  if (!action || (event.key === "Enter" && event.target !== document.body)) return; // a link or a button has its own Enter
  event.preventDefault();
  action();
});

find("#sessions").addEventListener("click", ({ target }) => {
  const button = target.closest(".session .label button, .session [name=tag], .session [name=trash]");
  if (!button) return;
  const row = list.find(Number(button.closest(".session").dataset.session));
  if (button.name === "tag") act.tag([row]);
  else if (button.name === "trash") act.trash([row]);
  else act.label(button.getAttribute("aria-pressed") === "true" ? null : button.value === "true", [row]);
});

const BULK = {
  success: () => act.label(true),
  failure: () => act.label(false),
  none: () => act.label(null),
  tags: () => act.tag(),
  labels: () => act.describe(),
  trash: () => act.trash(),
  export: act.export,
  all: () => list.selectAll(true),
  clear: () => list.selectAll(false),
};
document.querySelector("#bulk").addEventListener("click", ({ target }) => BULK[target.closest("button")?.name]?.());

// ---- Bar: search, order, filters of a phone ----

const bar = find("#bar");
bar.addEventListener("submit", (event) => event.preventDefault());
bar.elements.ordering.addEventListener("change", ({ target }) => choose(changed(query, "ordering", target.value)));
bar.elements.keys.addEventListener("click", act.help);
followSearch(bar.elements.search, searchFor, (isEnter) => list.go(isEnter ? list.rows[0] : (list.current ?? list.rows[0])));
function searchFor(text, isNew) {
  return text === (query.get("search") ?? "") ? null : choose(changed(query, "search", text), { isNew });
}

for (const button of document.querySelectorAll("[name=filters]")) {
  button.addEventListener("click", () => {
    const isOpen = page.classList.toggle("filtering");
    bar.elements.filters.setAttribute("aria-expanded", String(isOpen));
    (isOpen ? find("#facets button") : bar.elements.filters).focus();
  });
}

// ---- History, more rows, and coming back ----

addEventListener("popstate", () => {
  query = pageQuery(location.search);
  show(whereFrom());
});
addEventListener("pagehide", remember);
page.addEventListener("click", remember, true);
function remember() {
  history.replaceState({ current: list.current?.session.id ?? null, shown: list.rows.length }, "");
}

const atEnd = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && more(), { rootMargin: "600px" });
atEnd.observe(find("#more"));
find("#more").addEventListener("click", more);
async function more() {
  try {
    await list.more();
    atEnd.unobserve(find("#more")); // observed anew, it is reported again if it is still in sight
    atEnd.observe(find("#more"));
  } catch (error) {
    say(`More sessions cannot be read: ${error.message}`, { kind: "error" });
  }
}

// ---- Other people and robots ----

find("#new").addEventListener("click", () => show());
keepFresh(list, changes, () => {
  find("#new").hidden = false;
  countSoon();
});
