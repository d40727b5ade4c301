// One <video>, led by the clock, never the other way round.

const JUMP_S = 0.25; // a larger difference needs a seek; a smaller one is corrected by a slightly different playback rate
const PULL = 2; // times the distance in seconds, at most a quarter of the rate
const NUDGE_S = 0.0005; // into the picture: on its very border a decoder may still show the one before
const [SLOWEST, FASTEST] = [0.0625, 16]; // browsers refuse other rates
const RETRY_S = 10;
const STOPPED = { running: false };
const TROUBLES = { 2: "network error", 3: "decoding error", 4: "the file is missing, or the browser cannot play it" };

export class Player {
  url = null;
  #asked = null; // where the seek under way should end
  #miss = 0; // by so much the last seek has ended elsewhere
  #failedAt = 0;

  /** `onNews` is called when the video has come to where it should be, or failed. */
  constructor(onNews, now) {
    this.now = now;
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, preload: "auto", disablePictureInPicture: true });
    this.video.addEventListener("seeked", () => this.#land());
    this.video.addEventListener("error", () => (this.#failedAt = now()));
    for (const news of ["loadeddata", "seeked", "canplay", "error"]) this.video.addEventListener(news, onNews);
  }

  /** Load the file of this URL. With null, unload the present file. */
  load(url) {
    if (this.url === url) return;
    this.url = url;
    this.#reset();
    if (url) this.video.src = url;
    else this.video.removeAttribute("src");
    if (!url) this.video.load();
  }

  get failed() {
    return this.video.error !== null;
  }

  get trouble() {
    return TROUBLES[this.video.error?.code] ?? "no answer yet";
  }

  get isThere() {
    const { readyState, seeking, ended } = this.video;
    return !this.failed && !seeking && (readyState >= HTMLMediaElement.HAVE_FUTURE_DATA || ended);
  }

  hold() {
    if (!this.video.paused) this.video.pause();
  }

  /** To the picture at `mediaTime`; it stands there, or runs on with the clock. */
  lead(mediaTime, clock, stretch, halfFrame) {
    const { video } = this;
    if (!clock.running) this.hold();
    if (this.failed && this.now() - this.#failedAt > RETRY_S) this.#reload();
    if (video.readyState < HTMLMediaElement.HAVE_METADATA || video.seeking) return;
    const target = Math.min(mediaTime + NUDGE_S, video.duration);
    const near = clock.running ? JUMP_S * Math.max(clock.rate, 1) : NUDGE_S / 2;
    if (Math.abs(target - video.currentTime) <= near) this.#miss = 0;
    const behind = target - video.currentTime + this.#miss;
    if (Math.abs(behind) > near) video.currentTime = this.#asked = target;
    if (!clock.running) return;
    const pull = Math.abs(behind) < halfFrame ? 0 : Math.min(Math.max(behind * PULL, -0.25), 0.25);
    const rate = Math.min(Math.max((clock.rate / stretch) * (1 + pull), SLOWEST), FASTEST);
    if (Math.abs(video.playbackRate - rate) > 0.01) video.playbackRate = rate;
    if (video.paused && !video.ended) video.play().catch(() => {}); // a pause came in between
  }

  /** Load a film before its turn, and stand at its first picture. */
  prepare({ url, begin }) {
    this.load(url);
    this.lead(begin, STOPPED);
  }

  /** A browser may end a seek elsewhere, as before the first picture. That counts as there: it would end so again. */
  #land() {
    const miss = this.#asked === null ? 0 : this.video.currentTime - this.#asked;
    this.#miss = Math.abs(miss) > (this.video.paused ? NUDGE_S / 2 : JUMP_S) ? miss : 0;
    this.#asked = null;
  }

  #reset() {
    this.#asked = null;
    this.#miss = 0;
  }

  #reload() {
    this.#reset();
    this.video.load();
  }
}
