/** How much there is so far. */

import { el } from "../dom.js";
import { number, t } from "../i18n.js";

const COUNTS = ["participants", "done", "trials", "judgements", "links", "links_used", "videos"];

export function counts() {
  const values = Object.fromEntries(COUNTS.map((name) => [name, el("dd", {}, "–")]));
  const pairs = COUNTS.map((name) => el("div", { hidden: true }, el("dt", {}, t(`operator.count.${name}`)), values[name]));
  return {
    element: el("dl", { class: "counts" }, ...pairs),
    update: ({ counts }) => COUNTS.forEach((name) => write(values[name], counts[name])),
  };
}

/** Write a count; one that the study does not have is not shown. */
function write(value, count) {
  value.parentElement.hidden = count === undefined;
  if (count !== undefined) value.textContent = number(count);
}
