// The events of a robot on its session's page in the admin: the first ones in words, and how many there are.

import { get } from "./api.js";
import { inWords } from "./events.js";
import { showLocal } from "./localtime.js";

const MOST = 20;
const list = document.querySelector("ul.events");

try {
  const { count, results } = await get(`/sessions/${list.dataset.session}/events?limit=${MOST}`);
  list.replaceChildren(...results.map(entry));
  if (!count) list.replaceChildren(line("-"));
  if (count > MOST) list.append(line(`and ${count - MOST} more; the replay shows all`));
  showLocal(list);
} catch (error) {
  list.replaceChildren(line(`The events cannot be shown: ${error.message}`));
}

function entry(event) {
  const time = document.createElement("time");
  time.dateTime = new Date(event.timestamp * 1000).toISOString();
  return line(time, ` ${inWords(event)}`);
}

function line(...content) {
  const item = document.createElement("li");
  item.append(...content);
  return item;
}
