// Session time <-> frame index <-> a camera's chunk and the moment in it. Pure: no DOM, no requests.
//
// Session time is seconds since the first frame; the server's moments are unix seconds. Session time goes on where the
// robot's clock stepped.

const TOUCH_S = 0.05; // films that end so near to the next one, or to the end of their interval, reach it

/** The position of the last of `sorted` (ascending by `of`) that is not past `value`; -1: all are. */
export function lastUpTo(sorted, value, of = (each) => each) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(sorted[middle]) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export class Timeline {
  /** `anchors`, `gaps` and `steps` (its clock_steps) as in /sessions/{id}/series, `chunks` as in /videos. */
  constructor(anchors, gaps, chunks, steps = []) {
    const starts = chunks.map((chunk) => chunk.start_timestamp);
    this.origin = anchors.length ? anchors[0][1] : chunks.length ? Math.min(...starts) : 0;
    this.anchors = anchors.map(([index, moment]) => ({ index, time: moment - this.origin }));
    this.gaps = gaps.map(([from, to]) => [from - this.origin, to - this.origin]);
    this.pieces = piecesBetween(steps, this.origin, anchors.at(-1)?.[1]);
    this.cameras = new Map();
    for (const video of chunks) {
      const { camera_key } = video;
      if (!this.cameras.has(camera_key)) this.cameras.set(camera_key, []);
      this.cameras.get(camera_key).push(this.#chunkOf(video));
    }
    for (const chunks of this.cameras.values()) chunks.sort((a, b) => a.start - b.start);
    // Without frames the videos say how long it is; beside frames, what a camera saw before and after is left out.
    const ends = [...this.cameras.values()].map((chunks) => chunks.at(-1).end);
    this.duration = anchors.length ? this.anchors.at(-1).time : Math.max(0, ...ends);
  }

  /** The frame that holds at this time, by the anchors on both sides; in a gap the one before it. null: no frames. */
  indexAt(time) {
    const at = lastUpTo(this.anchors, time, (anchor) => anchor.time);
    if (at < 0) return this.anchors.length ? this.anchors[0].index : null;
    const [a, b] = [this.anchors[at], this.anchors[at + 1]];
    if (!b || this.gapAt(time)) return a.index;
    const steps = ((time - a.time) / (b.time - a.time)) * (b.index - a.index);
    return a.index + Math.floor(steps + 1e-3); // a frame's own time finds it, though doubles round
  }

  timeAt(index) {
    const at = Math.max(0, lastUpTo(this.anchors, index, (anchor) => anchor.index));
    const [a, b] = [this.anchors[at], this.anchors[at + 1]];
    if (!b || index <= a.index) return a.time;
    return a.time + ((index - a.index) / (b.index - a.index)) * (b.time - a.time);
  }

  /** The session time of a stored frame. */
  timeOfFrame(index, timestamp) {
    return timestamp - this.pieces[lastUpTo(this.pieces, index, (piece) => piece.index)].ahead - this.origin;
  }

  /** The session time of a moment without a frame, as of a video or a mark. If the clock showed it twice: the first. */
  timeOf(moment) {
    const distance = ({ from, to }) => Math.max(from - moment, moment - to, 0);
    const nearest = this.pieces.reduce((best, piece) => (distance(piece) < distance(best) ? piece : best));
    return moment - nearest.ahead - this.origin;
  }

  /** The session time of a moment, or the end of the session that is nearer to it. */
  within(moment) {
    return Math.min(Math.max(this.timeOf(moment), 0), this.duration);
  }

  /** One more anchor: a frame whose index and time are known. */
  learn({ index, time }) {
    const at = lastUpTo(this.anchors, index, (anchor) => anchor.index);
    if (this.anchors[at]?.index !== index) this.anchors.splice(at + 1, 0, { index, time });
  }

  gapAt(time) {
    const gap = this.gaps[lastUpTo(this.gaps, time, ([from]) => from)];
    return gap && time > gap[0] && time < gap[1] ? gap : null;
  }

  /** The chunk whose film has a picture at this time; null: no video here. */
  chunkAt(camera, time) {
    const chunks = this.cameras.get(camera);
    const chunk = chunks[lastUpTo(chunks, time, (each) => each.start)];
    return chunk && time < chunk.over ? chunk : null;
  }

  /** The first chunk of the camera that begins after this time, or null. */
  nextChunk(camera, time) {
    const chunks = this.cameras.get(camera);
    return chunks[lastUpTo(chunks, time, (each) => each.start) + 1] ?? null;
  }

  /** Where the camera has video, as [from, to, preview] in session time; chunks that touch are one piece. */
  coverage(camera) {
    const pieces = [];
    for (const { start, over, preview } of this.cameras.get(camera)) {
      if (over <= 0 || start >= this.duration) continue;
      const seen = preview === "proxy" ? "original" : preview;
      const last = pieces.at(-1);
      if (last && last[2] === seen && start - last[1] <= TOUCH_S) last[1] = Math.min(over, this.duration);
      else pieces.push([Math.max(start, 0), Math.min(over, this.duration), seen]);
    }
    return pieces;
  }

  /** A film is not probed yet, or its preview is still being made. */
  get isPending() {
    const isPending = ({ preview, duration_s }) => preview === "pending" || duration_s === null;
    return [...this.cameras.values()].some((chunks) => chunks.some(isPending));
  }

  /** The films as the server knows them now; chunks that are new are left out. */
  update(videos) {
    const known = new Map([...this.cameras.values()].flat().map((chunk) => [chunk.id, chunk]));
    for (const video of videos) if (known.has(video.id)) Object.assign(known.get(video.id), this.#chunkOf(video));
  }

  /** The video with session times: from `start` to `end` it should last, at `over` its last picture ends. */
  #chunkOf(video) {
    const start = this.timeOf(video.start_timestamp);
    const end = start + video.end_timestamp - video.start_timestamp;
    const stretch = video.stretch ?? 1;
    const over = start + (video.duration_s || Infinity) * stretch; // null: not probed yet, 0: unreadable
    return { ...video, stretch, start, end, over: over > end - TOUCH_S ? end : over };
  }
}

/** From one step of the clock to the next: the first frame's index, the moments from and to, and by how many seconds
 *  they are ahead of the clock that the session began with. */
function piecesBetween(steps, first, last) {
  const pieces = [{ index: 0, from: first, ahead: 0 }];
  for (const { frame_index, before, timestamp, step_s } of steps) {
    const piece = pieces.at(-1);
    piece.to = before;
    pieces.push({ index: frame_index, from: timestamp, ahead: piece.ahead + step_s });
  }
  pieces.at(-1).to = last + pieces.at(-1).ahead;
  return pieces;
}
