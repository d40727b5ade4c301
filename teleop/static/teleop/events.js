// What a robot's program reported of its clock, its restarts and its cameras, in words. No DOM, no requests.
//
// A robot may have sent any JSON as the detail; what has not the expected types is shown as JSON.

const SIZES = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const LONGEST_S = 1e10; // that is told as a number of days
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short", hourCycle: "h23" });

const WORDS = new Map([
  ["mark", ({ note = "" }) => (typeof note === "string" ? `marked ${note}` : null)],
  ["clock_step", clockStep],
  ["restart", restart],
  ["camera", ({ camera, fault }) => (typeof camera === "string" && typeof fault === "string" ? `camera ${camera}: ${fault}` : null)],
]);

export function inWords({ kind, timestamp, detail }) {
  return WORDS.get(kind)?.(detail ?? {}, timestamp) ?? `${kind}: ${JSON.stringify(detail)}`;
}

function clockStep({ step_s, applied }, timestamp) {
  if (!isStep(step_s)) return null;
  const until = `clock was ${size(step_s)} ${step_s > 0 ? "behind" : "ahead"} until ${TIME.format(timestamp * 1000)}`;
  return applied === true ? `${until}; the timestamps are already right` : until;
}

function restart({ from_index, to_index, rebooted, clock_step_s }) {
  const unused = to_index - from_index;
  if (![from_index, to_index].every(Number.isSafeInteger) || unused < 0) return null;
  const words = [`the robot's program restarted${rebooted === true ? " after a reboot" : ""}`];
  if (unused) words.push(unused === 1 ? `frame ${from_index} was not used` : `frames ${from_index}-${to_index - 1} were not used`);
  if (isStep(clock_step_s)) words.push(`the timestamps jump ${clock_step_s > 0 ? "ahead" : "back"} by ${size(clock_step_s)}`);
  return words.join("; ");
}

const isStep = (seconds) => Number.isFinite(seconds) && seconds !== 0 && Math.abs(seconds) < LONGEST_S;

function size(seconds) {
  const least = Math.abs(seconds);
  const [unit, length] = SIZES.find(([, each]) => least >= each) ?? SIZES.at(-1);
  return `${SHORT.format(least / length)} ${unit}`;
}
