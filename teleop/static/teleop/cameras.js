// The videos of all cameras, each in a tile.

import { CameraTile } from "./cameratile.js";
import { nameOf, reasonOf, sourceOf } from "./films.js";
import { Player } from "./players.js";

const AHEAD_S = 4; // so long before its turn the next chunk begins to load
const PATIENCE_S = 5; // the clock waits no longer for a camera

class Camera {
  #waitsSince = null;
  isLate = false; // the clock goes on without it, until it is ready

  /** `onNews` is called when a video has come to where it should be, or failed. */
  constructor(key, timeline, clock, fps, onNews) {
    Object.assign(this, { key, timeline, clock, halfFrame: 0.5 / fps });
    this.players = [new Player(onNews, clock.now), new Player(onNews, clock.now)]; // one is seen, the other loads what follows
    this.tile = new CameraTile(key, this.players.map((player) => player.video));
  }

  follow() {
    const { clock, tile } = this;
    const chunk = tile.isHidden ? null : this.timeline.chunkAt(this.key, clock.time);
    const source = chunk && sourceOf(chunk);
    const player = source && this.#playerOf(source.url);
    if (player?.failed) chunk.isBroken = true; // from the next picture on its proxy, if it has one
    for (const each of this.players) {
      if (each !== player) each.hold();
      if (tile.isHidden) each.load(null);
    }
    player?.lead(source.begin + (clock.time - chunk.start) / chunk.stretch, clock, chunk.stretch, this.halfFrame);
    this.#wait(player);
    clock.await(this, !player || player.isThere || this.isLate);
    this.#show(chunk, player);
    if (!tile.isHidden) this.#prepareNext(player);
  }

  /** Nothing has to come any more: it shows what the clock says. */
  get isSettled() {
    return this.isLate || this.players.every(({ video }) => video.hidden || (video.readyState >= 2 && !video.seeking));
  }

  #playerOf(url) {
    const { players } = this;
    const player = players.find((each) => each.url === url) ?? players.find((each) => each.video.hidden) ?? players[0];
    player.load(url);
    return player;
  }

  #wait(player) {
    const now = this.clock.now();
    if (player ? player.isThere : !this.isLate) this.#waitsSince = null;
    else if (player?.failed) this.#waitsSince = -Infinity;
    else if (player) this.#waitsSince ??= now;
    this.isLate = this.#waitsSince !== null && now - this.#waitsSince > PATIENCE_S;
  }

  #show(chunk, player) {
    const name = nameOf(this.key);
    for (const each of this.players) each.video.hidden = each !== player || this.isLate;
    if (player && chunk.has_audio) this.tile.offerSound();
    if (!chunk) this.tile.say("No video at this time");
    else if (!player) this.tile.say(`${name}: ${reasonOf(chunk)}`, chunk);
    else this.tile.say(this.isLate ? `${name} does not load: ${player.trouble}` : "");
  }

  #prepareNext(player) {
    const { key, timeline, clock, players } = this;
    const next = timeline.nextChunk(key, clock.time);
    const source = next && next.start - clock.time < AHEAD_S * clock.rate && sourceOf(next);
    if (!source) return;
    const idle = players.find((each) => each.url === source.url) ?? players.find((each) => each !== player);
    idle.prepare(source);
  }
}

/** All cameras of a session, in `element`: one can be enlarged to its whole area; `shelf` has the names of hidden ones. */
export class Cameras {
  constructor(element, shelf, timeline, clock, fps, onNews) {
    Object.assign(this, { shelf, onNews });
    this.cameras = [...timeline.cameras.keys()].map((key) => new Camera(key, timeline, clock, fps, onNews));
    for (const camera of this.cameras) {
      element.append(camera.tile.element);
      camera.tile.onEnlarge = () => this.enlarge(camera.tile.isEnlarged ? null : camera);
      camera.tile.onHide = () => this.#hide(camera);
    }
  }

  follow() {
    for (const camera of this.cameras) camera.follow();
  }

  get isSettled() {
    return this.cameras.every((camera) => camera.isSettled);
  }

  /** null: all have the same room again. */
  enlarge(camera) {
    for (const each of this.cameras) each.tile.isEnlarged = each === camera;
  }

  #hide({ tile }) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: `Show ${tile.name}` });
    button.addEventListener("click", () => {
      button.remove();
      this.#setHidden(tile, false);
      tile.focus();
    });
    this.shelf.append(button);
    this.enlarge(null);
    this.#setHidden(tile, true);
    button.focus();
  }

  #setHidden(tile, isHidden) {
    tile.isHidden = isHidden;
    this.shelf.hidden = !this.shelf.querySelector("button");
    this.onNews();
  }
}
