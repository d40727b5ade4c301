// What moves the clock and the view: pointer, buttons, keys.

import { RATES } from "./clock.js";
import { isTyping, keyOf } from "./keys.js";

/** Buttons, and the pointer on the plots and on the track. */
export function controls(page, { clock, view, joints, track, drawing }) {
  const find = (selector) => page.querySelector(selector);
  scrub(find(".joints"), (event) => joints.timeAt(event), clock, view);
  scrub(find(".track .area"), (event) => track.timeAt(event), clock);
  const plots = find(".joints");
  plots.addEventListener("dblclick", () => view.show(0, view.whole));
  plots.addEventListener("wheel", (event) => zoomByWheel(event, joints, view), { passive: false });
  plots.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !event.buttons) drawing.point(event.target.closest(".plot") && joints.timeAt(event));
  });
  plots.addEventListener("pointerleave", () => drawing.point(null));
  clock.addEventListener("change", () => drawing.point(null));
  find("[name=play]").addEventListener("click", () => clock.toggle());
  const rates = find("[name=rate]");
  rates.append(...RATES.map((rate) => new Option(`${rate}×`, rate)));
  rates.addEventListener("change", () => (clock.rate = Number(rates.value)));
  find("[name=in]").addEventListener("click", () => view.zoom(2, clock.time));
  find("[name=out]").addEventListener("click", () => view.zoom(0.5, clock.time));
  find(".zoom [name=all]").addEventListener("click", () => view.show(0, view.whole));
  find("[name=keys]").addEventListener("click", () => find("dialog.keys").showModal());
}

function zoomByWheel(event, joints, view) {
  if (!event.ctrlKey && !event.metaKey && !event.altKey) return; // rows are scrolled
  event.preventDefault();
  view.zoom(2 ** (-event.deltaY / 200), joints.timeAt(event));
}

/** The pointer leads the clock; with shift it marks what to zoom into. If the clock was playing, it goes on afterwards. */
function scrub(element, timeAt, clock, view) {
  element.addEventListener("pointerdown", (down) => {
    if (down.button || down.target.closest(".joint > :not(.plot), .group > h2")) return;
    down.preventDefault();
    document.activeElement?.blur(); // a field that is left is saved, and the keys are those of the page again
    element.setPointerCapture(down.pointerId);
    const begin = timeAt(down);
    const wasPlaying = clock.playing;
    const isZoom = view && down.shiftKey;
    const move = (event) => !isZoom && clock.seek(timeAt(event));
    clock.pause();
    move(down);
    element.addEventListener("pointermove", move);
    element.addEventListener(
      "lostpointercapture",
      (up) => {
        element.removeEventListener("pointermove", move);
        const end = timeAt(up);
        if (isZoom && begin !== end) view.show(Math.min(begin, end), Math.max(begin, end));
        if (wasPlaying) clock.play();
      },
      { once: true },
    );
  });
}

/** Keys: `actions` are functions by key, for those that are not about the clock and the view. */
export function keys(page, { clock, view, frames }, actions) {
  const step = async (steps) => {
    clock.pause();
    const frame = await frames.step(clock.time, steps);
    if (frame) clock.seek(frame.time);
  };
  const faster = (by) => (clock.rate = RATES[Math.min(Math.max(RATES.indexOf(clock.rate) + by, 0), RATES.length - 1)]);
  const does = {
    " ": () => clock.toggle(),
    ArrowLeft: (event) => clock.seek(clock.time - (event.shiftKey ? 10 : 1)),
    ArrowRight: (event) => clock.seek(clock.time + (event.shiftKey ? 10 : 1)),
    Home: () => clock.seek(0),
    End: () => clock.seek(clock.duration),
    ",": () => step(-1),
    ".": () => step(1),
    "[": () => faster(-1),
    "]": () => faster(1),
    "+": () => view.zoom(2, clock.time),
    "-": () => view.zoom(0.5, clock.time),
    0: () => view.show(0, view.whole),
    "?": () => page.querySelector("dialog.keys").showModal(),
    ...actions,
  };
  addEventListener("keydown", (event) => {
    const key = keyOf(event);
    const isPressing = [" ", "Enter"].includes(key) && event.target.closest("button, a, summary, input");
    if (isTyping(event) || isPressing || !Object.hasOwn(does, key)) return;
    event.preventDefault();
    does[key](event);
  });
}
