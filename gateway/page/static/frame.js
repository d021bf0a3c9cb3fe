// What stands around every view: where one can go, how the link is, who one is.

import { glyph, h, setGlyph, setText } from "./dom.js";
import { addressOf } from "./route.js";
import { number } from "./words.js";

const TABS = [
  ["services", "Services"],
  ["commands", "Commands"],
  ["dead", "Dead letters"],
  ["workers", "Workers"],
];
const PHASES = {
  connecting: ["Connecting", "work", "busy"],
  live: ["Live", "running", "good"],
  catching: ["Catching up", "work", "busy"],
  cut: ["Cut", "down", "bad"],
};

export class Frame {
  constructor(context) {
    this.context = context;
    this.tabs = new Map();
    const nav = document.getElementById("nav");
    for (const [view, text] of TABS) {
      const count = h("span", { class: "tab-count", hidden: true });
      const link = h("a", { class: "tab", href: addressOf({ view }) }, text, count);
      this.tabs.set(view, { link, count });
      nav.append(link);
    }
    this.glyph = glyph("work");
    this.word = h("span", {});
    document.getElementById("link").append(this.glyph, this.word);
    this.roomBox = document.getElementById("room");
    this.who = document.getElementById("who");
    const top = document.getElementById("top");
    const measure = () => document.documentElement.style.setProperty("--top", `${top.offsetHeight}px`);
    new ResizeObserver(measure).observe(top);
  }

  /** Mark where one is. */
  mark({ view }) {
    document.body.dataset.view = view ?? "none";
    const shown = view === "service" ? "services" : view;
    for (const [name, { link }] of this.tabs) {
      if (name === shown) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      link.href = addressOf({ view: name, room: this.context.room() });
    }
    document.querySelector(".brand").href = addressOf({ room: this.context.room() });
    this.draw();
  }

  draw() {
    const { store, link } = this.context;
    if (!link) return;
    const [word, symbol, tone] = PHASES[link.state.phase];
    const node = document.getElementById("link");
    node.dataset.tone = tone;
    setGlyph(this.glyph, symbol);
    this.glyph.classList.toggle("spin", symbol === "work");
    setText(this.word, word);
    const { room } = store;
    this.count("commands", Math.max(store.underWay().length, room?.backlog ?? 0), "busy", "under way");
    this.count("dead", room?.dead ?? 0, "rest", "to look at");
    const workers = store.beat?.workers ?? room?.workers.length ?? null;
    this.count("workers", workers ?? 0, workers === 0 ? "bad" : "rest", "alive", workers !== null);
    this.drawRoom(room);
    this.drawWho(room);
  }

  count(view, value, tone, meaning, always = false) {
    const { count } = this.tabs.get(view);
    count.hidden = !value && !always;
    count.dataset.tone = tone;
    const key = `${value} ${meaning}`;
    if (count.dataset.key === key) return;
    count.dataset.key = key;
    count.replaceChildren(number(value), h("span", { class: "unseen" }, ` ${meaning}`));
  }

  drawRoom(room) {
    const name = room?.room ?? this.context.room() ?? "";
    if (name && this.asked !== name) {
      this.asked = name;
      this.roomBox.replaceChildren(h("span", { class: "room-name" }, name));
      void this.readRooms(name);
    }
  }

  async readRooms(name) {
    const { api } = this.context;
    const rooms = await api.rooms().catch(() => []);
    if (this.asked !== name || rooms.length < 2) return;
    const select = h("select", { class: "room-select", "aria-label": "Room" }, ...rooms.map((one) => h("option", { value: one }, one)));
    select.value = name;
    select.addEventListener("change", () => (location.hash = addressOf({ room: select.value })));
    this.roomBox.replaceChildren(select);
  }

  drawWho(room) {
    const signed = Boolean(this.context.api.token);
    const key = `${signed} ${room?.may.subject}`;
    if (key === this.whoKey) return;
    this.whoKey = key;
    this.who.replaceChildren(
      ...(signed
        ? [h("span", { class: "who-name" }, room?.may.subject ?? ""), h("button", { type: "button", class: "button small ghost", on: { click: () => this.context.signOut() } }, "Sign out")]
        : []),
    );
  }
}
