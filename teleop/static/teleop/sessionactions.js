// What a person does to the session of the replay, and the way to the next one of the list.

import { showFacts, showQuality } from "./about.js";
import { post } from "./api.js";
import { Labels } from "./labels.js";
import { toast } from "./toast.js";
import { Undo } from "./undo.js";

export class SessionActions {
  /** `page` is the replay's element, `marks` a MarkList, which is read anew when the session has changed. */
  constructor(page, session, marks) {
    Object.assign(this, { page, marks, path: `/sessions/${session.id}` });
    this.labels = new Labels(this.#find(".labels"), session, {
      onChange: (newest) => this.show(newest),
      onSaved: (...change) => this.undo.noteLabel(...change),
    });
    this.undo = new Undo(session.id, { labels: this.labels, marks, goTo: (id) => location.assign(`/sessions/${id}/replay${query()}`) });
    this.show(session);
    this.#find("[name=trash]")?.addEventListener("click", () => this.trash());
    this.#find("[name=restore]")?.addEventListener("click", () => this.#change("restore"));
    page.addEventListener("click", (event) => this.#follow(event.target.closest("a[rel]"), event));
  }

  get keys() {
    const { labels, undo, page } = this;
    return {
      s: () => labels.set("success", true),
      f: () => labels.set("success", false),
      c: () => labels.set("success", null),
      S: () => this.labelAndNext(true),
      F: () => this.labelAndNext(false),
      t: () => labels.focus("tags"),
      l: () => labels.focus("task"),
      Enter: () => labels.focus("note"),
      u: () => undo.undo(),
      n: () => this.leave("next"),
      p: () => this.leave("prev"),
      b: () => page.querySelector("a.back").click(),
      e: () => page.querySelector("a.export")?.click(),
      "#": () => this.trash(),
      Delete: () => this.trash(),
    };
  }

  show(session) {
    showFacts(this.#find(".facts"), session);
    showQuality(this.#find(".quality"), session);
    this.#hide("#trashed", !session.trashed_at);
    this.#hide("[name=trash]", session.trashed_at);
    this.#hide("[name=restore]", !session.trashed_at);
    this.marks.read().catch(() => {}); // the rest matters more
  }

  /** To the neighbour once everything is saved; not if something could not be saved. */
  async leave(way) {
    document.activeElement?.blur(); // a field that was edited says so only then
    await Promise.all([this.labels.saved, this.marks.changed]);
    const link = this.#find(`a[rel=${way}]`);
    if (!this.labels.isSaved) toast("A label is not saved. See beside the labels.");
    else if (link) location.assign(link.href);
    else toast(`This is the ${way === "next" ? "last" : "first"} session of the list.`);
  }

  async labelAndNext(value) {
    if (!this.labels.mayChange) return;
    this.labels.set("success", value);
    await this.labels.saved;
    if (this.labels.isSaved) this.undo.tellNext();
    await this.leave("next");
  }

  async trash() {
    const button = this.#find("[name=trash]");
    if (!button || button.hidden || !(await this.#change("trash"))) return;
    this.undo.noteTrash();
    await this.leave(this.#find("a[rel=next]") || !this.#find("a[rel=prev]") ? "next" : "prev");
  }

  async #change(what) {
    try {
      this.show(await post(`${this.path}/${what}`));
      return true;
    } catch (error) {
      toast(`The session is not changed: ${error.message}`);
      return false;
    }
  }

  #follow(link, event) {
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.leave(link.rel);
  }

  #find(selector) {
    return this.page.querySelector(selector);
  }

  #hide(selector, isHidden) {
    const element = this.#find(selector);
    if (element) element.hidden = Boolean(isHidden);
  }
}

/** The address's query without the moment. */
function query() {
  const { searchParams } = new URL(location);
  searchParams.delete("t");
  return searchParams.size ? `?${searchParams}` : "";
}
