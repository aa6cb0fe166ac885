/** What the server wants its operator to know. */

import { el } from "../dom.js";
import { t } from "../i18n.js";
import { section } from "./section.js";
import { when } from "./when.js";

export function notices() {
  const list = el("ul");
  const element = section(t("operator.notices"), list);
  element.hidden = true;
  const update = ({ notices }) => {
    element.hidden = !notices.length;
    if (list.childElementCount === notices.length) return;
    list.replaceChildren(...notices.map(({ at, text }) => el("li", {}, el("time", { datetime: at }, when(at)), " ", text)));
  };
  return { element, update };
}
