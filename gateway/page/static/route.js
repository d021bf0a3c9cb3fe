// Where one is: everything after the `#`, so that links and the back button work without a server's help.

/** Views of a room that have an address of their own. */
export const VIEWS = ["services", "commands", "dead", "workers"];

/** Read an address: {view, name, room, query}. */
export function routeOf(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decode);
  let room = null;
  if (parts[0] === "room" && parts[1]) [, room] = parts.splice(0, 2);
  const query = new URLSearchParams(search);
  const [view = "services", name] = parts;
  if (view === "services" && name) return { view: "service", name, room, query };
  return { view: VIEWS.includes(view) ? view : "services", name: null, room, query };
}

/** Write an address. */
export function addressOf({ view = "services", name = null, room = null, query = null }) {
  const parts = [];
  if (room) parts.push("room", encodeURIComponent(room));
  if (view === "service") parts.push("services", encodeURIComponent(name));
  else if (view !== "services") parts.push(view);
  const search = query?.toString();
  return `#/${parts.join("/")}${search ? `?${search}` : ""}`;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
