// Where a token is asked for.

import { h } from "./dom.js";

export class SignInView {
  constructor(context, { detail, rejected }) {
    this.title = "Sign in";
    const input = h("input", {
      class: "input token", type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: "required",
      "aria-describedby": "token-help token-fault",
    });
    const fault = h("p", { class: "dialog-fault", role: "alert", id: "token-fault" }, rejected ? detail : "");
    this.node = h("div", { class: "view signin" },
      h("h1", { id: "title", tabIndex: -1 }, "Sign in"),
      h("form", {
        class: "signin-form",
        on: {
          submit: (event) => {
            event.preventDefault();
            const token = input.value.trim().replace(/^bearer\s+/i, "");
            if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
              fault.textContent = "That is not a token: it has three parts with dots between them.";
              return;
            }
            context.signIn(token);
          },
        },
      },
      h("label", { class: "field", for: "token" }, "Participant token"),
      input,
      h("p", { class: "faint", id: "token-help" }, "It stays in this tab and is forgotten when the tab is closed. Make one with ", h("code", {}, "pointsman token create"), "."),
      fault,
      h("button", { type: "submit", class: "button primary" }, "Sign in")));
    this.focus = () => input.focus();
  }

  update() {}

  tick() {}

  close() {}
}

export class NoEntryView {
  constructor(context, { detail }) {
    this.title = "No entry";
    this.node = h("div", { class: "view" }, h("div", { class: "empty" },
      h("h1", { id: "title", tabIndex: -1 }, "This room is not open to you"),
      h("p", {}, detail),
      h("p", {}, h("button", { type: "button", class: "button", on: { click: () => context.signOut() } }, "Use another token"))));
  }

  update() {}

  tick() {}

  close() {}
}
