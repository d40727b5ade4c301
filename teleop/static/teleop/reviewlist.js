// The list of /review: its rows, the current one, the selected ones, and more of them as the reader goes on.

import { get } from "./api.js";
import { dayInWords, Row } from "./reviewrow.js";

const PAGE = 50;
const MOST = 1000; // of one answer, and of one change
const SKELETONS = 8;
const BY_TIME = new Set(["newest", "oldest"]);

export class List {
  rows = [];
  robots = new Map();
  current = null;
  total = 0;
  #selected = new Set();
  #removed = new Map(); // element that came after a removed row
  #changes = 0; // rows that may match the filters no more, so that the next page begins earlier
  #newest = 0;
  #loading = null;
  #anchor = null;

  /** `element` is a <ol>, `onSelect` is called if the selection changes, `onLoad` with each answer. */
  constructor(element, { onSelect, onLoad }) {
    Object.assign(this, { element, onSelect, onLoad });
    element.replaceChildren(...Array.from({ length: SKELETONS }, skeleton));
    element.addEventListener("focusin", ({ target }) => this.#setCurrent(this.#rowOf(target)));
    element.addEventListener("click", (event) => this.#click(event));
  }

  /**
   * Replace all rows by those of this query for REST; false if a newer query has replaced it. Links to the replay have
   * the query `links`. At least `least` rows are read, to come back to one of them.
   */
  async load(query, links, least = 0) {
    const number = ++this.#newest;
    this.#loading = null;
    this.element.setAttribute("aria-busy", "true");
    const limit = Math.min(Math.ceil(Math.max(least, 1) / PAGE) * PAGE, MOST);
    try {
      const answer = await get(`/sessions/review?${join(query, `limit=${limit}`)}`);
      if (number !== this.#newest) return false;
      this.#replace(answer, query, links);
      return true;
    } finally {
      if (number === this.#newest) this.element.removeAttribute("aria-busy");
    }
  }

  get hasMore() {
    return this.rows.length < this.total;
  }

  /** Add the next page. The rows that are there already are left out: newer sessions shift the pages. */
  more() {
    if (!this.hasMore) return Promise.resolve();
    return (this.#loading ??= this.#readMore(this.#newest).finally(() => (this.#loading = null)));
  }

  async #readMore(number) {
    const offset = Math.max(this.rows.length - this.#changes, 0);
    const answer = await get(`/sessions/review?${join(this.query, `limit=${PAGE}&offset=${offset}`)}`);
    if (number !== this.#newest) return;
    const known = new Set(this.rows.map(({ session }) => session.id));
    const fresh = answer.results.filter(({ id }) => !known.has(id));
    this.total = answer.results.length < PAGE && !answer.next ? this.rows.length + fresh.length : answer.count + this.#changes;
    this.#append(fresh);
    this.onLoad(this);
  }

  #replace(answer, query, links) {
    Object.assign(this, { query, links, rows: [], total: answer.count });
    this.element.replaceChildren();
    this.#changes = 0;
    this.#removed.clear();
    this.#anchor = null;
    const current = this.current?.session.id;
    const kept = new Set([...this.#selected].map(({ session }) => session.id));
    this.#selected.clear();
    this.current = null;
    this.#append(answer.results);
    for (const row of this.rows) if (kept.has(row.session.id)) this.#select(row, true);
    if (current) this.#setCurrent(this.find(current));
    this.onSelect(this.selected);
    this.onLoad(this);
  }

  #append(sessions) {
    const added = sessions.map((session) => new Row(session, this.robots, this.links));
    this.rows.push(...added);
    this.element.append(...added.map(({ element }) => element));
    this.#showDays();
  }

  /** A heading before the first session of each day, if the list is in the order of time. */
  #showDays() {
    for (const heading of this.element.querySelectorAll(".day")) heading.remove();
    if (!BY_TIME.has(new URLSearchParams(this.query).get("ordering") ?? "newest")) return;
    let last;
    for (const { session, element } of this.rows) {
      const day = dayInWords(new Date(session.start_time));
      if (day !== last) element.before(dayHeading(day));
      last = day;
    }
  }

  showRobots(found) {
    for (const { value, name } of found) if (name) this.robots.set(value, name);
    for (const row of this.rows) row.update(row.session);
  }

  find(id) {
    return this.rows.find(({ session }) => session.id === id);
  }

  /** The selected rows in the order of the list; if there are none, the current one. */
  get targets() {
    return this.#selected.size ? this.selected : this.current ? [this.current] : [];
  }

  get selected() {
    return this.rows.filter((row) => this.#selected.has(row));
  }

  /** Go to the row so many places further; the first row if there was no current one. */
  async move(step) {
    const place = this.current ? this.rows.indexOf(this.current) + step : 0;
    if (place >= this.rows.length) await this.more();
    this.go(this.rows[Math.min(Math.max(place, 0), this.rows.length - 1)]);
  }

  go(row, block = "nearest") {
    if (!row) return;
    row.link.focus({ preventScroll: true });
    row.element.scrollIntoView({ block });
  }

  #setCurrent(row) {
    if (row === this.current) return;
    this.current?.element.removeAttribute("aria-current");
    row?.element.setAttribute("aria-current", "true");
    this.current = row ?? null;
  }

  toggle(row, isRange = false) {
    if (!row) return;
    const isSelected = !this.#selected.has(row);
    const [from, to] = [this.rows.indexOf(isRange && this.#anchor ? this.#anchor : row), this.rows.indexOf(row)].sort((a, b) => a - b);
    const rows = isRange ? this.rows.slice(Math.max(from, 0), to + 1) : [row];
    for (const each of rows) this.#select(each, isRange || isSelected);
    this.#anchor = row;
    this.onSelect(this.selected);
  }

  selectAll(isSelected) {
    for (const row of this.rows) this.#select(row, isSelected);
    this.onSelect(this.selected);
  }

  #select(row, isSelected) {
    this.#selected[isSelected ? "add" : "delete"](row);
    row.checkbox.checked = isSelected;
    row.element.classList.toggle("selected", isSelected);
  }

  #click(event) {
    const row = this.#rowOf(event.target);
    if (!row) return;
    if (event.target === row.checkbox) {
      event.stopPropagation();
      this.toggle(row, event.shiftKey);
      row.checkbox.checked = this.#selected.has(row);
    } else if (!event.target.closest("a, button, label") && !String(getSelection())) this.go(row);
  }

  #rowOf(element) {
    const found = element.closest(".session");
    return found ? this.rows.find((row) => row.element === found) : undefined;
  }

  /** Show changed sessions; they may match the filters no more, but stay until the list is read again. */
  changed(sessions) {
    for (const session of sessions) this.find(session.id)?.update(session);
    this.#changes += sessions.length;
  }

  /** Take rows out; the next one is then the current one. */
  remove(rows) {
    const isFocused = rows.some(({ element }) => element.contains(document.activeElement)) || rows.includes(this.current);
    const last = this.rows.findLastIndex((row) => rows.includes(row));
    const next = this.rows.slice(last + 1).find((row) => !rows.includes(row)) ?? this.rows.slice(0, last).findLast((row) => !rows.includes(row));
    for (const row of rows) {
      this.#select(row, false);
      this.#removed.set(row, this.rows[this.rows.indexOf(row) + 1]);
    }
    this.rows = this.rows.filter((row) => !rows.includes(row));
    for (const { element } of rows) element.remove();
    this.total -= rows.length;
    this.#changes += rows.length;
    if (rows.includes(this.current)) this.#setCurrent(null);
    this.#showDays();
    if (isFocused) this.go(next);
    this.onSelect(this.selected);
    this.onLoad(this);
  }

  /** Put removed rows back before the rows that they were before. */
  putBack(ids) {
    const rows = [...this.#removed.keys()].filter(({ session }) => ids.includes(session.id)).reverse();
    for (const row of rows) {
      const place = this.rows.indexOf(this.#removed.get(row));
      this.rows.splice(place < 0 ? this.rows.length : place, 0, row);
      this.#removed.delete(row);
    }
    this.element.append(...this.rows.map(({ element }) => element));
    this.total += rows.length;
    this.#changes = Math.max(this.#changes - rows.length, 0);
    this.#showDays();
    this.go(rows.at(-1));
    this.onLoad(this);
  }
}

const join = (query, more) => (query ? `${query}&${more}` : more);

function dayHeading(text) {
  const heading = document.createElement("h2");
  heading.textContent = text;
  const item = document.createElement("li");
  item.className = "day";
  item.append(heading);
  return item;
}

function skeleton() {
  const item = document.createElement("li");
  item.className = "skeleton";
  item.setAttribute("aria-hidden", "true");
  return item;
}
