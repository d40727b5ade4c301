// What the pages of exports say: sizes, states, options. Pure: no DOM, no requests.

import { count, hours } from "./days.js";

export { count, hours };

export const FORMATS = { "lerobot-v3.0": "LeRobot v3.0", "lerobot-v2.1": "LeRobot v2.1", mcap: "MCAP", parquet: "Parquet" };
const UNITS = ["bytes", "kB", "MB", "GB", "TB", "PB"];
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const TINTS = { done: "online", failed: "error", running: "trouble", pending: "offline" };
const UNSET = new Set(["", "[]", "null", "0", "false"]);

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  const power = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1);
  return `${SHORT.format(bytes / 1000 ** power)} ${UNITS[power]}`;
}

/** The colour of a state, as page.css has them for robots. */
export const tint = (state) => TINTS[state] ?? "offline";
export const isUnfinished = ({ state }) => state === "pending" || state === "running";

export function progressInWords({ state, progress }) {
  if (state === "pending") return "Waiting for the background work";
  return progress === null ? "Being made and verified" : `Being made and verified: ${Math.floor(100 * progress)} %`;
}

/** [[name, value]] of the options that were chosen, or matter in any case, in words. */
export function optionsInWords(options) {
  const always = ["max_gap_s", "on_gap"];
  const isShown = ([name, value]) => name !== "format" && (always.includes(name) || (name === "cameras" && value !== null) || !UNSET.has(text(value)));
  return Object.entries(options).filter(isShown).map(([name, value]) => [name.replace(/_s$/, "").replaceAll("_", " "), inWords(name, value)]);
}

function inWords(name, value) {
  if (name === "max_gap_s") return `${value} s`;
  if (name === "validation") return `${SHORT.format(100 * value)} % of the sessions`;
  if (name === "cameras" && !value.length) return "none";
  if (value === true) return "yes";
  return Array.isArray(value) ? value.join(", ") : String(value);
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** The filters of an export as a page's address has them. */
export const filtersOf = (where) => [...new URLSearchParams(where)];

/** A name for a new export of these filters, on this day: only characters that a name may have. */
export function suggestedName(filters, ids, day) {
  const about = filters.get("task") ?? filters.get("tag") ?? filters.get("robot") ?? (ids.length === 1 ? `session-${ids[0]}` : "sessions");
  const slug = about.normalize("NFKD").replace(/[^A-Za-z0-9_.-]+/g, "-").replace(/^[^A-Za-z0-9]+|-+$/g, "").slice(0, 60);
  return `${slug.toLowerCase() || "sessions"}-${day}`;
}
