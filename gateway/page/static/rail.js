// Beside the table: what is under way, and what ended of late.

import { foreign, glyph, h, KeyedList, setGlyph, setText } from "./dom.js";
import { addressOf } from "./route.js";
import { duration } from "./telling.js";
import { actionWord, ago, commandWords, isOpen, ms, shownName, span, took } from "./words.js";

const LATEST = 12;

export class Rail {
  constructor(context) {
    this.context = context;
    this.open = h("ol", { class: "rail-list" });
    this.done = h("ol", { class: "rail-list" });
    this.noneOpen = h("p", { class: "quiet rail-none" }, "Nothing is under way.");
    this.noneDone = h("p", { class: "quiet rail-none" }, "No command yet.");
    this.node = h("aside", { class: "rail", "aria-label": "Commands" },
      h("section", {}, h("h2", { class: "rail-title" }, "Under way"), this.noneOpen, this.open),
      h("section", {}, h("h2", { class: "rail-title" }, "Latest outcomes"), this.noneDone, this.done));
    this.openList = new KeyedList(this.open, () => new RailItem(context));
    this.doneList = new KeyedList(this.done, () => new RailItem(context));
    this.draw();
  }

  update(told) {
    if (told.commands || told.all) this.draw();
  }

  draw() {
    const open = this.context.store.underWay().slice(0, 50);
    const done = this.context.store.settled().slice(0, LATEST);
    this.openList.render(open, (receipt) => receipt.id);
    this.doneList.render(done, (receipt) => receipt.id);
    this.noneOpen.hidden = open.length > 0;
    this.noneDone.hidden = done.length > 0;
  }

  tick(now) {
    for (const list of [this.openList, this.doneList]) for (const item of list.kept.values()) item.tick(now);
  }
}

class RailItem {
  constructor(context) {
    this.context = context;
    this.glyph = glyph("note");
    this.action = h("span", { class: "rail-action" });
    this.name = foreign("");
    this.link = h("a", { class: "rail-link" }, this.name);
    this.time = h("span", { class: "rail-time" });
    this.why = foreign("", "rail-why");
    this.node = h("li", { class: "rail-item" }, this.glyph, h("div", { class: "rail-words" }, h("p", { class: "rail-line" }, this.action, " ", this.link), this.why), this.time);
  }

  update(receipt) {
    this.receipt = receipt;
    const { store } = this.context;
    const [word, symbol, tone] = commandWords(receipt.status);
    const service = store.services.get(receipt.service);
    this.node.dataset.tone = tone;
    setGlyph(this.glyph, symbol);
    this.glyph.classList.toggle("spin", receipt.status === "running");
    setText(this.action, actionWord(receipt.action));
    setText(this.name, service ? shownName(service) : (receipt.service ?? receipt.id));
    const href = receipt.service ? addressOf({ view: "service", name: receipt.service, room: this.context.room() }) : addressOf({ view: "commands", room: this.context.room() });
    if (this.link.getAttribute("href") !== href) this.link.setAttribute("href", href);
    const by = receipt.issuer === "self-heal" ? "self-healing" : receipt.issuer;
    const said = tone === "bad" ? receipt.message : [by, receipt.reason].filter(Boolean).join(": ");
    setText(this.why, isOpen(receipt) || tone === "good" ? [receipt.status === "running" || tone === "good" ? "" : word, said].filter(Boolean).join(" · ") : [word, said].filter(Boolean).join(" · "));
    this.tick(this.context.api.now());
  }

  tick(now) {
    const { receipt } = this;
    if (isOpen(receipt)) {
      const since = ms(receipt.started_at) ?? ms(receipt.accepted_at);
      setText(this.time, since === null ? "" : span(now - since));
    } else {
      const time = duration(receipt);
      const at = ago(receipt.finished_at, now);
      setText(this.time, at || (time === null ? "" : took(time)));
    }
  }
}
