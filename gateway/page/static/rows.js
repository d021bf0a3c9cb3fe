// One service as a row of the table; only what changed is written.

import { foreign, glyph, h, setGlyph, setText } from "./dom.js";
import { addressOf } from "./route.js";
import { doingWord, glyphOf, healthWord, ms, number, shownName, span, statusWord, toneOf, until, uptime } from "./words.js";
import { buttonsOf } from "./actions.js";

const FLASHES = ["changed", "changed-again"]; // by turns: the other one begins anew without a layout in between

export class Row {
  constructor(context, service) {
    this.context = context;
    this.service = null;
    this.name = foreign("", "row-name");
    this.sub = foreign("", "row-sub");
    this.link = h("a", { class: "row-link" }, this.name);
    this.glyph = glyph("note", "glyph status-glyph");
    this.word = h("span", { class: "status-word" });
    this.health = h("span", { class: "status-sub" });
    this.why = foreign("", "why-text");
    this.up = h("span");
    this.restarts = h("span");
    this.failures = h("span");
    this.next = h("span");
    this.buttons = h("div", { class: "row-actions" });
    this.node = h(
      "tr",
      { class: "row", role: "row" },
      h("th", { class: "cell cell-name", role: "rowheader", scope: "row" }, this.link, this.sub),
      cell("status", null, h("span", { class: "status" }, this.glyph, this.word), this.health),
      cell("why", null, this.why),
      cell("up", "Up", this.up),
      cell("restarts", "Restarts", this.restarts),
      cell("failures", "Failures", this.failures),
      cell("next", "Next attempt", this.next),
      cell("actions", null, this.buttons),
    );
    this.offered = null;
    this.update(service);
  }

  update(service) {
    const before = this.service;
    const { store } = this.context;
    const work = store.working.get(service.name) ?? null;
    if (before === service && this.work === work && this.may === store.may) return;
    this.service = service;
    this.work = work;
    this.may = store.may;
    const shown = shownName(service);
    setText(this.name, shown);
    setText(this.sub, shown === service.name ? (service.image ?? "") : service.name);
    const href = addressOf({ view: "service", name: service.name, room: this.context.room() });
    if (this.link.getAttribute("href") !== href) this.link.setAttribute("href", href);
    const tone = toneOf(service);
    this.node.dataset.tone = tone;
    this.node.dataset.status = service.status;
    this.node.dataset.name = service.name;
    setGlyph(this.glyph, work ? "work" : glyphOf(service));
    this.glyph.classList.toggle("spin", Boolean(work));
    setText(this.word, statusWord(service.status));
    setText(this.health, work ? `${doingWord(work.action)} …` : healthWord(service));
    setText(this.why, service.message ?? "");
    this.why.title = service.message ?? ""; // two lines are shown
    count(this.restarts, service.restart_count);
    count(this.failures, service.failure_count);
    this.failures.classList.toggle("bad", service.failure_count > 0);
    this.drawButtons(service);
    this.tick(this.context.api.now());
    if (before && before.status !== service.status) this.flash();
  }

  drawButtons(service) {
    const { key, nodes } = buttonsOf(this.context, service);
    if (key === this.offered) return;
    this.offered = key;
    const focused = this.buttons.contains(document.activeElement) ? document.activeElement.dataset.place : null;
    this.buttons.replaceChildren(...nodes);
    if (focused) (this.buttons.querySelector(`[data-place="${focused}"]`) ?? this.buttons.lastElementChild)?.focus();
  }

  /** Write what time changes. */
  tick(now) {
    const { service } = this;
    const up = uptime(service, now);
    setText(this.up, up === null ? "" : span(up));
    const next = until(service.restart_scheduled_at, now);
    setText(this.next, next);
    this.next.classList.toggle("soon", next !== "");
  }

  /** Let the eye find what changed. */
  flash() {
    const [now, next] = FLASHES;
    const again = this.node.classList.contains(now);
    this.node.classList.toggle(now, !again);
    this.node.classList.toggle(next, again);
  }

  /** What the row is sorted by: a number, or null for last. */
  rank(column, now) {
    const { service } = this;
    switch (column) {
      case "status":
        return { bad: 0, busy: 1, rest: 2, good: 3 }[toneOf(service)];
      case "started":
        return service.container_state === "running" ? ms(service.started_at) : null;
      case "up":
        return uptime(service, now);
      case "restarts":
        return service.restart_count;
      case "failures":
        return service.failure_count;
      case "next":
        return ms(service.restart_scheduled_at);
      default:
        return 0;
    }
  }
}

function cell(name, label, ...children) {
  return h("td", { class: `cell cell-${name}`, role: "cell", "data-label": label }, ...children);
}

function count(element, value) {
  setText(element, number(value));
  element.classList.toggle("zero", value === 0);
}
