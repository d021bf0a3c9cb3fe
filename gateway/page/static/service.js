// One service: what it is, why, what may be done, its story and its commands.

import { allButtons, allowed } from "./actions.js";
import { CommandTable } from "./commands.js";
import { foreign, glyph, h, KeyedList, setGlyph, setText } from "./dom.js";
import { addressOf } from "./route.js";
import { story } from "./telling.js";
import { StoryItem } from "./storyitem.js";
import { ago, categoryName, clock, doingWord, glyphOf, healthWord, number, sentence, shownName, span, statusWord, toneOf, until, uptime } from "./words.js";

const EVENTS = 300;
const SHOWN = 60;
const KEPT = 1000;

export class ServiceView {
  constructor(context, name) {
    this.context = context;
    this.name = name;
    this.title = name;
    this.events = new Map();
    this.shown = SHOWN;
    this.name1 = foreign("");
    this.id = h("code", { class: "service-id" });
    this.glyph = glyph("note", "glyph status-glyph");
    this.word = h("span", { class: "status-word" });
    this.sub = h("span", { class: "status-sub" });
    this.why = foreign("", "service-why");
    this.buttons = h("div", { class: "service-buttons", role: "group", "aria-label": "Actions" });
    this.facts = h("dl", { class: "facts" });
    this.values = new Map();
    this.story = h("ol", { class: "story" });
    this.storyList = new KeyedList(this.story, () => new StoryItem(context));
    this.storyNote = h("p", { class: "quiet" }, "Reading its story …");
    this.more = h("button", { type: "button", class: "button", hidden: true, on: { click: () => { this.shown += SHOWN; this.drawStory(); } } }, "Show earlier");
    this.commands = new CommandTable(context, { service: false });
    this.noCommands = h("p", { class: "quiet" }, "No command of late.");
    this.head = h("header", { class: "service-head" },
      h("div", { class: "service-names" }, h("h1", { id: "title", tabIndex: -1 }, this.name1), this.id),
      h("p", { class: "service-status" }, h("span", { class: "status" }, this.glyph, this.word), this.sub),
      this.why, this.buttons);
    this.body = h("div", { class: "service-body" },
      h("section", { class: "panel facts-panel", "aria-labelledby": "facts-title" }, h("h2", { id: "facts-title" }, "Facts"), this.facts),
      h("section", { class: "panel story-panel", "aria-labelledby": "story-title" }, h("h2", { id: "story-title" }, "Story"), this.storyNote, this.story, this.more),
      h("section", { class: "panel commands-panel", "aria-labelledby": "commands-title" }, h("h2", { id: "commands-title" }, "Commands"), this.noCommands, this.commands.node));
    this.gone = h("div", { class: "empty", hidden: true });
    this.node = h("div", { class: "view service-view" },
      h("p", {}, h("a", { class: "back", href: addressOf({ room: context.room() }) }, glyph("back"), "All services")),
      this.head, this.gone, this.body);
    this.draw();
    void this.read();
  }

  /** Take in an event of the stream. */
  event(event) {
    const about = event.data?.service?.name ?? event.data?.command?.service;
    if (about !== this.name) return;
    this.events.set(event.id, event);
    this.stale = true;
  }

  update(told) {
    if (told.all) void this.read();
    if (told.all || told.services.has(this.name)) this.draw();
    if (this.stale || told.commands || told.all) this.drawStory();
  }

  /** Read what is kept of its story; what the stream told meanwhile is kept too. */
  async read() {
    const reading = (this.reading = Symbol("reading"));
    try {
      const { events } = await this.context.api.read(`/services/${encodeURIComponent(this.name)}/events?limit=${EVENTS}`);
      if (this.reading !== reading) return;
      for (const event of events) this.events.set(event.id, event);
      this.storyNote.hidden = true;
    } catch (error) {
      if (this.reading !== reading) return;
      this.storyNote.hidden = false;
      setText(this.storyNote, error.status === 404 ? "Nothing is told of it." : `Its story cannot be read: ${error.message}.`);
    }
    this.drawStory();
  }

  drawStory() {
    this.stale = false;
    const events = [...this.events.values()].sort(order);
    for (const event of events.splice(0, events.length - KEPT)) this.events.delete(event.id);
    const told = story(events).reverse();
    this.storyList.render(told.slice(0, this.shown), (item) => item.key);
    this.more.hidden = told.length <= this.shown;
    const receipts = new Map();
    for (const { data } of events) if (data?.command) receipts.set(data.command.id, data.command);
    for (const receipt of this.context.store.commands.values()) {
      if (receipt.service === this.name && !(receipts.has(receipt.id) && receipts.get(receipt.id).finished_at)) receipts.set(receipt.id, receipt);
    }
    const commands = [...receipts.values()].reverse().sort((a, b) => (b.accepted_at ?? "").localeCompare(a.accepted_at ?? ""));
    this.commands.render(commands.slice(0, 30));
    this.commands.node.hidden = commands.length === 0;
    this.noCommands.hidden = commands.length > 0;
  }

  draw() {
    const { store } = this.context;
    const service = store.services.get(this.name);
    this.head.hidden = this.body.hidden = !service && !this.service;
    this.gone.hidden = Boolean(service);
    if (!service) {
      this.gone.replaceChildren(h("p", { class: "empty-title" }, store.loaded ? "No service of this name is known here" : "Reading the room …"), store.loaded ? h("p", {}, h("code", {}, foreign(this.name))) : "");
      this.buttons.replaceChildren();
      this.offered = null;
      return;
    }
    this.service = service;
    this.title = shownName(service);
    setText(this.name1, shownName(service));
    setText(this.id, service.name);
    this.id.hidden = shownName(service) === service.name;
    const work = store.working.get(this.name);
    this.head.dataset.tone = toneOf(service);
    setGlyph(this.glyph, work ? "work" : glyphOf(service));
    this.glyph.classList.toggle("spin", Boolean(work));
    setText(this.word, statusWord(service.status));
    setText(this.sub, work ? `${doingWord(work.action)} …` : healthWord(service));
    setText(this.why, service.message ?? "");
    this.why.hidden = !service.message;
    this.drawButtons(service);
    this.drawFacts(service);
  }

  drawButtons(service) {
    const key = allowed(this.context.store, service).join();
    if (key === this.offered) return;
    this.offered = key;
    const focused = this.buttons.contains(document.activeElement) ? document.activeElement.dataset.place : null;
    this.buttons.replaceChildren(...allButtons(this.context, service));
    if (focused !== null) (this.buttons.querySelector(`[data-place="${focused}"]`) ?? this.buttons.firstElementChild)?.focus();
  }

  drawFacts(service) {
    const now = this.context.api.now();
    const up = uptime(service, now);
    const at = (time) => (time ? `${ago(time, now)} (${clock(time, now)})` : null);
    const exit = service.last_exit_code === null ? null : `code ${service.last_exit_code}${service.last_exit_at ? `, ${at(service.last_exit_at)}` : ""}`;
    const facts = [
      ["Up", up === null ? null : `${span(up)}, since ${clock(service.started_at, now)}`],
      ["Next attempt", service.restart_scheduled_at ? `${until(service.restart_scheduled_at, now)} (${clock(service.restart_scheduled_at, now)})` : null],
      ["Health check", service.health && service.health !== "none" ? sentence(service.health) : "None"],
      ["Wanted", service.enabled ? sentence(service.desired) : `Disabled (else ${service.desired})`],
      ["Restarts", `${number(service.restart_count)}${service.last_restart_at ? `, the last ${at(service.last_restart_at)}` : ""}`],
      ["Failures", number(service.failure_count)],
      ["Last exit", exit],
      ["Last start error", service.last_start_error],
      ["Reason", service.reason],
      ["Category", categoryName(service.category)],
      ["Image", service.image],
      ["Container", service.container_id ? `${service.container_id} (${service.container_state})` : "None"],
      ["Port", service.port === null ? null : String(service.port)],
      ["Last seen", service.observed_at ? clock(service.observed_at, now) : null],
    ];
    for (const [name, text] of facts) {
      let value = this.values.get(name);
      if (!value) {
        const shown = foreign("");
        const node = h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, shown));
        this.values.set(name, (value = { node, shown }));
        this.facts.append(node);
      }
      value.node.hidden = text === null || text === undefined || text === "";
      setText(value.shown, text ?? "");
    }
  }

  tick(now) {
    if (this.context.store.services.has(this.name)) this.drawFacts(this.service);
    for (const item of this.storyList.kept.values()) item.tick(now);
    this.commands.tick(now);
  }

  close() {
    this.reading = null;
  }
}

function order(a, b) {
  return a.epoch === b.epoch ? Number(a.revision) - Number(b.revision) : a.epoch.localeCompare(b.epoch);
}
