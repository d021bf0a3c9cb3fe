// The page put together: address -> view, stream -> store -> view.

import { sayOutcome } from "./actions.js";
import { Api } from "./api.js";
import { Banners } from "./banners.js";
import { CommandsView } from "./commands.js";
import { DeadView } from "./dead.js";
import { Frame } from "./frame.js";
import { Link } from "./link.js";
import { addressOf, routeOf } from "./route.js";
import { ServiceView } from "./service.js";
import { ServicesView } from "./services.js";
import { NoEntryView, SignInView } from "./signin.js";
import { Store } from "./store.js";
import { toneOf } from "./words.js";
import { WorkersView } from "./workers.js";

const TICK = 1000;

class App {
  constructor() {
    this.api = new Api();
    this.store = new Store();
    this.main = document.getElementById("main");
    this.frame = new Frame(this);
    this.banners = new Banners(document.getElementById("banners"));
    this.link = new Link(this, (event) => this.event(event));
    this.view = null;
    this.store.subscribe((told) => this.update(told));
    addEventListener("hashchange", () => this.go());
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault();
      this.main.focus();
    });
    setInterval(() => this.tick(), TICK);
  }

  start() {
    this.api.room = routeOf(location.hash).room;
    this.link.start();
    this.go();
  }

  /** The room of the address; null for the gateway's own. */
  room() {
    return this.api.room;
  }

  // Views.

  go() {
    const route = routeOf(location.hash);
    if (route.room !== this.api.room) {
      this.api.room = route.room;
      this.link.stop();
      this.store.clear();
      this.link.start();
    } else if (this.refused) {
      return;
    }
    this.show(this.make(route), route);
  }

  make({ view, name, query }) {
    switch (view) {
      case "service":
        return new ServiceView(this, name);
      case "commands":
        return new CommandsView(this);
      case "dead":
        return new DeadView(this);
      case "workers":
        return new WorkersView(this);
      default:
        return new ServicesView(this, query);
    }
  }

  show(view, route) {
    const first = this.view === null;
    this.view?.close();
    this.view = view;
    this.main.replaceChildren(view.node);
    this.frame.mark(route);
    this.retitle();
    if (view.focus) view.focus();
    else if (!first) {
      scrollTo(0, 0);
      view.node.querySelector("#title")?.focus({ preventScroll: true });
    }
  }

  // What is told.

  /** Take in an event of the stream, before the views hear that something changed. */
  event(event) {
    this.view?.event?.(event);
    if (event.data?.command) this.settled(event.data.command);
  }

  /** Tell how a command ended, if it was asked for here. */
  settled(receipt) {
    sayOutcome(this, receipt);
  }

  update(told) {
    this.view?.update(told);
    this.frame.draw();
    this.banners.draw(this.store, this.link.state);
    this.retitle();
  }

  /** Tell that the link to the gateway is another than before. */
  linked() {
    this.frame.draw();
    this.banners.draw(this.store, this.link.state);
  }

  tick() {
    if (document.hidden) return;
    this.view?.tick(this.api.now());
    this.linked();
  }

  retitle() {
    let bad = 0;
    for (const service of this.store.services.values()) if (toneOf(service) === "bad") bad += 1;
    const room = this.store.room?.room;
    const title = [`${bad ? `(${bad}) ` : ""}${this.view?.title ?? "Pointsman"}`, room, "Pointsman"].filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
  }

  // Who asks.

  signIn(token) {
    this.api.signIn(token);
    this.refused = false;
    this.view = null;
    this.store.clear();
    this.link.start();
    this.go();
  }

  signOut() {
    this.api.signOut();
    this.link.stop();
    this.store.clear();
    this.link.start();
  }

  /** The gateway wants a token, another one, or one for another room. */
  async refuse(problem) {
    this.refused = true;
    this.link.stop();
    const rejected = Boolean(this.api.token);
    if (problem.status === 401) {
      this.api.signOut();
      this.store.clear();
      this.show(new SignInView(this, { detail: problem.detail, rejected }), { view: null });
      return;
    }
    this.refused = false;
    if (this.api.room === null) {
      const rooms = await this.api.rooms().catch(() => []);
      if (rooms.length) {
        location.hash = addressOf({ room: rooms[0] });
        return;
      }
    }
    this.refused = true;
    this.show(new NoEntryView(this, problem), { view: null });
  }
}

const app = new App();
app.start();
