// What a robot's small graph shows at first, read from the stored frames: the socket has only what comes after the page
// was opened.

import { get } from "./api.js";
import { placeOf, rankOf, valuesOf } from "./jointvalues.js";

const SAMPLES = 120; // as many as come live in half a minute
const MOST_VALUES = 12; // as the socket has them
const MOTORS = rankOf("motor.temperature");

/** [[ms, values], ...] of the last `seconds`, the newest at `now`; `robot` is as the socket has it. */
export async function readStored({ session_id, frame_count, fps }, seconds, now) {
  const start = Math.max(0, frame_count - Math.ceil(seconds * fps));
  const stride = Math.max(1, Math.round((seconds * fps) / SAMPLES));
  // Indexes are higher than the count where frames are missing: so there may be more samples.
  const query = `start=${start}&stride=${stride}&limit=${2 * SAMPLES}&fields=observation`;
  const { results } = await get(`/sessions/${session_id}/frames?${query}`);
  const newest = results.at(-1)?.timestamp;
  return results.map(({ frame_index, timestamp, ...data }) => [now - (newest - timestamp) * 1000, valuesIn(data)]);
}

/** The positions of a frame's joints in the socket's order; if it has none, all values but those of motors. */
function valuesIn(data) {
  const values = Object.entries(valuesOf(data)).map(([name, value]) => ({ value, rank: rankOf(placeOf(name).joint) }));
  const positions = values.filter(({ rank }) => rank === 0);
  const shown = positions.length ? positions : values.filter(({ rank }) => rank < MOTORS);
  return shown.slice(0, MOST_VALUES).map(({ value }) => (typeof value === "string" ? null : Number(value)));
}
