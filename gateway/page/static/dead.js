// Dead letters: commands that nobody could carry out, to be mended and published again, or dropped.

import { watchOutcome } from "./actions.js";
import { allows } from "./api.js";
import { confirm } from "./dialog.js";
import { foreign, h, KeyedList, setText } from "./dom.js";
import { toast } from "./toasts.js";
import { ACTION_WORDS, actionWord, ago, plural, sentence } from "./words.js";

const LISTED = 200;
const KINDS = {
  malformed: "Malformed",
  conflict: "Another command has its id",
  attempts_exhausted: "Tried too often",
  entry_lost: "Its entry was lost",
};
const FIXED = new Set(["issuer"]); // who asks is who publishes it again

export class DeadView {
  constructor(context) {
    this.context = context;
    this.title = "Dead letters";
    this.summary = h("p", { class: "summary" });
    this.list = h("ol", { class: "letters" });
    this.none = h("div", { class: "empty" }, h("p", { class: "quiet" }, "Reading …"));
    this.letters = new KeyedList(this.list, () => new Letter(context, () => this.read()));
    this.node = h("div", { class: "view" },
      h("div", { class: "view-head" }, h("h1", { id: "title", tabIndex: -1 }, "Dead letters"), this.summary),
      this.none, this.list);
    void this.read();
  }

  /** Read the list again when a command has become a letter. */
  event(event) {
    const status = event.data?.command?.status;
    if (event.type === "pointsman.command.dead" || status === "dead" || event.data?.command?.error === "idempotency_conflict") void this.read();
  }

  update(told) {
    if (told.all) void this.read();
    else if (told.room && this.count !== this.context.store.room?.dead) void this.read();
  }

  async read() {
    const reading = (this.reading = Symbol("reading"));
    this.count = this.context.store.room?.dead;
    try {
      const { dead } = await this.context.api.read(`/dlq?limit=${LISTED}`);
      if (this.reading !== reading) return;
      this.letters.render(dead, (letter) => letter.dead_id);
      setText(this.summary, dead.length ? `${plural(dead.length, "letter")}, the newest first.` : "");
      this.none.hidden = dead.length > 0;
      this.none.replaceChildren(
        h("p", { class: "empty-title" }, "No dead letters"),
        h("p", {}, "A command that nobody can read or carry out ends here instead of being lost."),
      );
    } catch (error) {
      if (this.reading !== reading) return;
      this.none.hidden = false;
      this.none.replaceChildren(
        h("p", { class: "empty-title" }, "The dead letters cannot be read"),
        h("p", {}, error.message),
        h("p", {}, h("button", { type: "button", class: "button", on: { click: () => this.read() } }, "Try again")),
      );
    }
  }

  tick(now) {
    for (const letter of this.letters.kept.values()) letter.tick(now);
  }

  close() {
    this.reading = null;
  }
}

class Letter {
  constructor(context, reread) {
    this.context = context;
    this.reread = reread;
    this.kind = h("h2", { class: "letter-kind" });
    this.asked = foreign("", "letter-asked");
    this.detail = foreign("", "letter-detail");
    this.fields = h("dl", { class: "letter-fields" });
    this.meta = h("p", { class: "letter-meta" });
    this.buttons = h("div", { class: "letter-buttons" });
    this.node = h("li", { class: "letter" },
      h("div", { class: "letter-words" }, h("p", { class: "letter-head" }, this.kind, this.asked), this.detail, this.fields, this.meta),
      this.buttons);
  }

  update(letter) {
    this.letter = letter;
    const fields = bodyOf(letter);
    this.values = fields ?? {};
    setText(this.kind, KINDS[letter.kind] ?? sentence(letter.kind));
    const { action, service } = this.values;
    setText(this.asked, fields ? `${action ?? "(no action)"} ${service ?? "(no service)"}` : "");
    setText(this.detail, letter.detail ?? letter.error ?? "");
    this.fields.replaceChildren(
      ...Object.entries(this.values).filter(([name]) => !["action", "service"].includes(name)).map(([name, value]) => h("div", {}, h("dt", {}, foreign(name)), h("dd", {}, foreign(value)))),
      ...(fields ? [] : [h("div", {}, h("dt", {}, "body"), h("dd", {}, letter.body_b64 ? "Not text" : "Empty"))]),
    );
    const may = this.context.store.may;
    const key = JSON.stringify([may, letter.dead_id]);
    if (key !== this.key) {
      this.key = key;
      const requeue = h("button", { type: "button", class: "button small", "data-place": "requeue", on: { click: (event) => this.requeue(event.currentTarget) } }, "Requeue");
      const drop = h("button", { type: "button", class: "button small ghost", "data-place": "drop", on: { click: (event) => this.drop(event.currentTarget) } }, "Drop");
      this.buttons.replaceChildren(...(may?.dead_letters ? [requeue, drop] : []));
    }
    this.tick(this.context.api.now());
  }

  tick(now) {
    const { letter } = this;
    const parts = [
      ago(letter.at, now),
      letter.attempts ? plural(letter.attempts, "attempt") : null,
      letter.requeues ? `requeued ${plural(letter.requeues, "time")}` : null,
      letter.truncated ? "cut at 16 KiB" : null,
      letter.dead_id,
    ];
    setText(this.meta, parts.filter(Boolean).join(" · "));
  }

  async requeue(from) {
    const inputs = new Map();
    const names = [...new Set(["action", "service", ...Object.keys(this.values)])].filter((name) => !FIXED.has(name));
    const rows = this.letter.body_b64 ? [] : names.map((name, index) => {
      const input = h("input", { class: "input", id: `mend-${index}`, value: this.values[name] ?? "", autocomplete: "off", spellcheck: "false" });
      inputs.set(name, input);
      return h("div", { class: "mend" }, h("label", { for: `mend-${index}` }, foreign(name)), input);
    });
    const said = () => ({ action: inputs.get("action")?.value.trim(), service: inputs.get("service")?.value.trim() });
    const check = () => {
      if (!inputs.size) return null;
      const { action, service } = said();
      if (!(action in ACTION_WORDS)) return `The action is one of ${Object.keys(ACTION_WORDS).join(", ")}.`;
      if (!service) return "Name the service.";
      if (!allows(this.context.store.may, action, service)) return `You may not ${action} ${service}.`;
      return null;
    };
    const { action, service } = this.values;
    const meant = await confirm({
      title: ["Publish ", foreign(action && service ? `${action} ${service}` : "this command", "dialog-name"), " again?"],
      body: [
        h("p", {}, foreign(this.letter.detail ?? "")),
        rows.length ? h("p", { class: "faint" }, "Mend what is wrong; a field left empty is taken out.") : null,
        ...rows,
      ],
      yes: "Requeue",
      check,
      from,
    });
    if (!meant) return;
    const changes = {};
    for (const [name, input] of inputs) {
      const value = input.value.trim();
      if (value !== (this.values[name] ?? "")) changes[name] = value === "" ? null : value;
    }
    try {
      watchOutcome(this.context, await this.context.api.requeue(this.letter.dead_id, changes));
      toast({ tone: "good", title: ["The command is published again"] });
    } catch (error) {
      toast({ tone: "bad", title: ["The command was not published again"], text: error.message });
    }
    this.reread();
  }

  async drop(from) {
    const { action, service } = this.values;
    const meant = await confirm({
      title: ["Drop the dead letter ", foreign(action || service ? `${action ?? "?"} ${service ?? "?"}` : this.letter.dead_id, "dialog-name"), "?"],
      body: [h("p", {}, "It cannot be published again afterwards."), h("p", { class: "faint" }, foreign(this.letter.dead_id))],
      yes: "Drop it",
      harsh: true,
      from,
    });
    if (!meant) return;
    try {
      await this.context.api.drop(this.letter.dead_id);
    } catch (error) {
      toast({ tone: "bad", title: [`${actionWord("drop")} failed`], text: error.message });
    }
    this.reread();
  }
}

/** Return the fields of a letter's command; null where they are no text. */
function bodyOf(letter) {
  try {
    const fields = JSON.parse(letter.body ?? "null");
    return fields && typeof fields === "object" ? Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)])) : null;
  } catch {
    return null;
  }
}
