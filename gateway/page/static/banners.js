// What stands between the operator and the truth: a cut stream, a lag, a new epoch, nobody at work.

import { glyph, h, KeyedList, setText } from "./dom.js";
import { say } from "./toasts.js";
import { clock, span } from "./words.js";

/** A cut shorter than this is mended before anybody reads of it. */
export const PATIENCE = 800;

const RESETS = {
  epoch: "The room began a new epoch: its Redis was restarted, emptied or replaced.",
  trimmed: "The stream was away longer than events are kept. What happened in between is not told.",
  backwards: "The room is at an earlier point than was seen here: its Redis lost what it had said.",
};

export class Banners {
  constructor(node) {
    this.said = new Set();
    this.list = new KeyedList(node, () => new Banner());
  }

  draw(store, link, now = Date.now()) {
    const all = bannersOf(store, link, now);
    this.list.render(all, (banner) => banner.key);
    const keys = new Set(all.map((banner) => banner.key));
    for (const banner of all) if (!this.said.has(banner.key)) say(`${banner.title} ${banner.text ?? ""}`, banner.tone === "bad");
    this.said = keys;
    document.body.dataset.link = link.phase;
  }
}

class Banner {
  constructor() {
    this.glyph = glyph("note", "glyph banner-glyph");
    this.title = h("strong", {});
    this.text = h("span", { class: "banner-text" });
    this.button = h("button", { type: "button", class: "button small", on: { click: () => this.act() } });
    this.node = h("div", { class: "banner" }, this.glyph, h("p", { class: "banner-words" }, this.title, " ", this.text), this.button);
  }

  update(banner) {
    this.act = banner.act ?? (() => {});
    this.node.dataset.tone = banner.tone;
    this.node.dataset.key = banner.key;
    this.glyph.firstChild.setAttribute("href", `#g-${banner.glyph}`);
    this.glyph.classList.toggle("spin", banner.glyph === "work");
    setText(this.title, banner.title);
    setText(this.text, banner.text);
    setText(this.button, banner.button);
    this.button.hidden = !banner.button;
  }
}

function bannersOf(store, link, now) {
  const all = [];
  if (link.phase === "cut" && now - link.since >= PATIENCE) {
    const left = Math.ceil((link.retryAt - now) / 1000);
    const next = left > 0 ? `Next try in ${span(left * 1000)}.` : "Trying now …";
    const seen = store.loaded ? `What is shown is from ${clock(link.lastAt ?? link.since)}.` : "";
    all.push({ key: "cut", tone: "bad", glyph: "down", title: "The stream of events is cut.", text: `${link.detail}. ${seen} ${next}`, button: "Try now", act: link.retry });
  }
  if (link.phase === "catching" && now - link.since >= PATIENCE) {
    all.push({ key: "catching", tone: "busy", glyph: "work", title: "Catching up.", text: "Newer events are known of and are still on their way; what is shown may be a moment old." });
  }
  if (link.reset) {
    const text = RESETS[link.reset.reason] ?? "The stream of events could not go on where it was.";
    all.push({ key: "reset", tone: "info", glyph: "note", title: `Begun anew at ${clock(link.reset.at)}.`, text: `${text} All services were read anew.`, button: "Understood", act: link.dismiss });
  }
  if (link.phase === "cut") return all;
  const { beat, room } = store;
  const workers = beat?.workers ?? room?.workers.length ?? null;
  const engine = beat?.engine ?? room?.engine.status ?? null;
  if (beat?.redis === "unavailable") {
    all.push({ key: "redis", tone: "bad", glyph: "down", title: "Redis does not answer.", text: "What is shown is the last that was told, and nothing can be asked for." });
  } else if (workers === 0) {
    all.push({ key: "workers", tone: "bad", glyph: "down", title: "No worker is alive.", text: "Nobody watches the services or carries out commands until one comes." });
  } else if (engine === "unavailable") {
    all.push({ key: "engine", tone: "bad", glyph: "down", title: "The container engine does not answer.", text: "Statuses are the last that were seen." });
  }
  return all;
}
