// The one dialog: the browser keeps the focus inside, Escape closes it, and the focus goes back where it was.

import { h } from "./dom.js";

/** Ask; resolves to true when the answer is yes. The first focus is on the way out. */
export function confirm({ title, body, yes, no = "Cancel", harsh = false, from = null, check = null }) {
  return new Promise((resolve) => {
    const place = from?.dataset.place;
    const holder = from?.parentElement;
    const cancel = h("button", { type: "button", class: "button", on: { click: () => dialog.close() } }, no);
    const accept = h("button", { type: "submit", class: `button ${harsh ? "harsh" : "primary"}` }, yes);
    const fault = h("p", { class: "dialog-fault", role: "alert" });
    let meant = false;
    const form = h(
      "form",
      {
        on: {
          submit: (event) => {
            event.preventDefault();
            const wrong = check?.();
            if (wrong) {
              fault.textContent = wrong;
              return;
            }
            meant = true;
            dialog.close();
          },
        },
      },
      h("h2", { class: "dialog-title", id: "dialog-title" }, ...title),
      h("div", { class: "dialog-body", id: "dialog-body" }, ...body),
      fault,
      h("div", { class: "dialog-buttons" }, cancel, accept),
    );
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" }, form);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      const back = from?.isConnected ? from : (holder?.querySelector(`[data-place="${place}"]`) ?? holder?.querySelector("button"));
      back?.focus();
      resolve(meant);
    });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
  });
}
