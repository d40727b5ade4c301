// One export: its progress while it is made, then its files.

import { get } from "../teleop/api.js";
import { local, utc } from "../teleop/localtime.js";
import { count, filtersOf, FORMATS, hours, isUnfinished, optionsInWords, progressInWords, size, tint } from "./words.js";

const LOOK_MS = 2000;
const find = (selector) => document.querySelector(selector);
const path = `/exports/${find(".export").dataset.export}`;

watch();

async function watch() {
  for (;;) {
    let wait = LOOK_MS;
    try {
      const found = await get(path);
      show(found);
      if (!isUnfinished(found)) return;
    } catch (error) {
      if (error.status === 404) return say("This export has been deleted.", "error");
      say(`The progress cannot be read: ${error.message}`, "error");
      wait *= 3;
    }
    do await new Promise((done) => setTimeout(done, wait));
    while (document.hidden);
  }
}

function show(found) {
  const { state, error, progress } = found;
  find("#state").textContent = state;
  find("#state").dataset.status = tint(state);
  find("#work").hidden = !isUnfinished(found);
  find("#working").textContent = progressInWords(found);
  if (progress === null) find("progress").removeAttribute("value");
  else find("progress").value = progress;
  if (error) say(state === "failed" ? error : `The last attempt did not make it: ${error}`, state === "failed" ? "error" : "warning");
  else say("");
  find("#files").hidden = state !== "done";
  if (state === "done") showFiles(found);
  facts("#facts", factsOf(found));
  facts("#options", optionsInWords(found.options));
  const again = find("#again");
  if (again && found.where) {
    again.href = `/exports/new?${new URLSearchParams(filtersOf(found.where))}`;
    again.hidden = false;
  }
}

function showFiles({ size_bytes, expires_at, options }) {
  find("#download").href = `${path}/content`;
  find("#download").textContent = `Download (tar, ${size(size_bytes)})`;
  find("#report-page").href = `${path}/report.html`;
  find("#report-page").hidden = Boolean(options.split_by); // each dataset in the tar has its own
  find("#report-json").href = `${path}/report`;
  find("#expires").textContent = expires_at ? `It is kept until ${local(new Date(expires_at))}.` : "";
}

function factsOf({ format, where, sessions, estimate, episodes, seconds, size_bytes, created_by, created_at, finished_at }) {
  const chosen = filtersOf(where).map(([name, value]) => `${name}: ${value}`);
  return [
    ["Format", FORMATS[format] ?? format],
    ["Sessions", [count(sessions), ...(chosen.length ? [`(${chosen.join(", ")})`] : [])].join(" ")],
    ["Episodes", episodes === null ? `at least ${count(estimate.episodes)}` : count(episodes)],
    ["Hours", seconds === null ? `about ${hours(estimate.hours)}` : hours(seconds / 3600)],
    ["Size", size_bytes === null ? `about ${size(estimate.bytes)}` : size(size_bytes)],
    ["Created", [moment(created_at), created_by && ` by ${created_by}`]],
    ...(finished_at ? [["Finished", moment(finished_at)]] : []),
  ];
}

function moment(text) {
  const date = new Date(text);
  return Object.assign(document.createElement("time"), { dateTime: text, textContent: local(date), title: utc(date) });
}

function facts(selector, rows) {
  find(selector).replaceChildren(
    ...rows.flatMap(([name, value]) => [part("dt", name), part("dd", ...[value].flat().filter(Boolean))]),
  );
}

function part(kind, ...content) {
  const element = document.createElement(kind);
  element.append(...content);
  return element;
}

function say(text, kind) {
  const notice = find("#notice");
  Object.assign(notice, { textContent: text, hidden: !text });
  notice.dataset.kind = kind;
}
