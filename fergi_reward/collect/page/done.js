/** The end: thanks, the code once more, and deletion at once for those who want it. */

import { close } from "./camera.js";
import { code } from "./code.js";
import { button, el } from "./dom.js";
import { t } from "./i18n.js";
import { leave } from "./leave.js";
import { show } from "./screen.js";
import { enterCode } from "./withdraw.js";

/** @returns {Promise<void>} Never: nothing comes after it. */
export function done() {
  close();
  void document.exitFullscreen?.().catch(() => {});
  const kept = code();
  show(
    "done",
    t("done.title"),
    el("p", {}, t("done.text")),
    el("p", {}, t(kept ? "done.code" : "done.no_code")),
    kept,
    el("div", { class: "actions" }, button(t("done.delete"), { class: "danger", onclick: confirmed })),
    kept ? null : el("p", { class: "aside" }, button(t("withdraw.have_code"), { class: "link", onclick: enterCode })),
  );
  return new Promise(() => {});
}

/** The second press deletes. @param {MouseEvent} event */
function confirmed({ currentTarget }) {
  currentTarget.textContent = t("done.delete_really");
  currentTarget.onclick = () => void leave("deleted");
}
