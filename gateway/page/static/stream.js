// The room's events, read with fetch so that a token can go along; after a cut it goes on where it was.

import { Parser } from "./sse.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
const PATIENCE = 15_000; // three heartbeats
const MOST_PATIENCE = 120_000;

/**
 * One stream that comes back. `request()` returns {url, headers}; `on` has
 * `message({event, data, id})`, `state({phase, since, retryAt, detail})` with the phases connecting, open and cut,
 * and `refused(problem)` for 401 and 403, after which it rests until `start`.
 */
export class Stream {
  constructor(request, on) {
    this.request = request;
    this.on = on;
    this.lastId = null;
    this.patience = PATIENCE;
    this.failures = 0;
    this.run = 0;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  start() {
    const run = ++this.run;
    this.failures = 0;
    this.cutSince = null;
    void this.follow(run);
  }

  stop() {
    this.run++;
    this.lastId = null;
    this.abort?.abort();
    this.wake?.();
  }

  /** Do not wait any longer for the next try. */
  hurry() {
    this.wake?.();
  }

  async follow(run) {
    this.on.state({ phase: "connecting" });
    while (run === this.run) {
      let detail = "The gateway ended it";
      let pause = null;
      try {
        const refused = await this.readOnce(run);
        if (refused) {
          if (run === this.run) this.on.refused(refused);
          return;
        }
      } catch (error) {
        detail = error instanceof Busy ? error.message : error instanceof Silent ? "Nothing came for a while" : "The gateway does not answer";
        pause = error instanceof Busy ? error.pause : null;
      }
      if (run !== this.run) return;
      this.cutSince ??= Date.now();
      this.failures++;
      const usual = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(this.failures - 1, 6));
      const wait = Math.max(pause ?? 0, usual * (0.85 + 0.3 * Math.random()));
      this.on.state({ phase: "cut", since: this.cutSince, retryAt: Date.now() + wait, detail });
      await this.rest(wait);
    }
  }

  /** Read until the stream ends; return the problem of a 401 or 403. */
  async readOnce(run) {
    const { url, headers } = this.request();
    this.abort = new AbortController();
    const began = Date.now();
    let silent = false;
    const lost = () => {
      silent = true;
      this.abort.abort();
    };
    let watchdog = setTimeout(lost, this.patience);
    try {
      const asked = { ...headers, accept: "text/event-stream" };
      if (this.lastId) asked["last-event-id"] = this.lastId;
      const response = await fetch(url, { headers: asked, signal: this.abort.signal, cache: "no-store" });
      if (response.status === 401 || response.status === 403) return await problemOf(response);
      if (!response.ok) throw new Busy(await problemOf(response), response.headers.get("retry-after"));
      if (run !== this.run) return null;
      const resumed = Boolean(this.lastId);
      this.failures = 0;
      this.cutSince = null;
      this.on.state({ phase: "open", resumed });
      const parser = new Parser((message) => {
        if (run !== this.run) return;
        this.on.message(message);
        if (message.id !== null) this.lastId = message.id;
      });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done || run !== this.run) return null;
        clearTimeout(watchdog);
        watchdog = setTimeout(lost, this.patience);
        parser.feed(value);
      }
    } catch (error) {
      if (!silent) throw error;
      // A gateway whose heartbeat is rarer than we thought is not to be cut each time.
      if (Date.now() - began < 2 * this.patience) this.patience = Math.min(MOST_PATIENCE, 2 * this.patience);
      throw new Silent();
    } finally {
      clearTimeout(watchdog);
      this.abort.abort();
    }
  }

  rest(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    }).finally(() => (this.wake = null));
  }
}

class Silent extends Error {}

class Busy extends Error {
  constructor(problem, retryAfter) {
    super(problem.detail);
    this.pause = /^\d{1,4}$/.test(retryAfter ?? "") ? Number(retryAfter) * 1000 : null;
  }
}

/** Return the Problem Details of an answer, or what can be said without them. */
export async function problemOf(response) {
  const fallback = { status: response.status, detail: `The gateway answered ${response.status}`, code: "error" };
  try {
    return { ...fallback, ...(await response.json()) };
  } catch {
    return fallback;
  }
}
