// Statistics of days as bars: their buckets, their scale, their words. Pure: no DOM, no requests.
//
// A day is a text, "2026-11-22": the server has decided to which day of the reader's time zone a session belongs.

const DAY_MS = 86_400_000;
const MOST_DAYS = 62; // as one bar each
const MOST_WEEKS = 370; // days
export const COLOURS = 8;

const HOURS = [2, 1].map((digits) => new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
const COUNT = new Intl.NumberFormat("en");

export const count = (value) => COUNT.format(value);
export const hours = (value) => (value > 0 && value < 0.01 ? "< 0.01" : HOURS[value < 10 ? 0 : 1].format(value));
export const percent = (rate) => (rate === null ? "–" : `${Math.round(100 * rate)} %`);
export const labelled = ({ success, failure }) => (success + failure ? `${count(success)} of ${count(success + failure)}` : "no label");

export const dateOf = (day) => new Date(`${day}T00:00:00Z`);
export const dayOf = (date) => date.toISOString().slice(0, 10);
export const plus = (day, days) => dayOf(new Date(dateOf(day).getTime() + days * DAY_MS));
export const daysBetween = (first, last) => Math.round((dateOf(last) - dateOf(first)) / DAY_MS) + 1;

/** The day as the reader's calendar has it now. */
export function today(now = new Date()) {
  return dayOf(new Date(now.getTime() - now.getTimezoneOffset() * 60_000));
}

/** The sum of rows; each session is in one of them. */
export function sum(rows) {
  const total = { hours: 0, episodes: 0, success: 0, failure: 0 };
  for (const row of rows) for (const name of Object.keys(total)) total[name] += row[name];
  const { success, failure } = total;
  return { ...total, success_rate: success + failure ? success / (success + failure) : null };
}

/** [[key, rows]], in the order in which the keys appear. */
export function groupedBy(rows, keyOf) {
  const groups = new Map();
  for (const row of rows) {
    const key = keyOf(row);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  return [...groups];
}

/** A function from a day to the first day of its bar, and the unit: the bars of a long range are weeks or months. */
export function bucketsOf(first, last) {
  const days = daysBetween(first, last);
  if (days <= MOST_DAYS) return { unit: "day", startOf: (day) => day, next: (day) => plus(day, 1) };
  if (days <= MOST_WEEKS) {
    const startOf = (day) => plus(day, -((dateOf(day).getUTCDay() + 6) % 7)); // Monday
    return { unit: "week", startOf, next: (day) => plus(day, 7) };
  }
  const startOf = (day) => `${day.slice(0, 7)}-01`;
  return { unit: "month", startOf, next: (day) => startOf(plus(day, 31)) };
}

/** All bars from `first` to `last`, those without sessions too: [{start, rows}]. */
export function bars(rows, first, last) {
  const { unit, startOf, next } = bucketsOf(first, last);
  const found = new Map(groupedBy(rows, ({ day }) => startOf(day)));
  const result = [];
  for (let start = startOf(first); start <= last; start = next(start)) result.push({ start, rows: found.get(start) ?? [] });
  return { unit, bars: result };
}

/** Lines of a scale up to at least `most`: {step, top}, with round steps. */
export function scaleTo(most) {
  const rough = (most || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  return { step, top: step * Math.max(1, Math.ceil((most || 1) / step - 1e-9)) };
}
