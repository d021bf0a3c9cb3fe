// Beside the table: who needs attention, what is under way, and what ended of late.

import { foreign, glyph, h, KeyedList, setGlyph, setText } from "./dom.js";
import { addressOf } from "./route.js";
import { duration } from "./telling.js";
import { actionWord, ago, commandWords, glyphOf, isOpen, ms, number, shownName, span, statusWord, took, toneOf, until } from "./words.js";

const LATEST = 12;
const TROUBLES = 6;
const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

const byName = (a, b) => COLLATOR.compare(shownName(a), shownName(b)) || COLLATOR.compare(a.name, b.name);

export class Rail {
  constructor(context) {
    this.context = context;
    this.open = h("ol", { class: "rail-list" });
    this.done = h("ol", { class: "rail-list" });
    this.noneOpen = h("p", { class: "quiet rail-none" }, "Nothing is under way.");
    this.noneDone = h("p", { class: "quiet rail-none" }, "No command yet.");
    this.bad = h("ol", { class: "rail-list" });
    this.more = h("a", { class: "rail-more", href: addressOf({ room: context.room(), query: new URLSearchParams({ status: "bad" }) }) });
    this.troubles = h("section", { class: "rail-troubles" }, h("h2", { class: "rail-title" }, "Needs attention"), this.bad, this.more);
    this.node = h("aside", { class: "rail", "aria-label": "What goes on" },
      this.troubles,
      h("section", {}, h("h2", { class: "rail-title" }, "Under way"), this.noneOpen, this.open),
      h("section", {}, h("h2", { class: "rail-title" }, "Latest outcomes"), this.noneDone, this.done));
    this.openList = new KeyedList(this.open, () => new RailItem(context));
    this.doneList = new KeyedList(this.done, () => new RailItem(context));
    this.badList = new KeyedList(this.bad, () => new Trouble(context));
    this.draw();
    this.drawTroubles();
  }

  update(told) {
    if (told.commands || told.all) this.draw();
    if (told.all || told.services.size) this.drawTroubles();
  }

  /** Show who needs attention; beside the table, so that a service that flaps moves no row. */
  drawTroubles() {
    const first = []; // by name; a thousand that fail at once are not sorted for the sake of six
    let count = 0;
    for (const service of this.context.store.services.values()) {
      if (toneOf(service) !== "bad") continue;
      count += 1;
      if (first.length === TROUBLES && byName(service, first[TROUBLES - 1]) >= 0) continue;
      const at = first.findIndex((one) => byName(service, one) < 0);
      first.splice(at < 0 ? first.length : at, 0, service);
      first.length = Math.min(first.length, TROUBLES);
    }
    this.troubles.hidden = count === 0;
    this.badList.render(first, (service) => service.name);
    this.more.hidden = count <= TROUBLES;
    setText(this.more, `${number(Math.max(0, count - TROUBLES))} more`);
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
    for (const list of [this.badList, this.openList, this.doneList]) for (const item of list.kept.values()) item.tick(now);
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

class Trouble {
  constructor(context) {
    this.context = context;
    this.glyph = glyph("unhealthy");
    this.status = h("span", { class: "unseen" });
    this.name = foreign("");
    this.link = h("a", { class: "rail-link" }, this.name);
    this.time = h("span", { class: "rail-time" });
    this.why = foreign("", "rail-why");
    this.node = h("li", { class: "rail-item", "data-tone": "bad" }, this.glyph, h("div", { class: "rail-words" }, h("p", { class: "rail-line" }, this.link, this.status), this.why), this.time);
  }

  update(service) {
    this.service = service;
    setGlyph(this.glyph, glyphOf(service));
    setText(this.name, shownName(service));
    setText(this.status, ` ${statusWord(service.status)}`);
    setText(this.why, service.message || statusWord(service.status));
    const href = addressOf({ view: "service", name: service.name, room: this.context.room() });
    if (this.link.getAttribute("href") !== href) this.link.setAttribute("href", href);
    this.tick(this.context.api.now());
  }

  tick(now) {
    setText(this.time, until(this.service.restart_scheduled_at, now));
  }
}
