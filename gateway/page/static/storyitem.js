// One item of a story: a line, and for what repeated its times behind a click.

import { foreign, glyph, h, setGlyph, setText } from "./dom.js";
import { duration } from "./telling.js";
import { ago, clock, took } from "./words.js";

const TIMES_SHOWN = 20;

export class StoryItem {
  constructor(context) {
    this.context = context;
    this.glyph = glyph("note", "glyph story-glyph");
    this.title = h("span", { class: "story-title" });
    this.count = h("span", { class: "story-count" });
    this.text = foreign("", "story-text");
    this.by = foreign("", "story-by");
    this.time = h("time", { class: "story-time" });
    this.times = h("ol", { class: "story-times" });
    this.summary = h("summary", {}, "When");
    this.details = h("details", { class: "story-details" }, this.summary, this.times);
    this.node = h("li", { class: "story-item" },
      h("span", { class: "story-rail" }, this.glyph),
      h("div", { class: "story-words" }, h("p", { class: "story-line" }, this.title, this.count), this.text, this.by, this.details),
      this.time);
  }

  update(item) {
    this.item = item;
    this.node.dataset.tone = item.tone;
    setGlyph(this.glyph, item.glyph);
    this.glyph.classList.toggle("spin", item.glyph === "work");
    const time = item.command && item.count === 1 ? duration(item.command) : null;
    setText(this.title, item.title);
    setText(this.count, item.count > 1 ? `${item.count} times` : "");
    this.count.hidden = item.count < 2;
    setText(this.text, item.text || (time === null ? "" : `Took ${took(time)}`));
    this.text.hidden = !this.text.textContent;
    setText(this.by, item.by ? `By ${item.by}` : "");
    this.by.hidden = !item.by;
    const now = this.context.api.now();
    const last = item.times.at(-1);
    this.time.dateTime = last;
    this.time.title = last;
    this.details.hidden = item.count < 2;
    if (item.count > 1) {
      setText(this.summary, `Since ${clock(item.first ?? item.times[0], now)}`);
      const shown = item.times.slice(-TIMES_SHOWN).reverse();
      const key = shown.join();
      if (key !== this.key) {
        this.key = key;
        this.times.replaceChildren(...shown.map((one) => h("li", {}, clock(one, now))));
      }
    }
    this.tick(now);
  }

  tick(now) {
    setText(this.time, ago(this.item.times.at(-1), now));
  }
}
