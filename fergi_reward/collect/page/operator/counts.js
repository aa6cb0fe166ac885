/** How much there is so far. */

import { el } from "../dom.js";
import { number, t } from "../i18n.js";

const COUNTS = ["participants", "done", "trials", "judgements", "links", "links_used"];

export function counts() {
  const values = Object.fromEntries(COUNTS.map((name) => [name, el("dd", {}, "–")]));
  const pairs = COUNTS.map((name) => el("div", {}, el("dt", {}, t(`operator.count.${name}`)), values[name]));
  return {
    element: el("dl", { class: "counts" }, ...pairs),
    update: ({ counts }) => COUNTS.forEach((name) => (values[name].textContent = number(counts[name]))),
  };
}
