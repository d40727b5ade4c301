// A new export of the sessions that the address names, by filters or as sessions=17,18: first its estimated size.

import { post } from "../teleop/api.js";
import { today } from "./days.js";
import { count, hours, size, suggestedName } from "./words.js";

const TYPING_MS = 400;
const find = (selector) => document.querySelector(selector);
const form = find("#new");
const filters = new URLSearchParams(location.search);
const ids = (filters.get("sessions") ?? "").split(",").filter(Boolean).map(Number);
filters.delete("sessions");
const selection = ids.length ? { sessions: ids } : { where: Object.fromEntries(filters) };
let newest = 0;
let isCreating = false;
let refusal = ""; // of the last try to create it; an estimate that comes later leaves it there
let timer;

form.elements.name.value = suggestedName(filters, ids, today());
showSelection();
change();
form.addEventListener("input", change);
form.addEventListener("submit", create);

function showSelection() {
  const words = ids.length ? [ids.length === 1 ? `session ${ids[0]}` : `${count(ids.length)} chosen sessions`] : [...filters].map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`);
  find("#selection").append(...(words.length ? words : ["all ended sessions"]).map((text) => Object.assign(document.createElement("b"), { textContent: text })));
}

function change() {
  clearTimeout(timer);
  refusal = "";
  for (const only of form.querySelectorAll("[data-only]")) only.hidden = only.dataset.only !== form.elements.format.value;
  timer = setTimeout(estimate, newest ? TYPING_MS : 0);
}

async function estimate() {
  const number = ++newest;
  try {
    const found = await post("/exports", { ...asked(), dry_run: true });
    if (number !== newest) return;
    find("#sessions").textContent = count(found.sessions);
    find("#episodes").replaceChildren(small("at least "), count(found.episodes));
    find("#hours").textContent = hours(found.hours);
    find("#size").textContent = `${size(found.bytes)}`;
    say(found.shortage ? `The disk has too little space: ${found.shortage}` : refusal, "error");
    form.elements.create.disabled = isCreating || Boolean(found.shortage);
  } catch (error) {
    if (number !== newest) return;
    for (const name of ["sessions", "episodes", "hours", "size"]) find(`#${name}`).textContent = "–";
    form.elements.create.disabled = true;
    say(capital(error.message), "error");
  }
}

async function create(event) {
  event.preventDefault();
  form.elements.create.disabled = isCreating = true;
  try {
    const { id } = await post("/exports", { ...asked(), name: form.elements.name.value });
    location.assign(`/exports/${id}/view`);
  } catch (error) {
    form.elements.create.disabled = isCreating = false;
    refusal = `The export is not created: ${error.message}`;
    say(refusal, "error");
  }
}

/** The request: the selection, and the options that the form has. */
function asked() {
  const { elements } = form;
  const checked = (name) => [...form.querySelectorAll(`[name=${name}]:checked`)].map(({ value }) => value);
  const number = (name) => (elements[name].value === "" ? null : elements[name].valueAsNumber);
  const format = elements.format.value;
  return {
    ...selection,
    format,
    fps: number("fps"),
    max_gap_s: number("max_gap_s") ?? Number(elements.max_gap_s.defaultValue),
    on_gap: elements.on_gap.value,
    trim: checked("trim"),
    cameras: camerasOf(elements.cameras.value),
    video_codec: elements.video_codec.value,
    interpolate: texts(elements.interpolate.value),
    validation: (number("validation") ?? 0) / 100,
    split_by: elements.split_by.checked ? "robot" : "",
    capture_times: elements.capture_times.checked,
    modality: format === "lerobot-v2.1" && elements.modality.checked,
    refuse: checked("refuse"),
  };
}

const texts = (value) => value.split(",").map((each) => each.trim()).filter(Boolean);
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const small = (text) => Object.assign(document.createElement("small"), { textContent: text });

function camerasOf(value) {
  const names = texts(value);
  if (!names.length) return null;
  return names.length === 1 && names[0] === "none" ? [] : names;
}

function say(text, kind) {
  const notice = find("#notice");
  Object.assign(notice, { textContent: text, hidden: !text });
  notice.dataset.kind = kind;
}
