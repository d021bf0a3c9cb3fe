// Outcomes of what was asked for here: seen in a corner, and read out.

import { glyph, h } from "./dom.js";

const STAY = 7000;
const MOST = 4;
const GLYPHS = { good: "done", bad: "unhealthy" };

/** Show an outcome; a good one goes by itself, a bad one when it is closed. `title` is a list of nodes and texts. */
export function toast({ tone, title, text }) {
  const place = document.getElementById("toasts");
  const close = h("button", { type: "button", class: "button icon ghost", "aria-label": "Close", on: { click: () => node.remove() } }, glyph("close"));
  const node = h(
    "div",
    { class: "toast", "data-tone": tone },
    glyph(GLYPHS[tone] ?? "note", "glyph toast-glyph"),
    h("div", { class: "toast-words" }, h("p", { class: "toast-title" }, ...title), text ? h("p", { class: "toast-text" }, text) : null),
    close,
  );
  place.append(node);
  while (place.children.length > MOST) place.firstElementChild.remove();
  say([node.querySelector(".toast-title").textContent, text].filter(Boolean).join(". "), tone === "bad");
  if (tone === "bad") return;
  const leave = () => (node.matches(":hover, :focus-within") ? setTimeout(leave, STAY) : node.remove());
  setTimeout(leave, STAY);
}

/** Let a screen reader say it, at once where it is urgent. */
export function say(text, urgent = false) {
  document.getElementById(urgent ? "alert" : "say").textContent = text;
}
