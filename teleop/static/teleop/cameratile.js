// The tile of one camera: its name, its video or the reason why there is none, and its buttons.

import { nameOf } from "./films.js";

const template = document.querySelector("#camera");

export class CameraTile {
  onEnlarge = null;
  onHide = null;

  constructor(key, videos) {
    this.name = nameOf(key);
    this.videos = videos;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.dataset.camera = key;
    this.element.prepend(...videos);
    this.poster = this.element.querySelector("img");
    this.notice = this.element.querySelector("p");
    const caption = this.element.querySelector("figcaption");
    caption.textContent = this.name;
    caption.title = key;
    this.buttons = {};
    const does = {
      sound: () => this.#toggleSound(),
      enlarge: () => this.onEnlarge(),
      fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : this.element.requestFullscreen()),
      hide: () => this.onHide(),
    };
    for (const button of this.element.querySelectorAll("button")) {
      this.buttons[button.name] = button;
      button.ariaLabel = `${button.title}: ${this.name}`;
      button.addEventListener("click", does[button.name]);
    }
    this.buttons.fullscreen.hidden = !document.fullscreenEnabled; // as on phones of Apple
    this.element.addEventListener("click", (event) => event.target.closest("button, a") || this.onEnlarge());
  }

  get isEnlarged() {
    return this.element.classList.contains("enlarged");
  }

  set isEnlarged(isEnlarged) {
    this.element.classList.toggle("enlarged", isEnlarged);
    this.buttons.enlarge.ariaPressed = String(isEnlarged);
  }

  get isHidden() {
    return this.element.hidden;
  }

  set isHidden(isHidden) {
    this.element.hidden = isHidden;
  }

  focus() {
    this.buttons.hide.focus();
  }

  offerSound() {
    this.buttons.sound.hidden = false;
  }

  /** In place of the picture; "": nothing. Of a chunk that the browser does not play: its poster, and to get the file. */
  say(text, chunk = null) {
    const [words, link] = this.notice.children;
    if (words.textContent !== text) words.textContent = text;
    this.notice.hidden = !text;
    link.hidden = chunk?.preview !== "none";
    if (!link.hidden) link.href = `/videos/${chunk.id}/content`;
    this.poster.hidden = !chunk?.poster;
    if (!this.poster.hidden && this.poster.dataset.chunk !== String(chunk.id)) {
      this.poster.dataset.chunk = chunk.id;
      this.poster.src = `/videos/${chunk.id}/poster`;
    }
  }

  #toggleSound() {
    const isMuted = !this.videos[0].muted;
    for (const video of this.videos) video.muted = isMuted;
    this.buttons.sound.ariaPressed = String(!isMuted);
  }
}
