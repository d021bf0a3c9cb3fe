// Buttons for what a token allows, each with a dialog that names the service; and what becomes of it.

import { allows } from "./api.js";
import { foreign, glyph, h } from "./dom.js";
import { confirm } from "./dialog.js";
import { openMenu } from "./menu.js";
import { toast } from "./toasts.js";
import { actionWord, isOpen, offered, shownName } from "./words.js";
import { duration } from "./telling.js";
import { took } from "./words.js";

const EFFECT = {
  restart: "The container is stopped with its grace period and started again. Its failure count begins anew.",
  start: "The container is started, and self-healing looks after it.",
  stop: "The container is stopped. Self-healing leaves it alone until it is started, restarted or enabled.",
  enable: "The service may be started and restarted again. Its failure count begins anew, and self-healing resumes.",
  disable: "Nobody starts or restarts it, self-healing neither, until it is enabled. The container is left as it is.",
};
const HARSH = new Set(["stop", "disable"]);
const REASON_LIMIT = 256;

/** The actions that make sense for a service and that the token allows. */
export const allowed = (store, service) => offered(service).filter((action) => allows(store.may, action, service.name));

/** Return the likeliest action as a button, and a menu for the others; `key` is the same for the same buttons. */
export function buttonsOf(context, service) {
  const [first, ...rest] = allowed(context.store, service);
  const key = [first, ...rest].join();
  if (!first) return { key, nodes: [] };
  const name = shownName(service);
  const ask = (action, from) => askFor(context, service.name, action, from);
  const nodes = [
    h("button", {
      type: "button", class: "button small", "data-place": "first", "data-action": first,
      "aria-label": `${actionWord(first)} ${name}`,
      on: { click: (event) => ask(first, event.currentTarget) },
    }, actionWord(first)),
  ];
  if (rest.length) {
    const more = h("button", {
      type: "button", class: "button small icon", "data-place": "more", "aria-haspopup": "menu", "aria-expanded": "false",
      "aria-label": `More actions for ${name}`,
    }, glyph("more"));
    more.addEventListener("click", () => {
      openMenu(more, rest.map((action) => ({ text: `${actionWord(action)} …`, act: () => ask(action, more) })));
    });
    nodes.push(more);
  }
  return { key, nodes };
}

/** Return a button for each action. */
export function allButtons(context, service) {
  return allowed(context.store, service).map((action, index) =>
    h("button", {
      type: "button", class: `button${index === 0 ? " primary" : ""}`, "data-action": action, "data-place": action,
      on: { click: (event) => askFor(context, service.name, action, event.currentTarget) },
    }, actionWord(action)),
  );
}

/** Ask whether it is meant, publish it, and leave the rest to the stream. */
export async function askFor(context, name, action, from) {
  const service = context.store.services.get(name);
  const shown = service ? shownName(service) : name;
  const reason = h("input", { class: "input", type: "text", maxlength: REASON_LIMIT, id: "reason", autocomplete: "off" });
  const meant = await confirm({
    title: [`${actionWord(action)} `, foreign(shown, "dialog-name"), "?"],
    body: [
      shown === name ? null : h("p", { class: "dialog-id" }, h("code", {}, foreign(name))),
      h("p", {}, EFFECT[action]),
      h("label", { class: "field", for: "reason" }, "Reason ", h("span", { class: "faint" }, "(optional, kept with the command)")),
      reason,
    ],
    yes: `${actionWord(action)} ${shown}`,
    harsh: HARSH.has(action),
    from,
  });
  if (!meant) return;
  const body = reason.value.trim() ? { reason: reason.value.trim() } : undefined;
  try {
    const id = await context.api.act(name, action, body);
    const accepted = new Date(context.api.now()).toISOString();
    watchOutcome(context, { id, status: "queued", action, service: name, issuer: context.store.may?.subject, reason: body?.reason, accepted_at: accepted });
  } catch (error) {
    toast({ tone: "bad", title: [`${actionWord(action)} `, foreign(shown), " was not taken"], text: error.message });
  }
}

/** Remember a command as ours, so that its outcome is said. */
export function watchOutcome(context, receipt) {
  context.store.own.add(receipt.id);
  const known = context.store.commands.get(receipt.id);
  if (known && !isOpen(known)) sayOutcome(context, known);
  else context.store.put(receipt);
}

/** Say how a command of ours ended. */
export function sayOutcome(context, receipt) {
  if (isOpen(receipt) || !context.store.own.delete(receipt.id)) return;
  const shown = nameOf(context, receipt);
  const time = duration(receipt);
  if (receipt.status === "succeeded") {
    const how = receipt.changed === false ? "it already was so" : time === null ? "done" : `done in ${took(time)}`;
    toast({ tone: "good", title: [`${actionWord(receipt.action)} `, foreign(shown), `: ${how}`] });
  } else {
    toast({ tone: "bad", title: [`${actionWord(receipt.action)} `, foreign(shown), `: ${receipt.status}`], text: receipt.message });
  }
}

function nameOf({ store }, receipt) {
  const service = store.services.get(receipt.service);
  return service ? shownName(service) : (receipt.service ?? receipt.id);
}

/** Cancel a command that has not begun. */
export async function cancel(context, receipt, from) {
  const shown = nameOf(context, receipt);
  const meant = await confirm({
    title: [`Cancel the ${actionWord(receipt.action).toLowerCase()} of `, foreign(shown, "dialog-name"), "?"],
    body: [shown === receipt.service ? null : h("p", { class: "dialog-id" }, h("code", {}, foreign(receipt.service))), h("p", {}, "It has not begun. Once it has begun it can no longer be cancelled.")],
    yes: "Cancel the command",
    no: "Keep it",
    from,
  });
  if (!meant) return;
  try {
    context.store.put(await context.api.cancel(receipt.id));
  } catch (error) {
    toast({ tone: "bad", title: ["The command was not cancelled"], text: error.message });
  }
}
