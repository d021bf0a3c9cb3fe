// Statuses, times and numbers as a person says them.

export const CATEGORIES = ["infrastructure", "ai", "monitoring"];
const CATEGORY_NAMES = { infrastructure: "Infrastructure", ai: "AI", monitoring: "Monitoring" };

/** What people call a category; one that we do not know is called by its own name. */
export const categoryName = (category) => CATEGORY_NAMES[category] ?? category;

const STATUS_WORDS = {
  running: "Running",
  starting: "Starting",
  unhealthy: "Unhealthy",
  stopped: "Stopped",
  disabled: "Disabled",
  not_found: "Not found",
};
export const STATUSES = Object.keys(STATUS_WORDS);
export const statusWord = (status) => STATUS_WORDS[status] ?? sentence(status);

/** How a service does: `good`, `busy`, `bad` (somebody should look) or `rest` (as somebody wanted it). */
export function toneOf(service) {
  switch (service.status) {
    case "running":
      return "good";
    case "starting":
      return "busy";
    case "unhealthy":
      return "bad";
    case "disabled":
      return service.reason === "exhausted" ? "bad" : "rest";
    case "stopped":
      return service.desired === "running" && !["paused", "created"].includes(service.reason) ? "bad" : "rest";
    default:
      return service.enabled && service.desired === "running" ? "bad" : "rest";
  }
}

export const TONES = ["bad", "busy", "rest", "good"];

export function glyphOf(service) {
  if (service.status === "stopped") {
    if (service.reason === "paused") return "paused";
    return toneOf(service) === "bad" ? "down" : "stopped";
  }
  return STATUS_WORDS[service.status] ? service.status : "note";
}

/** The health check in a word; empty without one, and where the status has said it. */
export function healthWord(service) {
  if (!service.health || service.health === "none" || service.container_state !== "running") return "";
  if (service.status === "unhealthy" && service.health === "unhealthy") return "";
  if (service.status === "starting" && service.health === "starting") return "";
  return service.health;
}

export const ACTION_WORDS = { restart: "Restart", start: "Start", stop: "Stop", enable: "Enable", disable: "Disable" };
export const actionWord = (action) => ACTION_WORDS[action] ?? sentence(action ?? "command");
const DOING = { restart: "restarting", start: "starting", stop: "stopping", enable: "enabling", disable: "disabling" };
export const doingWord = (action) => DOING[action] ?? "at work";

/** The actions that make sense now, the likeliest first. */
export function offered(service) {
  const up = service.container_state === "running" || service.container_state === "paused" || service.container_state === "restarting";
  if (!service.enabled) return up ? ["enable", "stop"] : ["enable"];
  if (service.status === "not_found") return ["disable"];
  if (up) return ["restart", "stop", "disable"];
  return ["start", "disable"];
}

const COMMAND_WORDS = {
  scheduled: ["Scheduled", "clock", "busy"],
  queued: ["Queued", "queued", "busy"],
  running: ["Running", "work", "busy"],
  succeeded: ["Done", "done", "good"],
  rejected: ["Rejected", "disabled", "bad"],
  failed: ["Failed", "down", "bad"],
  expired: ["Expired", "clock", "rest"],
  canceled: ["Cancelled", "disabled", "rest"],
  dead: ["Dead", "down", "bad"],
};
/** [word, glyph, tone] of a command's status. */
export const commandWords = (status) => COMMAND_WORDS[status] ?? [sentence(status), "note", "rest"];
const OPEN = new Set(["scheduled", "queued", "running"]);
export const isOpen = (receipt) => OPEN.has(receipt.status);

/** First letter large, underscores as spaces. */
export function sentence(text) {
  const words = String(text).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
const NUMBER = new Intl.NumberFormat("en");
export const number = (value) => NUMBER.format(value);

/** Milliseconds since 1970 of an RFC 3339 time; null for none, and for the engine's "never". */
export function ms(time) {
  if (!time) return null;
  const value = Date.parse(time);
  return Number.isNaN(value) || value <= 0 ? null : value;
}

/** A span in its two largest units. */
export function span(millis) {
  const seconds = Math.max(0, Math.floor(millis / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 10 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** How long something took, to a tenth below ten seconds. */
export const took = (millis) => (millis < 50 ? "under 0.1 s" : millis < 9950 ? `${(millis / 1000).toFixed(1)} s` : span(millis));

export function ago(time, now) {
  const at = ms(time);
  if (at === null) return "";
  return now - at < 5000 ? "just now" : `${span(now - at)} ago`;
}

/** How far off a time is; `due` when it has come. */
export function until(time, now) {
  const at = ms(time);
  if (at === null) return "";
  return at > now ? `in ${span(at - now + 999)}` : "due";
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A time of day here, with the day where it is not today's. */
export function clock(time, now = Date.now()) {
  const at = typeof time === "number" ? time : ms(time);
  if (at === null) return "";
  const same = new Date(at).toDateString() === new Date(now).toDateString();
  return (same ? CLOCK : DAY).format(at);
}

/** Uptime in ms while the container runs, else null: the rule of the contract. */
export function uptime(service, now) {
  const started = service.container_state === "running" ? ms(service.started_at) : null;
  return started === null ? null : Math.max(0, now - started);
}

export const shownName = (service) => service.display_name || service.name;
