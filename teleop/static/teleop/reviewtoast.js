// A short message at the bottom of the page, with a button that undoes what it tells.

const SHOWN_MS = 8000;

export class Toast {
  #timer;

  constructor(element) {
    this.element = element;
    this.text = element.querySelector("span");
    this.button = element.querySelector("[name=undo]");
    element.querySelector("[name=close]").addEventListener("click", () => this.hide());
    this.button.addEventListener("click", () => {
      this.hide();
      this.undo();
    });
    for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, () => clearTimeout(this.#timer));
    for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, () => this.#hideLater());
  }

  /** `undo` is a function; without it there is no button. */
  show(text, { undo, kind = "" } = {}) {
    Object.assign(this, { undo });
    this.text.textContent = text;
    this.button.hidden = !undo;
    this.element.dataset.kind = kind;
    this.element.classList.add("shown");
    this.#hideLater();
  }

  hide() {
    clearTimeout(this.#timer);
    this.element.classList.remove("shown");
  }

  #hideLater() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.hide(), SHOWN_MS);
  }
}
