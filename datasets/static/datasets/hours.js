// Hours, episodes and success by task, operator or robot: figures, bars and tables of GET /statistics.

import { get } from "../teleop/api.js";
import { bars, COLOURS, count, dateOf, daysBetween, groupedBy, hours, labelled, percent, plus, scaleTo, sum, today } from "./days.js";

const GROUPS = ["task", "operator", "robot"];
const DEFAULT_DAYS = 30;
const MOST_ROWS = 60; // of the table of days, until a button shows all
const TYPING_MS = 400;
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const page = document.querySelector(".hours");
const form = document.querySelector("#bar");
const find = (selector) => page.querySelector(selector);
const LABEL = new Intl.DateTimeFormat("en", { month: "short", day: "numeric", timeZone: "UTC" });
const MONTH = new Intl.DateTimeFormat("en", { month: "short", year: "numeric", timeZone: "UTC" });
let newest = 0;
let timer;

fromAddress();
show();
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", ({ target }) => {
  clearTimeout(timer);
  if (target.name === "range") setRange(Number(target.value));
  else if (target.type === "date") markRange();
  timer = setTimeout(show, target.type === "search" ? TYPING_MS : 0);
});
addEventListener("popstate", () => {
  fromAddress();
  show({ isNew: false });
});

function fromAddress() {
  const query = new URLSearchParams(location.search);
  const { elements } = form;
  for (const name of GROUPS) elements[name].value = query.get(name) ?? "";
  elements.by.value = GROUPS.includes(query.get("by")) ? query.get("by") : GROUPS[0];
  if (query.has("from") || query.has("to") || query.has("all")) {
    elements.from.value = query.get("from") ?? "";
    elements.to.value = query.get("to") ?? "";
  } else setRange(DEFAULT_DAYS);
  markRange();
}

function setRange(days) {
  form.elements.from.value = days ? plus(today(), 1 - days) : "";
  form.elements.to.value = days ? today() : "";
}

/** Check the range that the two days are, if they are one. */
function markRange() {
  const { from, to, range } = form.elements;
  const days = from.value && to.value === today() ? daysBetween(from.value, to.value) : from.value || to.value ? -1 : 0;
  for (const radio of range) radio.checked = Number(radio.value) === days;
}

function query() {
  const { elements } = form;
  const names = ["from", "to", ...GROUPS].filter((name) => elements[name].value);
  return new URLSearchParams(names.map((name) => [name, elements[name].value]));
}

async function show({ isNew = true } = {}) {
  const number = ++newest;
  const by = form.elements.by.value;
  const asked = query();
  if (isNew) keepAddress(asked, by);
  page.classList.add("stale");
  try {
    const found = await read(asked, by);
    if (number !== newest) return;
    draw(found, by);
    say(found.notice);
  } catch (error) {
    if (number === newest) say(`The statistics cannot be shown: ${error.message}`, "error");
  }
  if (number === newest) page.classList.remove("stale");
}

function keepAddress(asked, by) {
  const address = new URLSearchParams([...asked, ["by", by], ...(asked.has("from") || asked.has("to") ? [] : [["all", ""]])]);
  history.replaceState(null, "", `?${address}`);
}

/** Rows of each day and group; of too many for one answer, the days and the groups apart. */
async function read(asked, by) {
  const ask = (groups) => get(`/statistics?${asked}&time_zone=${encodeURIComponent(zone)}&by=${groups}`);
  try {
    const { rows } = await ask(`day,${by}`);
    return { days: rows, groups: rows };
  } catch (error) {
    if (!error.body?.by) throw error;
    const [days, groups] = await Promise.all([ask("day"), ask(by)]);
    return { days: days.rows, groups: groups.rows, notice: `There are too many days to show each ${by} of a day. Choose a shorter range for that.` };
  }
}

function draw({ days, groups }, by) {
  const total = sum(groups);
  find("#hours").textContent = hours(total.hours);
  find("#episodes").textContent = count(total.episodes);
  const rate = part("small", total.episodes ? ` ${labelled(total)}` : "");
  find("#success").replaceChildren(percent(total.success_rate), rate);
  page.classList.toggle("empty", !groups.length);
  find("#nothing").hidden = groups.length > 0;
  const totals = groupedBy(groups, (row) => row[by]).map(([name, rows]) => ({ name, ...sum(rows) }));
  totals.sort((a, b) => b.hours - a.hours);
  const colours = new Map(totals.map(({ name }, place) => [name, `var(--group-${Math.min(place, COLOURS - 1)})`]));
  drawBars(days, by, colours);
  drawLegend(totals, by, colours);
  drawGroups(totals, by, colours);
  drawDays(days, by, colours);
}

function drawBars(rows, by, colours) {
  const list = find(".bars");
  list.replaceChildren();
  if (!rows.length) return;
  const { from, to } = form.elements;
  const { unit, bars: all } = bars(rows, from.value || rows.at(-1).day, to.value || rows[0].day);
  const { step, top } = scaleTo(Math.max(...all.map((each) => sum(each.rows).hours)));
  list.style.setProperty("--step", `${(100 * step) / top}%`);
  drawScale(step, top);
  const every = Math.ceil((all.length * 64) / (list.clientWidth || 640)); // a label has 64 px
  list.append(...all.map(({ start, rows: found }, place) => bar(start, found, { unit, top, by, colours, isLabelled: place % every === 0 })));
}

function bar(start, rows, { unit, top, by, colours, isLabelled }) {
  const item = part("li");
  const groups = groupedBy(rows, (row) => row[by]).map(([name, found]) => ({ name, ...sum(found) }));
  groups.sort((a, b) => [...colours.keys()].indexOf(a.name) - [...colours.keys()].indexOf(b.name));
  for (const { name, hours: height } of groups) {
    const piece = part("i");
    piece.style.height = `${(100 * height) / top}%`;
    piece.style.background = colours.get(name) ?? "var(--group-0)";
    item.append(piece);
  }
  item.title = [`${unit === "day" ? "" : `${unit} of `}${start}: ${inWords(sum(rows))}`, ...groups.map((each) => `${nameOf(each.name, by)}: ${inWords(each)}`)].join("\n");
  if (isLabelled) item.append(part("span", (unit === "month" ? MONTH : LABEL).format(dateOf(start))));
  return item;
}

function drawScale(step, top) {
  const lines = Array.from({ length: Math.round(top / step) + 1 }, (_, place) => {
    const line = part("span", `${Number((place * step).toPrecision(6))} h`);
    line.style.bottom = `${(100 * place * step) / top}%`;
    return line;
  });
  find(".scale").replaceChildren(...lines);
}

function drawLegend(totals, by, colours) {
  const shown = totals.slice(0, COLOURS - 1).map(({ name }) => swatch(part("li", nameOf(name, by)), colours.get(name)));
  if (totals.length === COLOURS) shown.push(swatch(part("li", nameOf(totals.at(-1).name, by)), `var(--group-${COLOURS - 1})`));
  if (totals.length > COLOURS) shown.push(swatch(part("li", `${totals.length - COLOURS + 1} others`), `var(--group-${COLOURS - 1})`));
  find(".legend").replaceChildren(...shown);
}

function drawGroups(totals, by, colours) {
  const rows = totals.map((each) => {
    const name = swatch(part("td", choice(each.name, by)), colours.get(each.name));
    return part("tr", name, ...numbers(each, { [by]: each.name }));
  });
  table("#groups", [capital(by), "Hours", "Episodes", "Success"], rows);
}

/** Days, the newest first, each with its sum and its groups; the link of a row opens the list of its sessions. */
function drawDays(rows, by, colours, most = MOST_ROWS) {
  const isGrouped = rows.some((row) => by in row);
  const shown = groupedBy(rows.slice(0, most), ({ day }) => day).flatMap(([day]) => {
    const groups = rows.filter((row) => row.day === day);
    const head = part("tr", part("th", day), ...numbers(sum(groups), {}, day, day));
    head.className = "day";
    if (!isGrouped) return [head];
    return [head, ...groups.map((row) => part("tr", swatch(part("td", choice(row[by], by)), colours.get(row[by])), ...numbers(row, { [by]: row[by] }, day, day)))];
  });
  table("#days", [isGrouped ? `Day, ${by}` : "Day", "Hours", "Episodes", "Success"], shown);
  const more = find("#more");
  more.hidden = rows.length <= most;
  more.textContent = "Show all days";
  more.onclick = () => drawDays(rows, by, colours, rows.length);
}

function numbers(row, filters, from = form.elements.from.value, to = form.elements.to.value) {
  const link = part("a", count(row.episodes));
  link.href = sessionsOf(filters, from, to);
  link.title = "Show these sessions";
  const rate = part("td", percent(row.success_rate), " ", part("small", row.success_rate === null ? "" : `(${labelled(row)})`));
  const cells = [part("td", hours(row.hours)), part("td", Object.values(filters).includes(null) ? count(row.episodes) : link), rate];
  for (const cell of cells) cell.className = "number";
  return cells;
}

/** The review of the sessions. Its days are moments, of the same time zone. */
function sessionsOf(filters, from, to) {
  const others = GROUPS.filter((name) => form.elements[name].value).map((name) => [name, form.elements[name].value]);
  const moments = { from: from && new Date(`${from}T00:00`).toISOString(), to: to && new Date(`${plus(to, 1)}T00:00`).toISOString() };
  const given = Object.entries({ ...Object.fromEntries(others), ...filters, ...moments, live: "false" }).filter(([, value]) => value);
  return `/review?${new URLSearchParams(given)}`;
}

/** The name of a group as a button that shows only this group, split by another. */
function choice(name, by) {
  if (name === null || name === undefined) return part("span", nameOf(name, by));
  const button = part("button", name);
  Object.assign(button, { type: "button", className: "link", title: `Show only this ${by}` });
  button.addEventListener("click", () => {
    form.elements[by].value = name;
    form.elements.by.value = GROUPS.find((each) => each !== by && !form.elements[each].value) ?? by;
    show();
  });
  return button;
}

function table(selector, heads, rows) {
  const head = part("tr", ...heads.map((text) => part("th", text)));
  for (const cell of [...head.children].slice(-3)) cell.className = "number";
  find(`${selector} thead`).replaceChildren(head);
  find(`${selector} tbody`).replaceChildren(...rows);
}

function swatch(element, colour) {
  element.classList.add("swatch");
  element.style.setProperty("--colour", colour ?? "var(--group-0)");
  return element;
}

function say(text, kind = "warning") {
  const notice = find("#notice");
  Object.assign(notice, { textContent: text ?? "", hidden: !text });
  notice.dataset.kind = kind;
}

function part(kind, ...content) {
  const element = document.createElement(kind);
  element.append(...content);
  return element;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const nameOf = (name, by) => (name === undefined ? "All" : (name ?? `No ${by}`));
const inWords = (row) => `${hours(row.hours)} h, ${count(row.episodes)} ${row.episodes === 1 ? "episode" : "episodes"}, success ${percent(row.success_rate)}`;
