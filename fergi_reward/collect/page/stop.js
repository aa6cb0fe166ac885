/** The button that is there at every step: have a break, or stop and delete everything. */

import { close as cameraOff } from "./camera.js";
import { code } from "./code.js";
import { byId, button, el } from "./dom.js";
import { t } from "./i18n.js";
import { interrupt } from "./interruption.js";
import { leave } from "./leave.js";

/** Put the button into the header. */
export function offerStop() {
  const stop = byId("stop");
  stop.textContent = t("stop.button");
  stop.hidden = false;
  stop.onclick = () => {
    cameraOff();
    interrupt("paused");
    ask();
  };
}

function ask() {
  const close = button(t("stop.back"), { class: "main", autofocus: true });
  const remove = button(t("stop.delete"), { class: "danger" });
  const dialog = el(
    "dialog",
    { "aria-labelledby": "stop-title" },
    el("h2", { id: "stop-title" }, t("stop.title")),
    el("p", {}, t("stop.pause")),
    el("p", {}, t("stop.deletion")),
    code() ?? "",
    el("div", { class: "actions" }, close, remove),
  );
  close.onclick = () => dialog.close();
  remove.onclick = () => {
    remove.disabled = true;
    void leave("deleted");
  };
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
}
