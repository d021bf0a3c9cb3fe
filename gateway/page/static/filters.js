// Search, category and status: what of the table is shown. Kept in the address.

import { glyph, h, setText } from "./dom.js";
import { say } from "./toasts.js";
import { CATEGORIES, categoryName, number, statusWord, STATUSES } from "./words.js";

const CHIPS = [["bad", "Needs attention"], ...STATUSES.map((status) => [status, statusWord(status)])];

export class Filters {
  constructor(query, changed) {
    this.changed = changed;
    this.text = query.get("q") ?? "";
    this.category = query.get("category") ?? "all";
    this.status = query.get("status") ?? "all";
    this.search = h("input", {
      class: "input search", type: "search", id: "search", value: this.text, placeholder: "Search", autocomplete: "off",
      spellcheck: "false", "aria-label": "Search services", "aria-keyshortcuts": "/",
      on: { input: () => this.set({ text: this.search.value }) },
    });
    this.categories = h("div", { class: "chips", role: "group", "aria-label": "Category" });
    this.statuses = h("div", { class: "chips statuses", role: "group", "aria-label": "Status, all unless one is chosen" });
    this.chips = new Map();
    for (const [value, text] of CHIPS) this.statuses.append(this.chip("status", value, text));
    this.node = h("div", { class: "filters" },
      h("div", { class: "search-box" }, glyph("search"), this.search, h("kbd", { class: "hint", "aria-hidden": "true" }, "/")),
      this.categories, this.statuses);
    this.words = this.text.toLowerCase().split(/\s+/).filter(Boolean);
    this.onKey = (event) => this.key(event);
    document.addEventListener("keydown", this.onKey);
  }

  close() {
    document.removeEventListener("keydown", this.onKey);
  }

  key(event) {
    const typing = event.target.closest?.("input, textarea, select, dialog");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.search.focus();
      this.search.select();
    } else if (event.key === "Escape" && event.target === this.search && this.search.value) {
      this.search.value = "";
      this.set({ text: "" });
    }
  }

  chip(kind, value, text) {
    const count = h("span", { class: "chip-count" });
    const node = h("button", {
      type: "button", class: "chip", "aria-pressed": String(this[kind] === value),
      on: { click: () => this.set({ [kind]: this[kind] === value ? "all" : value }) },
    }, h("span", {}, text), count);
    this.chips.set(`${kind}:${value}`, { node, count, kind, value });
    return node;
  }

  set(change) {
    Object.assign(this, change);
    this.words = this.text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { node, kind, value } of this.chips.values()) node.setAttribute("aria-pressed", String(this[kind] === value));
    this.remember();
    this.changed();
  }

  clear() {
    this.search.value = "";
    this.set({ text: "", category: "all", status: "all" });
    this.search.focus();
  }

  /** Put it into the address, without a step in the history for each letter. */
  remember() {
    const query = new URLSearchParams();
    if (this.text) query.set("q", this.text);
    if (this.category !== "all") query.set("category", this.category);
    if (this.status !== "all") query.set("status", this.status);
    const path = location.hash.split("?", 1)[0] || "#/";
    const search = query.toString();
    history.replaceState(null, "", search ? `${path}?${search}` : path);
  }

  fits(service, tone) {
    if (this.category !== "all" && service.category !== this.category) return false;
    if (this.status === "bad" ? tone !== "bad" : this.status !== "all" && service.status !== this.status) return false;
    if (!this.words.length) return true;
    const text = `${service.name} ${service.display_name ?? ""} ${service.image ?? ""} ${service.category} ${service.message ?? ""}`.toLowerCase();
    return this.words.every((word) => text.includes(word));
  }

  /** Show how many there are of each. */
  counts({ total, tones, statuses, categories }) {
    for (const category of ["all", ...CATEGORIES, ...Object.keys(categories).sort()]) {
      if (!this.chips.has(`category:${category}`)) {
        this.categories.append(this.chip("category", category, category === "all" ? "All" : categoryName(category)));
      }
    }
    for (const { node, count, kind, value } of this.chips.values()) {
      const here = value === "all" ? total : kind === "category" ? (categories[value] ?? 0) : value === "bad" ? tones.bad : (statuses[value] ?? 0);
      setText(count, number(here));
      node.classList.toggle("none", here === 0);
      node.classList.toggle("warn", value === "bad" && here > 0);
    }
  }

  tell(shown, total) {
    say(shown === total ? `All ${total} services are shown` : `${shown} of ${total} services are shown`);
  }
}
