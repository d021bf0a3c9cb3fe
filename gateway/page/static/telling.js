// The events of one service as a story: what a command did stands together, and what repeats is counted.

import { actionWord, commandWords, isOpen, ms, sentence, statusWord, toneOf } from "./words.js";

const LOOK_BACK = 6;
const TIMES_KEPT = 50;
const COUNTED = /\b\d+ (failures|times)\b/g; // a number that moves does not make another story

/**
 * Return the story, the oldest first. An item is
 * {key, kind: "command"|"change", tone, glyph, title, text, by, times: [..], command, effects: [..]}.
 */
export function story(events) {
  const items = [];
  const commands = new Map();
  const told = new Set(events.map((event) => event.data?.command?.id));
  for (const event of events) {
    const receipt = event.data?.command;
    if (receipt) tellCommand(items, commands, event, receipt);
    else if (event.data?.service) tellChange(items, commands, told, event);
  }
  for (const item of items) if (item.kind === "command") item.key = keyOf(item);
  return fold(items);
}

function tellCommand(items, commands, event, receipt) {
  const item = commandItem(items, commands, receipt.id, event.time);
  item.command = receipt;
  const [word, glyph, tone] = commandWords(receipt.status);
  const heal = receipt.issuer === "self-heal";
  const action = actionWord(receipt.action);
  item.glyph = glyph;
  item.tone = tone === "good" && heal ? "busy" : tone;
  if (receipt.status === "succeeded") item.title = heal ? `${past(receipt.action)} by self-healing` : past(receipt.action);
  else if (isOpen(receipt)) item.title = `${action} under way`;
  else item.title = `${action}: ${word.toLowerCase()}`;
  const said = receipt.status === "succeeded" ? (receipt.changed === false ? "It already was so" : "") : receipt.message;
  item.text = [said, receipt.recovered ? "Found done by a later attempt, not repeated" : ""].filter(Boolean).join(". ");
  item.by = heal ? "" : [receipt.issuer, receipt.reason].filter(Boolean).join(": ");
}

function commandItem(items, commands, id, time) {
  let item = commands.get(id);
  if (!item) {
    item = { kind: "command", effects: [], times: [time] };
    commands.set(id, item);
    items.push(item);
  }
  return item;
}

const PAST = { restart: "Restarted", start: "Started", stop: "Stopped", enable: "Enabled", disable: "Disabled" };
const past = (action) => PAST[action] ?? sentence(action ?? "done");

function tellChange(items, commands, told, event) {
  const { service, changed = [], previous_status: before, cause } = event.data;
  const item = describe(event.type, service, new Set(changed), before);
  if (told.has(cause?.command_id) && event.type === "pointsman.service.changed") {
    commandItem(items, commands, cause.command_id, event.time).effects.push(item.title);
    return;
  }
  items.push({
    kind: "change",
    times: [event.time],
    effects: [],
    by: cause?.kind === "self_heal" ? "self-healing" : [cause?.issuer, cause?.reason].filter(Boolean).join(": "),
    ...item,
    key: JSON.stringify([item.title, item.text.replace(COUNTED, "# $1")]),
  });
}

function describe(type, service, changed, before) {
  const tone = toneOf(service);
  const text = service.message ?? "";
  switch (type) {
    case "pointsman.service.discovered":
      return { title: `Seen for the first time, ${statusWord(service.status).toLowerCase()}`, text, tone: "rest", glyph: "note" };
    case "pointsman.service.removed":
      return { title: "Forgotten", text: "", tone: "rest", glyph: "not_found" };
    case "pointsman.service.exhausted":
      return { title: "Self-healing gave up", text, tone: "bad", glyph: "unhealthy" };
  }
  if (before && before !== service.status) return { title: statusWord(service.status), text, tone, glyph: glyphFor(service, tone) };
  if (changed.has("enabled")) return { title: service.enabled ? "Enabled" : "Disabled", text: "", tone, glyph: glyphFor(service, tone) };
  if (changed.has("restart_count")) return { title: "Restarted", text: "", tone: "busy", glyph: "done" };
  if (changed.has("container_id") && service.container_id) {
    return { title: "Has another container", text: service.container_id, tone: "rest", glyph: "note" };
  }
  if (changed.has("started_at") && service.started_at) return { title: "Started anew", text, tone, glyph: glyphFor(service, tone) };
  if (changed.has("desired")) return { title: `Shall be ${service.desired}`, text: "", tone: "rest", glyph: "note" };
  if (changed.has("failure_count") && service.failure_count) return { title: "Failed again", text, tone: "bad", glyph: "down" };
  if (changed.has("restart_scheduled_at")) {
    const planned = Boolean(service.restart_scheduled_at);
    return { title: planned ? "Next attempt is planned" : "No further attempt is planned", text: "", tone: "rest", glyph: "clock" };
  }
  if (changed.has("reason") || changed.has("message")) return { title: statusWord(service.status), text, tone, glyph: glyphFor(service, tone) };
  return { title: `Changed: ${[...changed].map((name) => name.replaceAll("_", " ")).join(", ")}`, text: "", tone: "rest", glyph: "note" };
}

function glyphFor(service, tone) {
  if (service.status === "stopped") return tone === "bad" ? "down" : "stopped";
  return service.status;
}

const keyOf = (item) => JSON.stringify([item.title, item.text, item.by, isOpen(item.command) ? item.command.id : ""]);

/** Count an item that came a little while before instead of telling it again. */
function fold(items) {
  const told = [];
  for (const item of items) {
    const from = Math.max(0, told.length - LOOK_BACK);
    const at = told.findIndex((one, index) => index >= from && one.key === item.key);
    if (at < 0) {
      told.push({ ...item, count: 1 });
      continue;
    }
    const [one] = told.splice(at, 1);
    told.push({ ...item, key: one.key, count: one.count + 1, times: [...one.times, ...item.times].slice(-TIMES_KEPT), first: one.first ?? one.times[0] });
  }
  const seen = new Map();
  for (const item of told) {
    const nth = (seen.get(item.key) ?? 0) + 1;
    seen.set(item.key, nth);
    item.key = `${nth} ${item.key}`;
  }
  return told;
}

/** How long a command was at it, in ms; null while that is not known. */
export function duration(receipt) {
  const began = ms(receipt.started_at) ?? ms(receipt.accepted_at);
  const ended = ms(receipt.finished_at);
  return began === null || ended === null ? null : ended - began;
}
