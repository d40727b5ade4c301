// The search field of /review: the list follows while somebody types, and Enter goes to the first result.

import { keyOf } from "./keys.js";

const TYPING_MS = 250;

/**
 * Call `search(text, isNew)` after a pause in typing, and `leave(isEnter)` when the field is left by a key. `isNew` is
 * true for the first search since the field was entered: it gets an entry of its own in the history.
 */
export function followSearch(field, search, leave) {
  let timer;
  let searched = 0;
  const now = () => {
    clearTimeout(timer);
    searched += 1;
    return search(field.value.trim(), searched === 1);
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(now, TYPING_MS);
  });
  field.addEventListener("blur", () => (searched = 0));
  field.addEventListener("keydown", async (event) => {
    const key = event.isComposing ? "" : keyOf(event);
    if (key === "Enter") await now();
    if (["Enter", "Escape", "ArrowDown"].includes(key)) leave(key === "Enter");
  });
}
