// Moments in the reader's own time, with UTC on hover: every <time datetime="..."> of a page, and every
// <input data-moment> (ISO 8601 in UTC for the server, the browser's own picker for people).

const LOCAL = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" }); // 2026-01-05 09:00:00
const UTC = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: "UTC" });

export const local = (date) => LOCAL.format(date);
export const utc = (date) => `${UTC.format(date)} UTC`;

/** One in words ("12 s ago", class `ago`) keeps them, and says when exactly on hover; one of class `ms` has them. */
export function showLocal(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    const inWords = element.classList.contains("ago");
    element.title = inWords ? `${local(date)} (${utc(date)})` : utc(date);
    const ms = element.classList.contains("ms") ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "";
    if (!inWords) element.textContent = local(date) + ms;
  }
}

/** The picker knows local time only, so what is sent is a hidden input beside it. */
function pickLocal(input) {
  const picker = document.createElement("input");
  Object.assign(picker, { type: "datetime-local", step: 1, id: input.id, title: input.title });
  const date = new Date(input.value);
  if (isNaN(date)) input.value = ""; // refused by the server, which says so: nothing to pick up from
  else picker.value = local(date).replace(" ", "T");
  picker.addEventListener("input", () => {
    input.value = picker.value && new Date(picker.value).toISOString();
  });
  input.type = "hidden";
  input.removeAttribute("id"); // the label is for the picker
  input.after(picker);
}

showLocal();
document.querySelectorAll("input[data-moment]").forEach(pickLocal);
