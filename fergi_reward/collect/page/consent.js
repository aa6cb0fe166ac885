/** The researcher's information and the participant's agreement. */

import { get, post, Refused } from "./api.js";
import { hand } from "./code.js";
import { button, el, pressed } from "./dom.js";
import { t } from "./i18n.js";
import { leave } from "./leave.js";
import { markdown } from "./markdown.js";
import { notice, show } from "./screen.js";
import { enterCode } from "./withdraw.js";

/** Ask for consent. @param {import("./app.js").Context} context */
export async function consent({ study, said }) {
  const ticks = offered(study).map((name) => tick(name, study));
  const agree = button(t("consent.agree"), { class: "main", disabled: study.mode.camera });
  const decline = button(t("consent.decline"));
  const required = ticks.find(({ name }) => name === "measuring");
  if (required) required.box.onchange = () => (agree.disabled = !required.box.checked);
  show(
    "consent",
    t("consent.title"),
    notice(said),
    study.consent.is_template ? el("p", { class: "notice warning" }, t("consent.template")) : null,
    el("article", { class: "paper", lang: study.language }, markdown(study.consent.text)),
    el("fieldset", {}, el("legend", {}, t("consent.choices")), ...ticks.map(({ label }) => label)),
    el("div", { class: "actions" }, agree, decline),
    el("p", { class: "aside" }, button(t("withdraw.have_code"), { class: "link", onclick: enterCode })),
  );
  if ((await pressed(agree, decline)) === decline) return leave("declined");
  await given(study, ticks);
}

/** What can be agreed to, in the order shown. */
function offered({ mode }) {
  return [...(mode.camera ? ["measuring"] : []), "training", ...(mode.video ? ["video"] : [])];
}

function tick(name, { mode }) {
  const box = el("input", { type: "checkbox", name });
  const text = name === "measuring" && mode.video ? t("consent.measuring_or_video") : t(`consent.${name}`);
  return { name, box, label: el("label", { class: "tick" }, box, el("span", {}, text)) };
}

async function given(study, ticks) {
  const agreed = Object.fromEntries(ticks.map(({ name, box }) => [name, box.checked]));
  const answers = { measuring: false, ...agreed };
  try {
    const answer = await post("/api/consent", { hash: study.consent.hash, ...answers });
    await hand(answer.withdrawal_code);
  } catch (error) {
    if (error instanceof Refused && error.code === "consent_changed") Object.assign(study, await get("/api/study"));
    throw error;
  }
}
