/** A trial that was disturbed may be shown again. */

import { button, el, pressed } from "./dom.js";
import { has, t } from "./i18n.js";
import { show } from "./screen.js";

/** @param {string[]} reasons Codes; those that the page has words for are told. @returns {Promise<boolean>} Whether to show it again. */
export async function retake(reasons) {
  const again = button(t("retake.again"), { class: "main" });
  const go = button(t("retake.continue"));
  const told = reasons.filter((code) => has(`reason.${code}`)).map((code) => el("li", {}, t(`reason.${code}`)));
  show("retake", t("retake.title"), el("ul", {}, ...told), el("p", {}, t("retake.text")), el("div", { class: "actions" }, again, go));
  return (await pressed(again, go)) === again;
}
