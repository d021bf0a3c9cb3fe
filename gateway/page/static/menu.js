// A menu below a button: arrows, Home, End, Escape, as people expect of menus.

import { h } from "./dom.js";

let shut = null;

/** Open a menu of `{text, act}` for a button; a second time closes it. */
export function openMenu(button, items) {
  const mine = button.getAttribute("aria-expanded") === "true";
  shut?.();
  if (mine) return;
  const entries = items.map(({ text, act }) =>
    h("button", { type: "button", class: "menu-item", role: "menuitem", tabIndex: -1, on: { click: () => (close(), act()) } }, text),
  );
  const menu = h("div", { class: "menu", role: "menu", "aria-label": button.getAttribute("aria-label") }, ...entries);
  const outside = (event) => menu.contains(event.target) || button.contains(event.target) || close();
  const leave = (event) => event.relatedTarget && !menu.contains(event.relatedTarget) && event.relatedTarget !== button && close();

  function close(refocus = false) {
    if (shut !== close) return;
    shut = null;
    menu.remove();
    button.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside);
    removeEventListener("scroll", close);
    removeEventListener("resize", close);
    if (refocus === true) button.focus();
  }

  menu.addEventListener("focusout", leave);
  menu.addEventListener("keydown", (event) => {
    const at = entries.indexOf(document.activeElement);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    if (event.key in steps) entries.at(steps[event.key] % entries.length).focus();
    else if (event.key === "Escape" || event.key === "Tab") close(true);
    else return;
    if (event.key !== "Tab") event.preventDefault();
  });
  document.getElementById("main").append(menu);
  place(menu, button);
  button.setAttribute("aria-expanded", "true");
  shut = close;
  document.addEventListener("pointerdown", outside);
  addEventListener("scroll", close, { passive: true });
  addEventListener("resize", close);
  entries[0].focus({ preventScroll: true });
}

function place(menu, button) {
  const at = button.getBoundingClientRect();
  const size = menu.getBoundingClientRect();
  const below = at.bottom + 4 + size.height <= innerHeight;
  menu.style.left = `${Math.max(8, at.right - size.width)}px`;
  menu.style.top = `${below ? at.bottom + 4 : Math.max(8, at.top - size.height - 4)}px`;
}
