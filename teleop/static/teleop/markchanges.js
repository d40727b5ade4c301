// What takes back a change of a session's marks.

import { get, patch, post, remove } from "./api.js";

/** `path` is that of the marks. `removed` are marks, `added` are times, `edited` is a mark as it was and as it is now. */
export async function takeBack(path, { removed = [], added = [], edited }) {
  for (const timestamp of added) await removeOne(path, timestamp);
  for (const mark of removed) await putBack(path, mark);
  if (!edited) return;
  const [{ timestamp, note }, now] = edited;
  await patch(`${path}/${now.timestamp}`, { timestamp, note, seen_note: now.note });
}

/** The server removes all marks of a time at once. */
async function removeOne(path, timestamp) {
  const there = (await get(path)).filter((mark) => mark.timestamp === timestamp && !mark.event);
  if (there.length > 1) throw new Error("there is another mark at this time");
  await remove(`${path}/${timestamp}`);
}

/** A trim that somebody has set since stays: another one of its kind would replace it. */
async function putBack(path, mark) {
  const isThere = mark.kind && (await get(path)).some(({ kind }) => kind === mark.kind);
  if (isThere) throw new Error(`the ${mark.kind.replace("_", " ")} was set again`);
  await post(path, mark);
}
