// What is known of the room. The stream tells it; whoever shows it is called once a frame with what changed.

import { isOpen } from "./words.js";

const COMMANDS_KEPT = 300;
const RANK = { scheduled: 0, queued: 1, running: 2 };

export class Store {
  constructor() {
    this.services = new Map();
    this.commands = new Map();
    this.working = new Map(); // service -> its command under way
    this.room = null;
    this.beat = null;
    this.epoch = null;
    this.revision = 0;
    this.loaded = false;
    this.own = new Set(); // ids of commands asked for here
    this.listeners = new Set();
    this.told = null;
  }

  /** Call `listener({all, services, commands, room})` after changes; return what ends it. */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  get may() {
    return this.room?.may ?? null;
  }

  clear() {
    this.services.clear();
    this.commands.clear();
    this.working.clear();
    this.room = this.beat = this.epoch = null;
    this.revision = 0;
    this.loaded = false;
    this.touch().all = true;
  }

  /** Begin anew with what a `reset` brings. */
  reset(notice) {
    if (notice.epoch !== this.epoch) this.commands.clear();
    this.services = new Map(notice.services.map((service) => [service.name, service]));
    this.epoch = notice.epoch;
    this.revision = notice.revision;
    this.loaded = true;
    const told = this.touch();
    told.all = told.commands = true;
  }

  /** Take in an event of the room. */
  apply(event) {
    this.revision = Number(event.revision);
    const told = this.touch();
    const { service, command } = event.data ?? {};
    if (service) {
      if (event.type === "pointsman.service.removed") this.services.delete(service.name);
      else this.services.set(service.name, service);
      told.services.add(service.name);
    } else if (command) {
      this.put(command);
    } else {
      told.room = true;
    }
  }

  heard(beat) {
    this.beat = beat;
    this.touch().room = true;
  }

  setRoom(room) {
    const before = JSON.stringify(this.room?.may);
    this.room = room;
    const told = this.touch();
    told.room = true;
    if (JSON.stringify(room.may) !== before) told.all = true;
  }

  /** Keep a receipt, unless a later state of it is known. */
  put(receipt) {
    const known = this.commands.get(receipt.id);
    if (known && rank(known) > rank(receipt)) return;
    this.commands.delete(receipt.id);
    this.commands.set(receipt.id, receipt);
    this.touch().commands = true;
  }

  /** Take in a list of receipts, the newest first. */
  putAll(receipts) {
    for (const receipt of [...receipts].reverse()) this.put(receipt);
    const listed = new Set(receipts.map((receipt) => receipt.id));
    return listed;
  }

  /** Forget commands that the room does not know of any more as under way. */
  forget(ids) {
    for (const id of ids) this.commands.delete(id);
    this.touch().commands = true;
  }

  /** The commands under way, the running first, then the oldest. */
  underWay() {
    return [...this.commands.values()].filter(isOpen).sort((a, b) => rank(b) - rank(a) || order(a.accepted_at, b.accepted_at));
  }

  /** Settled commands, the latest first. */
  settled() {
    return [...this.commands.values()].filter((receipt) => !isOpen(receipt)).sort((a, b) => order(b.finished_at, a.finished_at));
  }

  trim() {
    const extra = this.commands.size - COMMANDS_KEPT;
    if (extra <= 0) return;
    const settled = this.settled().reverse().slice(0, extra);
    for (const receipt of settled) this.commands.delete(receipt.id);
  }

  touch() {
    if (this.told === null) {
      this.told = { all: false, services: new Set(), commands: false, room: false };
      soon(() => this.tell());
    }
    return this.told;
  }

  tell() {
    const told = this.told;
    this.told = null;
    if (told.commands) {
      this.trim();
      const before = this.working;
      this.working = new Map();
      for (const receipt of this.underWay().reverse()) {
        if (receipt.service) this.working.set(receipt.service, receipt);
      }
      for (const name of new Set([...before.keys(), ...this.working.keys()])) {
        if (before.get(name) !== this.working.get(name)) told.services.add(name);
      }
    }
    for (const listener of this.listeners) listener(told);
  }
}

const rank = (receipt) => RANK[receipt.status] ?? 3;
const order = (a, b) => (a ?? "").localeCompare(b ?? "");

/** Call before the next frame, or soon where nobody looks and no frame comes. */
export function soon(call) {
  if (document.hidden) setTimeout(call, 200);
  else requestAnimationFrame(call);
}
