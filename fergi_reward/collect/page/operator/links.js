/** Links for participants, one browser each. */

import { button, el } from "../dom.js";
import { t } from "../i18n.js";
import { ask } from "./api.js";
import { acted, outcome, section } from "./section.js";

export function links() {
  const count = el("input", { id: "count", type: "number", min: "1", max: "1000", value: "1", required: true });
  const make = el("button", { class: "main" }, t("operator.links.make"));
  const made = el("textarea", { readonly: true, rows: "4", "aria-label": t("operator.links.made"), hidden: true });
  const copy = button(t("operator.links.copy"), { hidden: true, onclick: () => navigator.clipboard.writeText(made.value) });
  const form = el("form", { class: "inline" }, el("label", { for: "count" }, t("operator.links.count")), count, make, copy);
  const line = outcome();
  form.onsubmit = (event) => {
    event.preventDefault();
    void acted(make, line, async () => {
      const answer = await ask("links", { count: Number(count.value) });
      made.value = answer.links.join("\n");
      made.hidden = copy.hidden = false;
      return "";
    });
  };
  return { element: section(t("operator.links"), el("p", {}, t("operator.links.text")), form, line, made) };
}
