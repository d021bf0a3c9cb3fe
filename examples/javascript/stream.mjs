// Follow a room through the gateway, with a token where it asks for one; a browser can do the same:
//     node stream.mjs [--url http://localhost:8000] [--room R] [--token JWT] [--count N]
// EventSource sends no Authorization, so the stream is read with fetch.
import { parseArgs } from "node:util";

/** Give every event of the room as `{event, id, data}`, over breaks of the line, from `lastId` on. */
export async function* events(url, { token, lastId, pause = 500 } = {}) {
  for (;;) {
    try {
      const response = await fetch(url, {
        headers: {
          accept: "text/event-stream",
          ...(token && { authorization: `Bearer ${token}` }),
          ...(lastId && { "last-event-id": lastId }),
        },
      });
      if (!response.ok) {
        const problem = await response.json();
        const error = new Error(problem.detail);
        error.final = response.status < 500 && response.status !== 429;
        throw error;
      }
      let text = "";
      for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
        const blocks = (text + piece).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
          if (fields.id) lastId = fields.id;
          if (fields.data) yield { event: fields.event, id: fields.id, data: JSON.parse(fields.data) };
        }
      }
    } catch (error) {
      if (error.final) throw error;
      console.error(`${error.message}; trying again`);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

const { values } = parseArgs({
  options: {
    url: { type: "string", default: "http://localhost:8000" },
    room: { type: "string", default: "default" },
    token: { type: "string", default: process.env.POINTSMAN_TOKEN },
    count: { type: "string", default: "0" },
  },
});
let left = Number(values.count) || Infinity;
const address = new URL(`/api/rooms/${values.room}/services/events`, values.url);
for await (const { event, id, data } of events(address, { token: values.token })) {
  if (event === "heartbeat") continue;
  console.log(JSON.stringify(event === "reset" ? data : { id, type: event, subject: data.subject }));
  if (--left <= 0) process.exit(0);
}
