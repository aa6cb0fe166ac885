/** What went wrong in plain words, and a way back. */

import { post, Refused } from "./api.js";
import { button, el, pressed } from "./dom.js";
import { has, t } from "./i18n.js";
import { MeasuringFailed } from "./measure/measurer.js";
import { PictureMissing } from "./pictures.js";
import { show } from "./screen.js";
import { enterCode } from "./withdraw.js";

/** After these the server's state says where to go on; nothing has to be asked. */
const GO_ON = ["attempt_over", "check_needed", "consent_changed", "missing", "not_yet", "replayed", "unknown_attempt"];

/**
 * Say what went wrong, and wait until the participant wants to go on.
 *
 * @param {Error} error
 * @returns {Promise<string | null>} What the next screen says at its top.
 */
export async function failure(error) {
  const code = kind(error);
  const text = t(has(`error.${code}`) ? `error.${code}` : "error.other", { message: error.message });
  if (GO_ON.includes(code)) return text;
  if (code === "page" || code === "measuring") console.error(error);
  const again = button(t(code === "other_tab" ? "error.take_over" : "error.again"), { class: "main" });
  const withdraw = el("p", { class: "aside" }, button(t("withdraw.have_code"), { class: "link", onclick: enterCode }));
  show("error", t("error.title"), el("p", {}, text), el("div", { class: "actions" }, again), withdraw);
  await pressed(again);
  if (code === "other_tab") await post("/api/tab");
  if (code === "no_participant") location.reload();
  return null;
}

function kind(error) {
  if (error instanceof Refused) return error.code;
  if (error instanceof PictureMissing) return "picture";
  return error instanceof MeasuringFailed ? "measuring" : "page";
}
