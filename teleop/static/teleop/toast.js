// A sentence over the page for some seconds, with buttons.

const STAYS_MS = 12_000;
const element = document.querySelector("#toast");
let timer;

/** `choices` are functions by the text of their button. */
export function toast(text, choices = {}) {
  const buttons = Object.entries({ ...choices, Close: () => {} }).map(([label, act]) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: label });
    button.addEventListener("click", () => {
      element.hidden = true;
      act();
    });
    return button;
  });
  element.replaceChildren(text, ...buttons);
  element.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (element.hidden = true), STAYS_MS);
}
