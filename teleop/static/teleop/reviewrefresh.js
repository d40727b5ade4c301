// Keeps an open list up to date: sessions that have ended or are computed, and a button once there are newer ones.

import { get } from "./api.js";

const REFRESH_MS = 15_000;
const RECENT_MS = 600_000; // after that, a missing quality or picture is not waited for
const MOST = 100;

/** Call `onNew()` once the first session of the query is not in the list. */
export function keepFresh(list, changes, onNew) {
  const refresh = async () => {
    if (document.hidden || list.query === undefined) return;
    const before = changes.number;
    const [sessions, first] = await Promise.all([unfinished(list), newest(list)]).catch(() => [[], null]);
    if (before !== changes.number) return; // what was read may be older than the change
    for (const session of sessions) list.find(session.id)?.update(session);
    if (first && !list.find(first.id)) onNew();
  };
  setInterval(refresh, REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
}

async function unfinished(list) {
  const since = Date.now() - RECENT_MS;
  const isDue = ({ session }) => session.live || ((!session.quality || !session.poster) && new Date(session.end_time) > since);
  const ids = list.rows.filter(isDue).slice(0, MOST).map(({ session }) => session.id);
  return ids.length ? (await get(`/sessions/review?ids=${ids}&limit=${MOST}`)).results : [];
}

/** Only in the default order are newer sessions at the top. */
async function newest(list) {
  const query = new URLSearchParams(list.query);
  if (query.has("ordering") || query.has("trash")) return null;
  query.set("limit", 1);
  return (await get(`/sessions/review?${query}`)).results[0] ?? null;
}
