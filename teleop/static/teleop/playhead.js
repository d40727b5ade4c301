// The line at the clock's moment. While time runs the compositor moves it, so that the main thread may rest: a line that
// a script moves 60 times a second costs a commit of all plots each time, 40 % of a core with 30 joints.

export class Playhead {
  #animation = null;

  /** `element` is as wide as the time axis, and holds the line; `onResize` is called when its width has changed. */
  constructor(element, onResize) {
    this.element = element;
    this.line = element.querySelector("i");
    new ResizeObserver(([{ contentRect }]) => {
      this.width = contentRect.width;
      onResize();
    }).observe(element);
    this.width = element.clientWidth;
  }

  /** At a share of the width; with `seconds` it goes from there to the right end in this time. */
  show(share, seconds = null) {
    this.#animation?.cancel();
    this.#animation = null;
    this.line.hidden = share < 0 || share > 1;
    const [from, to] = [share, 1].map((each) => `translateX(${each * this.width}px)`);
    this.line.style.transform = from;
    if (seconds > 0 && !this.line.hidden)
      this.#animation = this.line.animate({ transform: [from, to] }, { duration: 1000 * seconds, fill: "forwards" });
  }
}
