// Ask for an action and wait for its receipt, without polling:
//     node producer.mjs restart rtdetr [--id KEY] [--reason TEXT] [--room R] [--redis-url URL]
// The same id with the same request is done once. Exit code 0 when it succeeded, 1 otherwise.
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { Redis, pairs } from "./resp.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    id: { type: "string", default: `js:${randomUUID()}` },
    reason: { type: "string", default: "" },
    room: { type: "string", default: "default" },
    wait: { type: "string", default: "30" },
    "redis-url": { type: "string", default: process.env.POINTSMAN_REDIS_URL ?? "redis://localhost:6379" },
  },
});
const [action, service] = positionals;
const key = (name) => `pointsman:{${values.room}}:${name}`;
const settled = new Set(["succeeded", "rejected", "failed", "expired", "canceled", "dead"]);

let ended;
const end = new Promise((resolve) => (ended = resolve));
const listener = await Redis.connect(values["redis-url"], {
  onMessage: (_, text) => {
    const event = JSON.parse(text);
    if (event.subject === values.id && /^pointsman\.command\.(settled|dead)$/.test(event.type)) ended();
  },
});
// Subscribe and wait for the confirmation, then publish: so the end cannot be missed.
await listener.send("SUBSCRIBE", key("events"));

const redis = await Redis.connect(values["redis-url"]);
const fields = ["action", action, "service", service, "id", values.id, "issuer", "producer.mjs"];
if (values.reason) fields.push("reason", values.reason);
await redis.send("XADD", key("commands"), "*", ...fields);

const receipt = async () => pairs(await redis.send("HGETALL", key(`command:${values.id}`)));
// A repeat of an id that has settled has no event of its own: its receipt is there already.
if (!settled.has((await receipt()).status)) {
  await Promise.race([end, new Promise((resolve) => setTimeout(resolve, Number(values.wait) * 1000))]);
}
const found = await receipt();
console.log(JSON.stringify(found));
listener.close();
redis.close();
process.exit(found.status === "succeeded" ? 0 : 1);
