// The videos of all cameras. Each is led by the clock, never the other way round.

const AHEAD_S = 4; // so long before its turn the next chunk begins to load
const JUMP_S = 0.25; // further away it jumps; nearer it runs a little faster or slower, which nobody sees
const PULL = 2; // times the distance in seconds, at most a quarter of the rate
const NUDGE_S = 0.0005; // into the picture: on its very border a decoder may still show the one before

/** One <video> with one chunk at a time. */
class Player {
  chunk = null;

  constructor(onNews) {
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, preload: "auto", disablePictureInPicture: true });
    for (const news of ["loadeddata", "seeked", "canplay", "error"]) this.video.addEventListener(news, onNews);
  }

  load(chunk) {
    if (this.chunk === chunk) return;
    this.chunk = chunk;
    this.video.src = `/videos/${chunk.id}/content`;
  }

  get failed() {
    return this.video.error !== null;
  }

  /** The file may be a little shorter than the time it stands for. */
  isOverAt(offset) {
    return offset >= this.video.duration;
  }

  get isThere() {
    return this.video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA && !this.video.seeking;
  }

  hold() {
    if (!this.video.paused) this.video.pause();
  }

  /** To the picture at `offset`; it stands there, or runs on with the clock. */
  lead(offset, clock, halfFrame) {
    const { video } = this;
    if (!clock.running) this.hold();
    if (video.readyState < HTMLMediaElement.HAVE_METADATA || video.seeking) return;
    const target = Math.min(offset + NUDGE_S, video.duration);
    const behind = target - video.currentTime;
    if (Math.abs(behind) > (clock.running ? JUMP_S : NUDGE_S / 2)) video.currentTime = target;
    if (!clock.running) return;
    const pull = Math.abs(behind) < halfFrame ? 0 : Math.min(Math.max(behind * PULL, -0.25), 0.25);
    const rate = clock.rate * (1 + pull);
    if (Math.abs(video.playbackRate - rate) > 0.01) video.playbackRate = rate;
    if (video.paused && !video.ended) video.play().catch(() => {}); // a pause came in between
  }
}

export class Camera {
  /** `onNews` is called when a video has come to where it should be, or failed. */
  constructor(key, timeline, clock, fps, onNews) {
    Object.assign(this, { key, timeline, clock, halfFrame: 0.5 / fps });
    this.players = [new Player(onNews), new Player(onNews)]; // one is seen, the other loads what follows
    this.element = document.createElement("figure");
    this.element.className = "camera";
    this.element.dataset.camera = key;
    const caption = document.createElement("figcaption");
    caption.textContent = key.replace(/^observation\.images\./, "");
    caption.title = key;
    this.notice = document.createElement("p");
    this.element.append(...this.players.map((player) => player.video), caption, this.notice);
  }

  follow() {
    const { clock } = this;
    const place = this.timeline.placeAt(this.key, clock.time);
    const player = place && this.#playerOf(place.chunk);
    const isOver = Boolean(player?.isOverAt(place.offset));
    this.#say(!place || isOver ? "No video at this time" : player.failed ? `Video ${place.chunk.id} cannot be played` : "");
    for (const each of this.players) {
      each.video.hidden = each !== player || !place || isOver || player.failed;
      if (each !== player || isOver) each.hold();
    }
    if (player && !isOver && !player.failed) player.lead(place.offset, clock, this.halfFrame);
    clock.await(this, !player || isOver || player.failed || player.isThere);
    if (place?.following && place.chunk.end - clock.time < AHEAD_S * clock.rate)
      this.players.find((each) => each !== player).load(place.following);
  }

  /** Nothing has to come any more: it shows what the clock says. */
  get isSettled() {
    return this.players.every(({ video }) => video.hidden || (video.readyState >= 2 && !video.seeking));
  }

  #playerOf(chunk) {
    const player = this.players.find((each) => each.chunk === chunk) ?? this.players.find((each) => each.video.hidden) ?? this.players[0];
    player.load(chunk);
    return player;
  }

  #say(text) {
    if (this.notice.textContent !== text) this.notice.textContent = text;
    this.notice.hidden = !text;
  }
}
