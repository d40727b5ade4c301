// Keys of the pages: letters by their position, as a Korean layout or Caps Lock changes `event.key`. No DOM.

const LETTER = /^Key([A-Z])$/;
const FIELDS = "input:not([type=radio], [type=checkbox]), textarea, select, dialog";

/** "s", with shift "S"; of keys without a letter `event.key`; "" together with Ctrl, Meta or Alt. */
export function keyOf(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return "";
  const letter = LETTER.exec(event.code)?.[1];
  if (!letter) return event.key;
  return event.shiftKey ? letter : letter.toLowerCase();
}

/** The key goes into a field or a dialog. */
export const isTyping = (event) => Boolean(event.target.closest?.(FIELDS));

/** Escape, Ctrl+Enter, and Enter in one line: the field is left, which saves it. */
export function leavesField(event) {
  if (event.isComposing) return false;
  const isEnter = event.key === "Enter" && (event.ctrlKey || event.metaKey || event.target.matches("input"));
  return event.key === "Escape" || isEnter;
}
