// Enough of Redis' protocol (RESP 2) for the examples: commands out, replies and messages in. No packages.
import net from "node:net";

export class Redis {
  #socket;
  #waiting = [];
  #buffer = Buffer.alloc(0);

  /** Connect to `redis://[user:password@]host:port[/db]`; `onMessage(channel, text)` hears subscriptions. */
  static async connect(url, { onMessage = () => {}, onClose = () => {} } = {}) {
    const { hostname, port, username, password, pathname } = new URL(url);
    const redis = new Redis();
    redis.onMessage = onMessage;
    redis.#socket = net.connect(Number(port || 6379), hostname.replace(/^\[|\]$/g, ""));
    redis.#socket.setNoDelay(true);
    redis.#socket.on("data", (bytes) => redis.#take(bytes));
    redis.#socket.on("close", () => {
      for (const { reject } of redis.#waiting.splice(0)) reject(new Error("the connection to Redis is closed"));
      onClose();
    });
    await new Promise((resolve, reject) => redis.#socket.once("connect", resolve).once("error", reject));
    redis.#socket.on("error", () => {}); // "close" follows
    if (password) await redis.send("AUTH", ...(username ? [decodeURIComponent(username)] : []), decodeURIComponent(password));
    if (pathname.length > 1) await redis.send("SELECT", pathname.slice(1));
    return redis;
  }

  send(...words) {
    const parts = [`*${words.length}\r\n`];
    for (const word of words) parts.push(`$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
    this.#socket.write(parts.join(""));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  close() {
    this.#socket.destroy();
  }

  #take(bytes) {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    let at = 0;
    for (let found; (found = parse(this.#buffer, at)); at = found.end) {
      const { value } = found;
      if (Array.isArray(value) && value[0] === "message") this.onMessage(value[1], value[2]);
      else if (value instanceof Error) this.#waiting.shift()?.reject(value);
      else this.#waiting.shift()?.resolve(value);
    }
    this.#buffer = this.#buffer.subarray(at);
  }
}

/** Return `{value, end}` of the reply that begins at `at`; undefined while it is not whole. */
export function parse(buffer, at) {
  const eol = buffer.indexOf("\r\n", at);
  if (eol < 0) return undefined;
  const head = buffer.toString("utf8", at + 1, eol);
  const next = eol + 2;
  switch (String.fromCharCode(buffer[at])) {
    case "+":
      return { value: head, end: next };
    case "-":
      return { value: new Error(head), end: next };
    case ":":
      return { value: Number(head), end: next };
    case "$": {
      const size = Number(head);
      if (size < 0) return { value: null, end: next };
      if (buffer.length < next + size + 2) return undefined;
      return { value: buffer.toString("utf8", next, next + size), end: next + size + 2 };
    }
    default: {
      const values = [];
      let end = next;
      for (let left = Number(head); left > 0; left--) {
        const found = parse(buffer, end);
        if (!found) return undefined;
        values.push(found.value);
        end = found.end;
      }
      return { value: Number(head) < 0 ? null : values, end };
    }
  }
}

/** Return a flat reply (HGETALL, the fields of an entry) as an object. */
export function pairs(flat) {
  const object = {};
  for (let i = 0; i < flat.length; i += 2) object[flat[i]] = flat[i + 1];
  return object;
}
