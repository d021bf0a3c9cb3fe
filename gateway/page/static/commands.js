// Commands: those under way, and how the others ended.

import { cancel } from "./actions.js";
import { allows } from "./api.js";
import { foreign, glyph, h, KeyedList, setGlyph, setText } from "./dom.js";
import { addressOf } from "./route.js";
import { duration } from "./telling.js";
import { actionWord, ago, clock, commandWords, isOpen, ms, plural, shownName, span, took, until } from "./words.js";

export class CommandsView {
  constructor(context) {
    this.context = context;
    this.title = "Commands";
    this.open = new CommandTable(context, { label: "open-title" });
    this.done = new CommandTable(context, { label: "done-title" });
    this.noneOpen = h("p", { class: "quiet" }, "Nothing is under way.");
    this.noneDone = h("p", { class: "quiet" }, "No command of late.");
    this.backlog = h("p", { class: "summary" });
    this.node = h("div", { class: "view" },
      h("div", { class: "view-head" }, h("h1", { id: "title", tabIndex: -1 }, "Commands"), this.backlog),
      h("section", { class: "panel" }, h("h2", { id: "open-title" }, "Under way"), this.noneOpen, this.open.node),
      h("section", { class: "panel" }, h("h2", { id: "done-title" }, "Outcomes"), this.noneDone, this.done.node));
    this.update({ all: true });
  }

  update(told) {
    const { store } = this.context;
    if (told.all || told.commands) {
      const [open, done] = [store.underWay(), store.settled().slice(0, 100)];
      this.open.render(open);
      this.done.render(done);
      this.open.node.hidden = !(this.noneOpen.hidden = open.length > 0);
      this.done.node.hidden = !(this.noneDone.hidden = done.length > 0);
    }
    const { room } = store;
    setText(this.backlog, room ? backlogWords(room, this.context.api.now()) : "");
  }

  tick(now) {
    this.open.tick(now);
    this.done.tick(now);
  }

  close() {}
}

/** Say how much waits. */
export function backlogWords(room, now) {
  if (!room.backlog) return "No command waits.";
  const unread = room.unread ? `, ${room.unread} not yet seen by a worker` : "";
  const oldest = room.oldest_at ? `; the oldest came ${ago(room.oldest_at, now)}` : "";
  return `${plural(room.backlog, "command is", "commands are")} not settled${unread}${oldest}.`;
}

export class CommandTable {
  constructor(context, { service = true, label = "commands-title" } = {}) {
    this.body = h("tbody", { role: "rowgroup" });
    const heads = ["Command", ...(service ? ["Service"] : []), "Outcome", "Asked by", "When", ""];
    this.node = h("table", { class: `commands${service ? "" : " of-one"}`, role: "table", "aria-labelledby": label },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads.map((text) => h("th", { role: "columnheader", scope: "col" }, text || h("span", { class: "unseen" }, "Actions"))))),
      this.body);
    this.list = new KeyedList(this.body, () => new CommandRow(context, service));
  }

  render(receipts) {
    this.list.render(receipts, (receipt) => receipt.id);
  }

  tick(now) {
    for (const row of this.list.kept.values()) row.tick(now);
  }
}

class CommandRow {
  constructor(context, withService) {
    this.context = context;
    this.action = h("span", { class: "command-action" });
    this.name = foreign("");
    this.link = h("a", {}, this.name);
    this.glyph = glyph("note");
    this.word = h("span", { class: "status-word" });
    this.message = foreign("", "command-message");
    this.by = foreign("");
    this.reason = foreign("", "command-reason");
    this.time = h("time");
    this.took = h("span", { class: "command-took" });
    this.buttons = h("td", { role: "cell", class: "command-buttons" });
    const cell = (name, ...children) => h("td", { role: "cell", class: `command-${name}` }, ...children);
    this.node = h("tr", { role: "row", class: "command" },
      h("th", { role: "rowheader", scope: "row" }, this.action),
      ...(withService ? [cell("service", this.link)] : []),
      cell("outcome", h("span", { class: "status" }, this.glyph, this.word), this.message),
      cell("by", this.by, this.reason),
      cell("when", this.time, this.took),
      this.buttons);
  }

  update(receipt) {
    this.receipt = receipt;
    const { store } = this.context;
    const [word, symbol, tone] = commandWords(receipt.status);
    const service = store.services.get(receipt.service);
    this.node.dataset.tone = tone;
    setText(this.action, actionWord(receipt.action));
    this.node.title = receipt.id;
    setText(this.name, service ? shownName(service) : (receipt.service ?? "–"));
    if (receipt.service) this.link.href = addressOf({ view: "service", name: receipt.service, room: this.context.room() });
    setGlyph(this.glyph, symbol);
    this.glyph.classList.toggle("spin", receipt.status === "running");
    setText(this.word, word);
    const notes = [
      tone === "bad" ? receipt.message : null,
      receipt.changed === false ? "It already was so" : null,
      receipt.recovered ? "found done, not repeated" : null,
      receipt.attempt > 1 ? `attempt ${receipt.attempt}` : null,
      receipt.duplicates ? plural(receipt.duplicates, "duplicate") : null,
    ];
    setText(this.message, notes.filter(Boolean).join(" · "));
    setText(this.by, receipt.issuer === "self-heal" ? "self-healing" : (receipt.issuer ?? ""));
    setText(this.reason, receipt.reason ?? "");
    this.drawButtons(receipt);
    this.tick(this.context.api.now());
  }

  drawButtons(receipt) {
    const may = ["queued", "scheduled"].includes(receipt.status) && allows(this.context.store.may, receipt.action, receipt.service ?? "");
    if (may === Boolean(this.buttons.firstChild)) return;
    this.buttons.replaceChildren(
      ...(may ? [h("button", { type: "button", class: "button small", "data-place": "cancel", on: { click: (event) => cancel(this.context, this.receipt, event.currentTarget) } }, "Cancel")] : []),
    );
  }

  tick(now) {
    const { receipt } = this;
    const at = receipt.finished_at ?? receipt.started_at ?? receipt.accepted_at;
    this.time.dateTime = at ?? "";
    this.time.title = at ?? "";
    if (receipt.status === "scheduled") setText(this.time, until(receipt.not_before, now));
    else setText(this.time, isOpen(receipt) ? clock(at, now) : ago(at, now));
    const time = duration(receipt);
    const since = ms(receipt.started_at);
    const running = receipt.status === "running" && since !== null ? `${span(now - since)} so far` : "";
    setText(this.took, time === null ? running : `took ${took(time)}`);
  }
}
