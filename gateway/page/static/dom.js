// Elements made of text and attributes. Nothing here or elsewhere turns text into markup.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["hidden", "disabled", "value", "type", "checked", "open", "tabIndex", "name", "id"]);

/** Return an element; `props.on` has listeners, `props.class` the class; null and false attributes are left out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "class") {
      element.className = value;
    } else if (PROPERTIES.has(name)) {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Return a glyph of the sprite in index.html; words beside it say the same. */
export function glyph(name, className = "glyph") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#g-${name}`);
  svg.append(use);
  return svg;
}

/** Show another glyph in an element that `glyph` made. */
export function setGlyph(svg, name) {
  const href = `#g-${name}`;
  const use = svg.firstChild;
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
}

/** Set an element's text, unless it has it. */
export function setText(element, text) {
  const wanted = text ?? "";
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Text from elsewhere, kept from turning what stands around it. */
export function foreign(text, className = "") {
  return h("bdi", { class: className || null }, text ?? "");
}

/** A list of nodes by key: what stays keeps its node, its focus and its place on the screen. */
export class KeyedList {
  /** `make(item)` returns `{node, update(item)}`. */
  constructor(parent, make) {
    this.parent = parent;
    this.make = make;
    this.kept = new Map();
  }

  render(items, keyOf) {
    const wanted = new Set();
    const nodes = items.map((item) => {
      const key = keyOf(item);
      wanted.add(key);
      let one = this.kept.get(key);
      if (!one) this.kept.set(key, (one = this.make(item)));
      one.update(item);
      return one.node;
    });
    for (const [key, one] of this.kept) {
      if (!wanted.has(key)) {
        one.node.remove();
        this.kept.delete(key);
      }
    }
    placeInOrder(this.parent, nodes);
  }
}

/** Bring nodes into an order with few moves; the focus stays where it is. */
export function placeInOrder(parent, nodes) {
  const focused = document.activeElement;
  let next = parent.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}
