// A live socket (docs/live.md): the page asks for the next answer when it has drawn the last, so a browser that cannot
// keep up gets fewer answers and never a queue of them. It comes back by itself, later each time, and says so in `notice`.
// Binary messages are pictures of cameras, of the robots that `want([...])` names: none while the page is hidden.

import { read } from "./previews.js";

const FIRST_WAIT_S = 0.5;
const LONGEST_WAIT_S = 15;
const SILENCE_S = 10; // every question has an answer within seconds: a longer silence is a dead connection

const LOGGED_OUT = 4401;
const UNKNOWN_ROBOT = 4404;

export function follow(path, notice, { onAnswer, onPicture, onLost = () => {} }) {
  let wait_s = FIRST_WAIT_S;
  let wanted = [];
  let current; // socket
  connect();
  document.addEventListener("visibilitychange", tellWanted);
  return {
    want(robots) {
      if (robots.join() === wanted.join()) return;
      wanted = robots;
      tellWanted();
    },
  };

  function tellWanted() {
    if (current.readyState !== WebSocket.OPEN) return;
    current.send(JSON.stringify({ type: "previews", robots: document.hidden ? [] : wanted }));
  }

  function connect() {
    const url = new URL(path, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = (current = new WebSocket(url));
    socket.binaryType = "arraybuffer";
    let wasOpen = false;
    let silence;
    let drawn = []; // the pictures of the next answer

    const ask = () => {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send('{"type":"next"}');
      silence = setTimeout(() => lose(0), SILENCE_S * 1000);
    };
    const lose = (code) => {
      clearTimeout(silence);
      socket.onclose = socket.onmessage = null; // a dead connection would take minutes to close by itself
      socket.close();
      onLost();
      lost(code, wasOpen);
    };
    socket.onopen = () => {
      wasOpen = true;
      ask();
      if (wanted.length) tellWanted();
    };
    socket.onmessage = async ({ data }) => {
      if (typeof data !== "string") return drawn.push(onPicture(read(data)));
      clearTimeout(silence);
      wait_s = FIRST_WAIT_S;
      notice.hidden = true;
      try {
        await onAnswer(JSON.parse(data));
        await Promise.all(drawn.splice(0));
      } finally {
        requestAnimationFrame(ask); // a page that nobody sees draws nothing, and asks nothing
      }
    };
    socket.onclose = ({ code }) => lose(code);
  }

  async function lost(code, wasOpen) {
    if (code === UNKNOWN_ROBOT) return say("This robot no longer exists.", "error");
    if (code === LOGGED_OUT || !wasOpen) {
      const why = await whyRefused();
      if (why) return say(why, "error", ["Log in", () => location.reload()]);
    }
    countDown(Date.now() + wait_s * 1000 * (0.75 + Math.random() / 2));
    wait_s = Math.min(wait_s * 2, LONGEST_WAIT_S);
  }

  function countDown(until) {
    const left_s = Math.ceil((until - Date.now()) / 1000);
    if (left_s <= 0) {
      say("The connection to the server is lost. Reconnecting …");
      return connect();
    }
    const timer = setTimeout(() => countDown(until), Math.min(1000, until - Date.now()));
    const now = () => {
      clearTimeout(timer);
      countDown(0);
    };
    say(`The connection to the server is lost. The data shown is out of date. Reconnecting in ${left_s} s.`, "trouble", ["Reconnect now", now]);
  }

  function say(text, kind = "trouble", [label, onClick] = []) {
    notice.dataset.kind = kind;
    notice.hidden = false;
    notice.textContent = `${text} `;
    if (!label) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", onClick);
    notice.append(button);
  }
}

// A handshake that is refused looks to a page like a network that is down. The page itself knows better.
async function whyRefused() {
  try {
    const answer = await fetch(location.pathname, { method: "HEAD", redirect: "manual" });
    if (answer.type === "opaqueredirect") return "You are logged out.";
    if (answer.status === 403) return "You no longer have permission to view this page.";
  } catch {
    // no answer at all: it is the network, or the server
  }
  return null;
}
