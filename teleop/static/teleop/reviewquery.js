// The selection of /review as a query: filters of GET /sessions, and `days`, which are relative to today in the
// browser's time zone. Pure: no DOM, no requests.

export const DAYS = [
  { value: "today", label: "Today", first: 0, last: 0 },
  { value: "yesterday", label: "Yesterday", first: -1, last: -1 },
  { value: "7", label: "Last 7 days", first: -6, last: 0 },
  { value: "30", label: "Last 30 days", first: -29, last: 0 },
];
const TIMES = ["days", "from", "to"];
const SUCCESS = { success: ["success", "unlabelled"], unlabelled: ["success", "unlabelled"] };
// These are not filters: they choose the order, or another list.
const NO_FILTERS = new Set(["ordering", "trash"]);
const DATE = new Intl.DateTimeFormat("en", { year: "numeric", month: "short", day: "numeric" });
const MOMENT = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
const WORDS = { "success=true": "Success", "success=false": "Failure", "unlabelled=true": "No label", "unlabelled=false": "Labelled", "live=true": "Live", "live=false": "Ended" };
const NAMED = { search: "Search", task: "Task", robot: "Robot", operator: "Operator", tag: "Tag", camera: "Camera", ids: "Sessions" };

const midnight = (now, days) => new Date(now.getFullYear(), now.getMonth(), now.getDate() + days);
const rangeOf = ({ first, last }, now) => ({ from: midnight(now, first).toISOString(), to: midnight(now, last + 1).toISOString() });

/** The query for REST and exports, with moments in place of `days`. */
export function restQuery(query, now = new Date()) {
  const days = DAYS.find(({ value }) => value === query.get("days"));
  const others = [...query].filter(([name]) => !(days && TIMES.includes(name)));
  return new URLSearchParams([...others, ...(days ? Object.entries(rangeOf(days, now)) : [])]);
}

/** The query for the replay, which gives the days back to this page. */
export function replayQuery(query, now) {
  const days = query.get("days");
  return new URLSearchParams([...restQuery(query, now), ...(days ? [["days", days]] : [])]);
}

/** The query of an address: moments that are one of DAYS become `days` again, and empty values are left out. */
export function pageQuery(text, now = new Date()) {
  const query = new URLSearchParams([...new URLSearchParams(text)].filter(([, value]) => value !== ""));
  const isRange = (days) => Object.entries(rangeOf(days, now)).every(([name, value]) => isSameMoment(query.get(name), value));
  const found = DAYS.find(({ value }) => value === query.get("days")) ?? DAYS.find(isRange);
  return found ? changed(query, "days", found.value) : query;
}

const isSameMoment = (one, other) => one !== null && new Date(one).getTime() === new Date(other).getTime();

/** A copy of the query with this value, or without the filter if it is null; it replaces those that contradict it. */
export function changed(query, name, value) {
  const copy = new URLSearchParams(query);
  const replaced = name === "days" ? TIMES : name === "from" || name === "to" ? ["days", name] : (SUCCESS[name] ?? [name]);
  for (const other of replaced) copy.delete(other);
  if (value !== null && value !== "") copy.set(name, value);
  return copy;
}

/** The same filters in the same order, for a comparison. */
export function normalized(query) {
  const copy = new URLSearchParams(query);
  copy.sort();
  return String(copy);
}

export const filtersOf = (query) => [...query].filter(([name]) => !NO_FILTERS.has(name));
export const withoutFilters = (query) => new URLSearchParams([...query].filter(([name]) => NO_FILTERS.has(name)));

/** The query that an export takes, which has neither an order nor a trash. */
export const exportQuery = (query) => new URLSearchParams(filtersOf(query));

/** "front" for "observation.images.front". */
export const cameraName = (key) => key.replace(/^observation\.images?\./, "");

/** A filter in words, such as "Task: Fold the towel". */
export function inWords(name, value, robots = new Map()) {
  if (name === "days") return DAYS.find((days) => days.value === value)?.label ?? `Days: ${value}`;
  if (name === "from") return `From ${dayInWords(value, 0)}`;
  if (name === "to") return `Until ${dayInWords(value, -1)}`;
  const shown = name === "robot" ? robots.get(value) || value : name === "camera" ? cameraName(value) : value;
  return WORDS[`${name}=${value}`] ?? `${NAMED[name] ?? name.replaceAll("_", " ")}: ${shown}`;
}

/** Midnight as a day: `to` is the end of the day before it. */
function dayInWords(text, milliseconds) {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return text;
  return moment.getTime() === midnight(moment, 0).getTime() ? DATE.format(moment.getTime() + milliseconds) : MOMENT.format(moment);
}

/** A name for a saved filter: its values, at most 100 characters. */
export function suggestedName(query, robots) {
  const words = filtersOf(query).map(([name, value]) => inWords(name, value, robots).replace(/^(Task|Robot|Operator|Tag|Camera|Search): /, ""));
  return words.join(", ").slice(0, 100);
}

/** The date of a moment as <input type="date"> has it, and the moment at which this date begins. */
export const dateOf = (text, milliseconds = 0) => {
  const moment = new Date(new Date(text).getTime() + milliseconds);
  if (Number.isNaN(moment.getTime())) return "";
  return [moment.getFullYear(), moment.getMonth() + 1, moment.getDate()].map((number) => String(number).padStart(2, "0")).join("-");
};
export const momentOf = (date, days = 0) => {
  const [year, month, day] = date.split("-").map(Number);
  return date ? new Date(year, month - 1, day + days).toISOString() : null;
};
