// Changes of sessions on /review: labels, tags and the trash. Each can be undone, one after the other.
//
// A change is a list of steps: the ids, what REST is asked for, and what takes that back. With `seen` the server
// refuses to overwrite a label that somebody else has set meanwhile, also when a change is undone.

import { get, post } from "./api.js";

const MOST_UNDONE = 50;
const MOST_IDS = 1000;
const WORDS = new Map([[true, "Success"], [false, "Failure"], [null, "No label"]]);

export class Changes {
  number = 0; // of changes that were begun
  #done = [];
  #queue = Promise.resolve();

  /** `say(text, {undo, kind})` shows a message; `onChange` is called after each change. */
  constructor(list, { say, onChange }) {
    Object.assign(this, { list, say, onChange });
  }

  /** Give all rows these labels, for example {task: "Fold the towel", operator: null}. */
  label(rows, labels) {
    return this.#enqueue(async () => {
      await this.#readAll(rows);
      const steps = Object.entries(labels).flatMap(([name, value]) => labelSteps(rows, name, value));
      const words = Object.entries(labels).map(([name, value]) => (name === "success" ? WORDS.get(value) : inWords(name, value)));
      await this.#do(steps, `${subject(idsOf(rows))}: ${words.join(", ")}`);
    });
  }

  tag(rows, added, removed) {
    return this.#enqueue(async () => {
      await this.#readAll(rows);
      const steps = [
        ...added.map((tag) => tagStep(rows.filter((row) => !row.labels.tags.includes(tag)), "add_tags", "remove_tags", tag)),
        ...removed.map((tag) => tagStep(rows.filter((row) => row.labels.tags.includes(tag)), "remove_tags", "add_tags", tag)),
      ];
      const words = [...added.map((tag) => `+ ${tag}`), ...removed.map((tag) => `− ${tag}`)];
      await this.#do(steps, `${subject(idsOf(rows))}: ${words.join(", ")}`);
    });
  }

  trash(rows, isTrashed = true) {
    const step = { ids: idsOf(rows), change: { trash: isTrashed }, reverse: { trash: !isTrashed } };
    const subjects = subject(step.ids);
    return this.#enqueue(() => this.#do([step], isTrashed ? `${subjects} moved to the trash` : `${subjects} restored`));
  }

  undo() {
    return this.#enqueue(async () => {
      const last = this.#done.at(-1);
      if (!last) return this.say("There is nothing to undo.");
      const reversed = last.steps.map(({ ids, change, reverse }) => ({ ids, change: reverse, reverse: change })).reverse();
      const { refused } = await this.#apply(reversed);
      this.#done.pop();
      this.say(withRefusals(`Undone: ${last.text}`, refused), { kind: refused.length ? "error" : "" });
    });
  }

  /** One change after the other, so that an undo finds the change that it undoes. */
  #enqueue(work) {
    this.number += 1;
    this.#queue = this.#queue.then(work).catch((error) => this.say(`Nothing was changed: ${error.message}`, { kind: "error" }));
    return this.#queue;
  }

  async #do(planned, text) {
    const steps = planned.filter(({ ids }) => ids.length);
    if (!steps.length) return this.say(`${text} already`);
    const { done, refused } = await this.#apply(steps);
    if (done.length) this.#done.push({ steps: done, text });
    this.#done.splice(0, this.#done.length - MOST_UNDONE);
    this.say(withRefusals(done.length ? text : "Nothing was changed", refused), { undo: done.length > 0, kind: refused.length ? "error" : "" });
  }

  /** What fails after a step was done is told like a refusal, so that the steps before it can be undone. */
  async #apply(steps) {
    const [done, refused] = [[], []];
    try {
      for (const step of steps) refused.push(...(await this.#applyStep(step, done)));
    } catch (error) {
      if (!done.length) throw error;
      refused.push(error.message);
    }
    this.onChange();
    return { done, refused };
  }

  /** Show labels at once; then those that the server has refused as they are there. Adds what is changed to `done`. */
  async #applyStep(step, done) {
    const answer = await this.#send(step);
    const ids = step.ids.filter((id) => answer.changed.includes(id));
    if (ids.length) done.push({ ...step, ids });
    if ("trash" in step.change) this.#move(ids, step.change.trash);
    const refused = Object.keys(answer.refused).map(Number);
    if (refused.length) await this.#readAgain(refused);
    return Object.values(answer.refused);
  }

  async #send({ ids, change }) {
    const before = ids.map((id) => this.list.find(id)?.session).filter(Boolean);
    if (!("trash" in change)) this.list.changed(before.map((session) => ({ ...session, meta_info: merged(session.meta_info, change) })));
    try {
      return await send(ids, change);
    } catch (error) {
      this.list.changed(before);
      throw error;
    }
  }

  #move(ids, isTrashed) {
    const isShown = isTrashed === this.isTrash;
    if (isShown) this.list.putBack(ids);
    else this.list.remove(ids.map((id) => this.list.find(id)).filter(Boolean));
  }

  get isTrash() {
    return new URLSearchParams(this.list.query).get("trash") === "true";
  }

  /** Show these sessions as the server has them; those that are there no more are taken out of the list. */
  async #readAgain(ids) {
    const answers = await Promise.all(chunks(ids).map((part) => get(`/sessions/review?ids=${part}&limit=${MOST_IDS}&trash=${this.isTrash}`)));
    const sessions = answers.flatMap(({ results }) => results);
    this.list.changed(sessions);
    const gone = ids.filter((id) => !sessions.some((session) => session.id === id));
    if (gone.length) this.list.remove(gone.map((id) => this.list.find(id)).filter(Boolean));
  }

  /** Read the labels that were too large for the list. */
  async #readAll(rows) {
    const left = rows.filter(({ session }) => session.meta_info_left_out);
    for (const row of left) row.update(await get(`/sessions/${row.session.id}`));
  }
}

async function send(ids, change) {
  const answers = [];
  for (const part of chunks(ids)) answers.push(await post("/sessions/bulk", { ids: part, ...change }));
  return { changed: answers.flatMap(({ changed }) => changed), refused: Object.assign({}, ...answers.map(({ refused }) => refused)) };
}

function chunks(ids) {
  return Array.from({ length: Math.ceil(ids.length / MOST_IDS) }, (_, place) => ids.slice(place * MOST_IDS, (place + 1) * MOST_IDS));
}

/** One step for each value that the rows have now, so that undo gives each row its own value back. */
function labelSteps(rows, name, value) {
  const others = rows.filter((row) => valueOf(row, name) !== value);
  return [...groupedBy(others, (row) => valueOf(row, name))].map(([before, members]) => ({
    ids: idsOf(members),
    change: { meta_info: { [name]: value }, seen: { [name]: before } },
    reverse: { meta_info: { [name]: before }, seen: { [name]: value } },
  }));
}

function tagStep(rows, change, reverse, tag) {
  return { ids: idsOf(rows), change: { [change]: [tag] }, reverse: { [reverse]: [tag] } };
}

function merged(meta, { meta_info: labels = {}, add_tags: added = [], remove_tags: removed = [] }) {
  const before = Array.isArray(meta?.tags) ? meta.tags : [];
  const tags = [...before, ...added.filter((tag) => !before.includes(tag))].filter((tag) => !removed.includes(tag));
  return { ...meta, ...labels, ...(added.length || removed.length ? { tags } : {}) };
}

const valueOf = (row, name) => row.session.meta_info?.[name] ?? null;
const idsOf = (rows) => rows.map(({ session }) => session.id);
const inWords = (name, value) => (value === null ? `no ${name}` : `${name} “${value}”`);
const subject = (ids) => (ids.length === 1 ? `Session ${ids[0]}` : `${ids.length} sessions`);

function withRefusals(text, refused) {
  if (!refused.length) return text;
  const more = refused.length > 1 ? `, and ${refused.length - 1} more` : "";
  return `${text}. Not changed: ${refused[0]}${more}`;
}

function groupedBy(rows, key) {
  const groups = new Map();
  for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  return groups;
}
