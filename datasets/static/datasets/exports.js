// The list of exports, the newest first; it looks again while one of them is being made.

import { get } from "../teleop/api.js";
import { local, utc } from "../teleop/localtime.js";
import { count, FORMATS, hours, isUnfinished, size, tint } from "./words.js";

const PAGE = 50;
const LOOK_MS = 4000;
const TYPING_MS = 300;
const find = (selector) => document.querySelector(selector);
const form = find("#bar");
let shown = PAGE;
let newest = 0;
let timer;

show();
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => {
  shown = PAGE;
  later(TYPING_MS);
});
find("#more").addEventListener("click", () => {
  shown = Math.min(shown + PAGE, 1000);
  show();
});

function later(wait) {
  clearTimeout(timer);
  timer = setTimeout(() => (document.hidden ? later(wait) : show()), wait);
}

async function show() {
  const number = ++newest;
  clearTimeout(timer);
  const asked = ["state", "text"].map((name) => [name, form.elements[name].value]).filter(([, value]) => value);
  try {
    const { count: all, results } = await get(`/exports?${new URLSearchParams([...asked, ["limit", shown]])}`);
    if (number !== newest) return;
    draw(results, all, asked.length > 0);
    say("");
    if (results.some(isUnfinished)) later(LOOK_MS);
  } catch (error) {
    if (number !== newest) return;
    say(`The exports cannot be read: ${error.message}`);
    later(3 * LOOK_MS);
  }
}

function draw(results, all, isFiltered) {
  find("#found").hidden = !results.length;
  find("#nothing").hidden = results.length > 0;
  find("#nothing").textContent = isFiltered ? "No export matches." : "There are no exports yet. Choose sessions in the list of sessions, then Export.";
  find("tbody").replaceChildren(...results.map(row));
  find("#more").hidden = all <= results.length || shown >= 1000;
}

function row(found) {
  const { id, name, format, sessions, episodes, seconds, size_bytes, created_at, created_by } = found;
  const when = new Date(created_at);
  const time = part("time", local(when));
  Object.assign(time, { dateTime: created_at, title: `${utc(when)}${created_by ? `, by ${created_by}` : ""}` });
  const cells = [
    cell("", link(`/exports/${id}/view`, name)),
    cell("State", stateOf(found)),
    cell("Format", FORMATS[format] ?? format),
    cell("Sessions", count(sessions)),
    cell("Episodes", episodes === null ? "" : count(episodes)),
    cell("Hours", seconds === null ? "" : hours(seconds / 3600)),
    cell("Size", size(size_bytes)),
    cell("Created", time),
    cell("", ...filesOf(found)),
  ];
  for (const number of cells.slice(3, 7)) number.className = "number";
  cells.at(-1).className = "files";
  return part("tr", ...cells);
}

function stateOf({ state, progress, error }) {
  const word = part("span", state === "running" && progress !== null ? `running ${Math.floor(100 * progress)} %` : state);
  word.className = "status";
  word.dataset.status = tint(state);
  word.title = error;
  return word;
}

function filesOf({ id, state, options }) {
  if (state !== "done") return [];
  const download = link(`/exports/${id}/content`, "Download");
  download.download = "";
  return [...(options.split_by ? [] : [link(`/exports/${id}/report.html`, "Report")]), download];
}

function cell(name, ...content) {
  const element = part("td", ...content.filter((each) => each !== ""));
  if (name) element.dataset.name = name;
  if (!element.textContent) element.classList.add("nothing");
  return element;
}

function link(href, text) {
  return Object.assign(part("a", text), { href });
}

function part(kind, ...content) {
  const element = document.createElement(kind);
  element.append(...content);
  return element;
}

function say(text) {
  const notice = find("#notice");
  Object.assign(notice, { textContent: text, hidden: !text });
  notice.dataset.kind = "error";
}
