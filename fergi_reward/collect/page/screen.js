/** The one screen that is shown. */

import { byId, el } from "./dom.js";

/**
 * Show a screen and bring readers to its heading.
 *
 * @param {string} step What `data-step` of the body says.
 * @param {string} heading
 * @param {...(Node | string | null)} content
 */
export function show(step, heading, ...content) {
  const title = el("h1", { tabindex: "-1" }, heading);
  const main = byId("main");
  document.body.dataset.step = step;
  delete main.dataset.part;
  delete document.body.dataset.trial;
  main.replaceChildren(title, ...content.filter((child) => child !== null));
  window.scrollTo(0, 0);
  title.focus({ preventScroll: true });
}

/** What is said once at the top of the next screen. @param {string | null} text */
export function notice(text) {
  return text ? el("p", { class: "notice", role: "status" }, text) : null;
}

/** Tell people who listen to the page. @param {string} text */
export function say(text) {
  byId("said").textContent = text;
}
