// The table of services: grouped by category, filtered, sorted, one row a service for as long as it is there.

import { h, placeInOrder, setText } from "./dom.js";
import { Filters } from "./filters.js";
import { Rail } from "./rail.js";
import { Row } from "./rows.js";
import { CATEGORIES, categoryName, number, plural, shownName, toneOf } from "./words.js";

const COLUMNS = [
  ["name", "Service"],
  ["status", "Status"],
  [null, "Why", "why"],
  ["up", "Up", "up"],
  ["restarts", "Restarts"],
  ["failures", "Failures"],
  ["next", "Next attempt"],
  [null, "Actions", "actions"],
];
const DOWNWARDS = new Set(["up", "restarts", "failures"]); // the largest first
const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

export class ServicesView {
  constructor(context, query) {
    this.context = context;
    this.title = "Services";
    this.rows = new Map();
    this.groups = new Map();
    this.sort = { column: "name", down: false };
    this.filters = new Filters(query, () => this.filter(true));
    this.heads = COLUMNS.map((column) => this.head(column));
    this.table = h(
      "table",
      { class: "table", role: "table", "aria-labelledby": "title" },
      h("thead", { class: "thead", role: "rowgroup" }, h("tr", { class: "row head", role: "row" }, ...this.heads)),
    );
    this.summary = h("p", { class: "summary" });
    this.empty = h("div", { class: "empty", hidden: true });
    this.rail = new Rail(context);
    this.node = h(
      "div",
      { class: "view services-view" },
      h("div", { class: "services-main" },
        h("div", { class: "view-head" }, h("h1", { id: "title", tabIndex: -1 }, "Services"), this.summary),
        this.filters.node,
        this.table,
        this.empty),
      this.rail.node,
    );
    this.rebuild();
  }

  /** Take in what the store told. */
  update(told) {
    this.rail.update(told);
    if (told.all) this.rebuild();
    else if (told.services.size) this.changed(told.services);
  }

  rebuild() {
    const { services } = this.context.store;
    for (const name of this.rows.keys()) if (!services.has(name)) this.drop(name);
    this.changed(services.keys());
  }

  changed(names) {
    const { services } = this.context.store;
    const moved = new Set();
    for (const name of names) {
      const service = services.get(name);
      if (!service) {
        this.drop(name);
        continue;
      }
      let row = this.rows.get(name);
      if (!row) {
        this.rows.set(name, (row = new Row(this.context, service)));
      } else {
        const before = this.rank(row);
        row.update(service);
        if (row.group && before !== this.rank(row)) moved.add(row.group);
      }
      const group = this.group(service.category);
      if (row.group !== group) {
        row.group?.rows.delete(row);
        group.rows.add(row);
        row.group = group;
        moved.add(group);
      }
    }
    this.order(moved);
    this.filter();
  }

  drop(name) {
    const row = this.rows.get(name);
    if (!row) return;
    row.node.remove();
    row.group.rows.delete(row);
    this.rows.delete(name);
  }

  // Groups.

  group(category) {
    let group = this.groups.get(category);
    if (group) return group;
    const id = `category-${category}`;
    const count = h("span", { class: "group-count" });
    const bad = h("span", { class: "group-bad" });
    const head = h(
      "tr",
      { class: "row group-head", role: "row" },
      h("th", { class: "cell group-name", role: "rowheader", scope: "rowgroup", id },
        h("span", { class: "group-word" }, categoryName(category)), count, bad),
    );
    const node = h("tbody", { class: "group", role: "rowgroup", "aria-labelledby": id }, head);
    group = { category, node, head, count, bad, rows: new Set() };
    this.groups.set(category, group);
    const known = CATEGORIES.filter((name) => this.groups.has(name));
    const others = [...this.groups.keys()].filter((name) => !CATEGORIES.includes(name)).sort();
    placeInOrder(this.table, [this.table.firstElementChild, ...[...known, ...others].map((name) => this.groups.get(name).node)]);
    return group;
  }

  order(groups) {
    for (const group of groups) {
      const rows = [...group.rows].sort((a, b) => this.compare(a, b));
      placeInOrder(group.node, [group.head, ...rows.map((row) => row.node)]);
    }
  }

  rank(row) {
    const { column } = this.sort;
    return column === "name" ? shownName(row.service) : row.rank(column === "up" ? "started" : column, 0);
  }

  compare(a, b) {
    const { column, down } = this.sort;
    const byName = COLLATOR.compare(shownName(a.service), shownName(b.service)) || COLLATOR.compare(a.service.name, b.service.name);
    if (column === "name") return down ? -byName : byName;
    const now = this.context.api.now();
    const [one, other] = [a.rank(column, now), b.rank(column, now)];
    if (one === other) return byName;
    if (one === null || other === null) return one === null ? 1 : -1;
    return down ? other - one : one - other;
  }

  head([column, text, name]) {
    const th = h("th", { class: `cell head-cell cell-${name ?? column}`, role: "columnheader", scope: "col" });
    if (column === null) {
      th.append(h("span", { class: name === "actions" ? "unseen" : "" }, text));
      return th;
    }
    th.dataset.column = column;
    th.setAttribute("aria-sort", column === "name" ? "ascending" : "none");
    th.append(h("button", { type: "button", class: "sort", on: { click: () => this.sortBy(column) } }, text, h("span", { class: "sort-mark", "aria-hidden": "true" })));
    return th;
  }

  sortBy(column) {
    const first = DOWNWARDS.has(column);
    const down = this.sort.column === column ? !this.sort.down : first;
    this.sort = { column, down };
    for (const th of this.heads) {
      if (!th.dataset.column) continue;
      const mine = th.dataset.column === column;
      th.setAttribute("aria-sort", mine ? (down ? "descending" : "ascending") : "none");
    }
    this.order(this.groups.values());
  }

  // What is shown.

  filter(bySomebody = false) {
    const tones = { bad: 0, busy: 0, rest: 0, good: 0 };
    const statuses = {};
    const categories = {};
    let shown = 0;
    for (const group of this.groups.values()) {
      let seen = 0;
      let bad = 0;
      let running = 0;
      for (const row of group.rows) {
        const { service } = row;
        const tone = toneOf(service);
        tones[tone] += 1;
        statuses[service.status] = (statuses[service.status] ?? 0) + 1;
        categories[service.category] = (categories[service.category] ?? 0) + 1;
        if (tone === "bad") bad += 1;
        if (service.status === "running") running += 1;
        const fits = this.filters.fits(service, tone);
        if (row.node.hidden === fits) row.node.hidden = !fits;
        if (fits) seen += 1;
      }
      group.node.hidden = seen === 0;
      setText(group.count, `${running} of ${number(group.rows.size)} running`);
      setText(group.bad, bad ? plural(bad, "needs attention", "need attention") : "");
      shown += seen;
    }
    this.filters.counts({ total: this.rows.size, tones, statuses, categories });
    setText(this.summary, this.sum(tones));
    this.showEmpty(shown);
    if (bySomebody) this.filters.tell(shown, this.rows.size);
  }

  sum(tones) {
    const total = this.rows.size;
    if (!total) return "";
    if (!tones.bad && !tones.busy) return `All ${number(total)} are as they should be.`;
    const parts = [];
    if (tones.bad) parts.push(plural(tones.bad, "needs attention", "need attention"));
    if (tones.busy) parts.push(`${number(tones.busy)} starting`);
    return `${parts.join(", ")}, of ${number(total)}.`;
  }

  showEmpty(shown) {
    const { store } = this.context;
    this.filters.node.hidden = store.loaded && this.rows.size === 0;
    this.table.hidden = shown === 0;
    this.empty.hidden = shown > 0;
    if (shown > 0) return;
    if (!store.loaded) {
      this.empty.replaceChildren(h("p", { class: "quiet" }, "Reading the room …"));
    } else if (this.rows.size) {
      this.empty.replaceChildren(
        h("p", { class: "empty-title" }, "No service fits"),
        h("p", {}, h("button", { type: "button", class: "button", on: { click: () => this.filters.clear() } }, "Show all")),
      );
    } else {
      this.empty.replaceChildren(
        h("p", { class: "empty-title" }, "No services yet"),
        h("p", {}, "Give a container the label ", h("code", {}, "pointsman.enable=true"), " and it appears here by itself."),
      );
    }
  }

  tick(now) {
    for (const row of this.rows.values()) if (!row.node.hidden) row.tick(now);
    this.rail.tick(now);
  }

  close() {
    this.filters.close();
  }
}
