/** The withdrawal code: given once by the server, kept in this tab, on paper or in a file by the participant. */

import { button, el, pressed } from "./dom.js";
import { t } from "./i18n.js";
import { show } from "./screen.js";

const KEPT = "collect.code";

/** Keep the code and show it until the participant has taken it down. @param {string} given */
export async function hand(given) {
  sessionStorage.setItem(KEPT, given);
  const go = button(t("code.continue"), { class: "main" });
  show("code", t("code.title"), el("p", {}, t("code.why")), code(), el("div", { class: "actions" }, go));
  await pressed(go);
}

/** The code with ways to keep it; null in a tab that never saw it. @returns {HTMLElement | null} */
export function code() {
  const kept = sessionStorage.getItem(KEPT);
  if (!kept) return null;
  const file = URL.createObjectURL(new Blob([`${t("code.file")}\n\n${kept}\n\n${location.origin}\n`]));
  const save = el("a", { href: file, download: "withdrawal-code.txt", class: "button" }, t("code.download"));
  return el("div", { class: "code" }, el("output", { "aria-label": t("code.label") }, kept), save);
}
