// The time of a replay. Everything that is seen follows it: plots, values, videos. No DOM.

export const RATES = [0.25, 0.5, 1, 1.5, 2, 3, 4];

/** Says `change` when it plays, stops, jumps or changes its rate; between two of those time runs evenly. */
export class Clock extends EventTarget {
  #rate = 1;
  #playing = false;
  #from = 0; // session time at #since
  #since = 0;
  #awaited = new Set();

  constructor(duration, now = () => performance.now() / 1000) {
    super();
    this.duration = duration;
    this.now = now;
  }

  get time() {
    const passed = this.running ? (this.now() - this.#since) * this.#rate : 0;
    return Math.min(this.#from + passed, this.duration);
  }

  get rate() {
    return this.#rate;
  }

  get playing() {
    return this.#playing;
  }

  /** It plays, and nobody has to be waited for. */
  get running() {
    return this.#playing && !this.#awaited.size;
  }

  set rate(rate) {
    this.#change(() => (this.#rate = Math.min(Math.max(rate, RATES[0]), RATES.at(-1))));
  }

  /** From the end it begins anew. */
  play() {
    this.#change(() => {
      if (this.#from >= this.duration) this.#from = 0;
      this.#playing = true;
    });
  }

  pause() {
    this.#change(() => (this.#playing = false));
  }

  toggle() {
    if (this.#playing) this.pause();
    else this.play();
  }

  seek(time) {
    this.#change(() => (this.#from = Math.min(Math.max(time, 0), this.duration)));
  }

  /** The clock stops while a video is loading. A camera stops the clock for at most 5 s. */
  await(who, isThere) {
    if (isThere !== this.#awaited.has(who)) return;
    this.#change(() => (isThere ? this.#awaited.delete(who) : this.#awaited.add(who)));
  }

  /** To be called at every picture: it stops by itself at the end. */
  tick() {
    if (this.#playing && this.time >= this.duration) this.pause();
  }

  #change(how) {
    this.#from = this.time;
    this.#since = this.now();
    how();
    this.dispatchEvent(new Event("change"));
  }
}
