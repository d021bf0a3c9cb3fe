// The page is many files. Where one does not come (a network that changes under the browser, as when containers
// start on its machine; a gateway that is away for a moment), none of its code runs: then it is loaded again.
"use strict";

{
  const TRIES = "pointsman.tries";
  const PAUSES = [250, 1000, 3000, 10000]; // ms; the last one again and again
  let failed = false;

  // Such errors do not bubble, so they are heard on their way down.
  addEventListener("error", ({ target }) => {
    if (failed || !target.matches?.("script, link[rel=stylesheet]")) return;
    failed = true;
    const tries = Number(sessionStorage.getItem(TRIES));
    sessionStorage.setItem(TRIES, tries + 1);
    const note = document.querySelector("#main > .quiet");
    if (note) note.textContent = "A part of this page did not arrive. Trying again …";
    setTimeout(() => location.reload(), PAUSES[Math.min(tries, PAUSES.length - 1)]);
  }, true);

  addEventListener("load", () => {
    if (!failed) sessionStorage.removeItem(TRIES);
  });
}
