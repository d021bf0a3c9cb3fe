// The link to the gateway: the stream fed into the store, and the few reads that events give cause for.

import { Stream } from "./stream.js";
import { isOpen } from "./words.js";

const COMMANDS = 200;
const AT_MOST_EVERY = 1500; // ms between two looks at the room

export class Link {
  constructor(app, heard) {
    this.app = app;
    this.heard = heard;
    this.state = { phase: "connecting", since: Date.now(), reset: null };
    this.stream = new Stream(
      () => ({ url: `${app.api.base}/services/events?snapshots=true`, headers: app.api.headers }),
      {
        message: (message) => this.message(message),
        state: (state) => this.change(state),
        refused: (problem) => app.refuse(problem),
      },
    );
  }

  start() {
    this.set({ phase: "connecting", reset: null });
    this.begun = false;
    this.stream.start();
  }

  stop() {
    this.stream.stop();
    clearTimeout(this.timer);
    this.timer = null;
    this.looking = Symbol("none");
    this.busy = this.again = false;
  }

  set(state) {
    const since = state.phase === this.state.phase ? this.state.since : Date.now();
    this.state = {
      since, reset: this.state.reset, lastAt: this.lastAt, retry: () => this.stream.hurry(),
      dismiss: () => this.set({ phase: this.state.phase, reset: null }), ...this.keep(state.phase), ...state,
    };
    this.app.linked();
  }

  keep(phase) {
    const { since, retryAt, detail } = this.state;
    return phase === "cut" && this.state.phase === "cut" ? { since, retryAt, detail } : {};
  }

  change({ phase, since, retryAt, detail, resumed }) {
    if (phase === "cut") this.set({ phase, since, retryAt, detail });
    else if (phase === "open" && (resumed || this.begun)) {
      this.set({ phase: "catching" });
      this.target = null;
      this.look(true);
    } else if (phase === "connecting") this.set({ phase: this.begun ? "cut" : "connecting" });
  }

  message({ event, data }) {
    const { store } = this.app;
    this.lastAt = Date.now();
    const said = JSON.parse(data);
    if (event === "reset") {
      const again = this.begun && store.epoch !== null; // the first epoch of a room is no new one
      store.reset(said);
      this.begun = true;
      this.set({ phase: "live", reset: again ? { reason: said.reason, at: Date.now() } : null });
      this.look(true);
    } else if (event === "heartbeat") {
      this.beat(said);
    } else {
      store.apply(said);
      this.heard(said);
      if (!said.data?.service) this.look();
      this.caughtUp();
    }
  }

  beat(beat) {
    const { store, api } = this.app;
    const at = Date.parse(beat.time);
    if (!Number.isNaN(at)) api.skew = Math.abs(at - Date.now()) > 1500 ? at - Date.now() : 0;
    store.heard(beat);
    if (beat.stale && beat.redis === "available") {
      this.target = null; // how far it is to the newest, the room tells
      if (this.state.phase === "live") this.set({ phase: "catching" });
      this.look(true);
      return;
    } else if (beat.redis === "available") this.set({ phase: "live" });
    if (!this.busy && worthALook(store, beat)) this.look();
  }

  /** Leave the catching up when what was the newest at its beginning is here. */
  caughtUp() {
    const { store } = this.app;
    if (this.state.phase !== "catching" || !this.target) return;
    if (this.target.epoch !== store.epoch || store.revision >= this.target.revision) this.set({ phase: "live" });
  }

  // The room: workers, backlog, dead letters. Events and heartbeats give cause to look, no clock of ours does.

  look(soon = false) {
    if (this.busy && !soon) this.again = true;
    if (this.timer || this.again) return;
    const wait = soon ? 0 : Math.max(0, (this.lookedAt ?? 0) + AT_MOST_EVERY - Date.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      this.lookedAt = Date.now();
      void this.lookNow();
    }, Math.max(wait, soon ? 0 : 150));
  }

  async lookNow() {
    const { api, store } = this.app;
    const looking = (this.looking = Symbol("look"));
    this.busy = true;
    try {
      const room = await api.read("/room");
      if (this.looking !== looking) return;
      store.setRoom(room);
      this.target = { epoch: room.epoch, revision: room.revision };
      this.caughtUp();
      const open = store.underWay();
      if (this.listed === store.epoch && open.length === room.backlog) return;
      const asked = new Set(open.map((receipt) => receipt.id));
      const { commands } = await api.read(`/commands?limit=${COMMANDS}`);
      if (this.looking !== looking) return;
      this.listed = store.epoch;
      const listed = store.putAll(commands);
      for (const receipt of commands) this.app.settled(receipt);
      if (commands.length < COMMANDS) {
        const lost = [...asked].filter((id) => !listed.has(id) && isOpen(store.commands.get(id) ?? {}));
        this.forgotten(lost);
      }
    } catch (error) {
      if (error.status === 401) this.app.refuse(error);
    } finally {
      if (this.looking === looking) this.rest();
    }
  }

  /** Look once more where something came in between. */
  rest() {
    const { again } = this;
    this.busy = this.again = false;
    if (again) this.look();
  }

  /** Forget commands under way that are missing from two lists in a row. */
  forgotten(missing) {
    const twice = missing.filter((id) => this.missing?.has(id));
    this.missing = new Set(missing);
    if (twice.length) this.app.store.forget(twice);
  }
}

/** While something is under way, what a heartbeat does not tell is read at a heartbeat: queue and load. */
function worthALook({ room, working }, beat) {
  if (!room || beat.workers !== room.workers.length) return true;
  return room.backlog > 0 || working.size > 0 || room.workers.some((worker) => worker.running > 0);
}
