// Follow a room without a gap, as the contract's reading rule says; one JSON line for each thing that happens:
//     node reader.mjs [--room R] [--redis-url URL] [--count N]
// {"reset":true,…} says: forget what was before, these are the services now. Then every event, each once.
import { parseArgs } from "node:util";
import { Redis, pairs } from "./resp.mjs";

const { values } = parseArgs({
  options: {
    room: { type: "string", default: "default" },
    count: { type: "string", default: "0" },
    "redis-url": { type: "string", default: process.env.POINTSMAN_REDIS_URL ?? "redis://localhost:6379" },
  },
});
const key = (name) => `pointsman:{${values.room}}:${name}`;
const HEARTBEAT = "pointsman.room.heartbeat";
let left = Number(values.count) || Infinity;

class Reader {
  epoch = null;
  revision = 0;
  services = new Map();

  /** Take an event; return "next" when it was the next one, "known", or "gap" when `changes` must be read. */
  take(event) {
    if (event.epoch !== this.epoch) return "gap";
    const number = Number(event.revision);
    if (event.type === HEARTBEAT) return number > this.revision ? "gap" : "known";
    if (number <= this.revision) return "known";
    if (number > this.revision + 1) return "gap";
    this.revision = number;
    const service = event.data?.service;
    // A snapshot that was read may be newer than the revision that was read before it.
    if (service && number > (this.services.get(service.name)?.revision ?? 0)) {
      if (event.type === "pointsman.service.removed") this.services.delete(service.name);
      else this.services.set(service.name, { status: service.status, revision: number });
    }
    return "next";
  }
}

function tell(line) {
  console.log(JSON.stringify(line));
  if (--left <= 0) process.exit(0);
}

async function begin(redis, reader) {
  for (;;) {
    const { epoch = null, revision = 0 } = pairs(await redis.send("HGETALL", key("meta")));
    const names = (await redis.send("SMEMBERS", key("services"))).sort();
    const hashes = await Promise.all(names.map((name) => redis.send("HGETALL", key(`service:${name}`))));
    const [now = null] = await redis.send("HMGET", key("meta"), "epoch");
    if (now !== epoch) continue; // another epoch began in between
    reader.epoch = epoch;
    reader.revision = Number(revision);
    reader.services = new Map(
      hashes.filter((flat) => flat.length > 0).map(pairs).map((one) => [one.name, { status: one.status, revision: Number(one.revision) }]),
    );
    const services = Object.fromEntries([...reader.services].map(([name, { status }]) => [name, status]));
    tell({ reset: true, epoch, revision: reader.revision, services });
    return;
  }
}

async function catchUp(redis, reader) {
  for (;;) {
    const meta = pairs(await redis.send("HGETALL", key("meta")));
    if ((meta.epoch ?? null) !== reader.epoch || Number(meta.revision ?? 0) < reader.revision) return begin(redis, reader);
    if (Number(meta.revision ?? 0) === reader.revision) return;
    const entries = await redis.send("XRANGE", key("changes"), `${reader.revision + 1}-0`, "+", "COUNT", 500);
    for (const [, fields] of entries) {
      const event = JSON.parse(pairs(fields).event);
      if (reader.take(event) !== "next") return begin(redis, reader);
      tell({ id: event.id, type: event.type, subject: event.subject });
    }
    if (entries.length === 0) return begin(redis, reader);
  }
}

async function follow(reader) {
  const inbox = [];
  let wake = () => {};
  let closed = false;
  const onClose = () => ((closed = true), wake());
  const listener = await Redis.connect(values["redis-url"], {
    onMessage: (_, text) => (inbox.push(text), wake()),
    onClose,
  });
  const redis = await Redis.connect(values["redis-url"], { onClose });
  try {
    await listener.send("SUBSCRIBE", key("events"));
    // The confirmation is here: what was before it may have been missed.
    await (reader.epoch === null ? begin(redis, reader) : catchUp(redis, reader));
    while (!closed) {
      if (inbox.length === 0) await new Promise((resolve) => (wake = resolve));
      for (const text of inbox.splice(0)) {
        const event = JSON.parse(text);
        const what = reader.take(event);
        if (what === "next") tell({ id: event.id, type: event.type, subject: event.subject });
        if (what === "gap") await catchUp(redis, reader);
      }
    }
  } finally {
    listener.close();
    redis.close();
  }
}

const reader = new Reader();
for (;;) {
  try {
    await follow(reader);
  } catch (error) {
    console.error(`${error.message}; trying again`);
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
}
