// The HTTP API of one room. Tokens are kept for this tab alone.

import { problemOf } from "./stream.js";

const TOKEN = "pointsman.token";

/** An answer that is no success; `status` 0 is no answer at all, `command` names one that was taken all the same. */
export class ApiError extends Error {
  constructor(problem, command = null) {
    super(problem.detail);
    this.status = problem.status;
    this.code = problem.code;
    this.command = command;
  }
}

export class Api {
  constructor() {
    this.token = sessionStorage.getItem(TOKEN);
    this.room = null; // null: the gateway's own
    this.skew = 0; // ms to add to our clock to have the gateway's
  }

  get base() {
    return this.room === null ? "/api/system" : `/api/rooms/${encodeURIComponent(this.room)}`;
  }

  get headers() {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  signIn(token) {
    this.token = token;
    sessionStorage.setItem(TOKEN, token);
  }

  signOut() {
    this.token = null;
    sessionStorage.removeItem(TOKEN);
  }

  now() {
    return Date.now() + this.skew;
  }

  async call(method, address, { body, headers } = {}) {
    let response;
    try {
      response = await fetch(address, {
        method,
        cache: "no-store",
        headers: { ...this.headers, ...(body ? { "content-type": "application/json" } : {}), ...headers },
        body: body ? JSON.stringify(body) : undefined,
      });
    } catch {
      throw new ApiError({ status: 0, code: "no_answer", detail: "The gateway does not answer" });
    }
    if (!response.ok) throw new ApiError(await problemOf(response), response.headers.get("pointsman-command"));
    const answer = response.status === 204 ? null : await response.json();
    return { answer, headers: response.headers };
  }

  async read(path) {
    return (await this.call("GET", this.base + path)).answer;
  }

  async rooms() {
    return (await this.call("GET", "/api/rooms")).answer.rooms;
  }

  /** Ask for an action and return the command's id; what comes of it is told by the stream, a failure at once too. */
  async act(name, action, body) {
    const address = `${this.base}/services/${encodeURIComponent(name)}/${action}`;
    try {
      return await this.publish(address, { body, headers: { prefer: "respond-async", "idempotency-key": newKey() } });
    } catch (error) {
      if (error.command === null) throw error;
      return error.command;
    }
  }

  /** Publish; without an answer once more, which the key makes safe. */
  async publish(address, request) {
    let sent;
    try {
      sent = await this.call("POST", address, request);
    } catch (error) {
      if (error.status !== 0) throw error;
      sent = await this.call("POST", address, request);
    }
    return sent.headers.get("pointsman-command");
  }

  async cancel(id) {
    return (await this.call("DELETE", `${this.base}/commands/${pathOf(id)}`)).answer;
  }

  async requeue(deadId, changes) {
    const sent = await this.call("POST", `${this.base}/dlq/${encodeURIComponent(deadId)}/requeue`, {
      body: { set: changes },
    });
    return sent.answer;
  }

  async drop(deadId) {
    await this.call("DELETE", `${this.base}/dlq/${encodeURIComponent(deadId)}`);
  }
}

/** Say whether patterns (`*` at the end) name a service. */
export function allows(may, action, name) {
  return (may?.[action] ?? []).some((pattern) =>
    pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
  );
}

function pathOf(id) {
  return id.split("/").map(encodeURIComponent).join("/");
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(12)); // randomUUID is for https alone
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
