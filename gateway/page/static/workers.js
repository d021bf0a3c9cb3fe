// Who serves the room: workers, engine, backlog.

import { backlogWords } from "./commands.js";
import { foreign, glyph, h, KeyedList, setGlyph, setText } from "./dom.js";
import { ago, ms, sentence, span } from "./words.js";

export class WorkersView {
  constructor(context) {
    this.context = context;
    this.title = "Workers";
    this.summary = h("p", { class: "summary" });
    this.cards = h("ul", { class: "cards" });
    this.list = new KeyedList(this.cards, () => new WorkerCard(context));
    this.none = h("div", { class: "empty" });
    this.engine = foreign("");
    this.engineGlyph = glyph("note");
    this.engineWord = h("span", { class: "status-word" });
    this.engineState = h("p", { class: "engine-state" }, h("span", { class: "status" }, this.engineGlyph, this.engineWord));
    this.position = h("p", { class: "quiet position" });
    this.node = h("div", { class: "view" },
      h("div", { class: "view-head" }, h("h1", { id: "title", tabIndex: -1 }, "Workers"), this.summary),
      this.cards, this.none,
      h("section", { class: "panel engine", "aria-labelledby": "engine-title" }, h("h2", { id: "engine-title" }, "Engine"), this.engineState, h("p", { class: "quiet" }, this.engine)),
      this.position);
    this.update({ room: true });
  }

  update() {
    const { store, api } = this.context;
    const { room } = store;
    setText(this.summary, room ? backlogWords(room, api.now()) : "Reading …");
    if (!room) return;
    this.list.render(room.workers, (worker) => worker.name);
    this.none.hidden = room.workers.length > 0;
    this.none.replaceChildren(h("p", { class: "empty-title" }, "No worker is alive"), h("p", {}, "Commands wait until one comes: ", h("code", {}, "pointsman worker run")));
    const status = store.beat?.engine ?? room.engine.status;
    const up = status === "available";
    this.engineState.dataset.tone = status === null ? "rest" : up ? "good" : "bad";
    setGlyph(this.engineGlyph, up ? "running" : status === null ? "note" : "down");
    setText(this.engineWord, status === null ? "Not known yet" : sentence(status));
    setText(this.engine, room.engine.id ?? "");
    setText(this.position, store.epoch ? `Epoch ${store.epoch}, revision ${store.revision}` : "");
  }

  tick(now) {
    for (const card of this.list.kept.values()) card.tick(now);
  }

  close() {}
}

class WorkerCard {
  constructor(context) {
    this.context = context;
    this.name = foreign("");
    this.where = foreign("", "card-sub");
    this.load = h("meter", { min: "0", "aria-label": "Commands at work" });
    this.loadWord = h("span", { class: "card-load" });
    this.engine = h("span", { class: "status-word" });
    this.glyph = glyph("running");
    this.status = h("p", { class: "status" }, this.glyph, this.engine);
    this.up = h("p", { class: "card-sub" });
    this.node = h("li", { class: "card" }, h("h2", { class: "card-title" }, this.name), this.where, this.status, h("p", { class: "card-line" }, this.load, this.loadWord), this.up);
  }

  update(worker) {
    this.worker = worker;
    setText(this.name, worker.name);
    setText(this.where, [worker.host, worker.pid === null ? null : `process ${worker.pid}`, worker.version].filter(Boolean).join(" · "));
    const up = worker.engine_status !== "unavailable";
    this.node.dataset.tone = up ? "good" : "bad";
    setGlyph(this.glyph, up ? "running" : "down");
    setText(this.engine, up ? "Reaches its engine" : "Does not reach its engine");
    this.load.max = worker.capacity || 1;
    this.load.value = worker.running ?? 0;
    setText(this.loadWord, `${worker.running ?? 0} of ${worker.capacity ?? "?"} at work`);
    this.tick(this.context.api.now());
  }

  tick(now) {
    const began = ms(this.worker.started_at);
    setText(this.up, began === null ? "" : now - began < 5000 ? "Just started" : `Up ${span(now - began)}`);
    this.up.title = this.worker.started_at ? `${this.worker.started_at}, ${ago(this.worker.started_at, now)}` : "";
  }
}
