/** Three ratings of one picture, each from 1 to 7, or "cannot say". */

import { post } from "./api.js";
import { button, el, pressed } from "./dom.js";
import { t } from "./i18n.js";
import { load } from "./pictures.js";
import { notice, show } from "./screen.js";

const SCALES = ["overall", "alignment", "fidelity"];
const STEPS = [1, 2, 3, 4, 5, 6, 7];

/** Ask for the ratings of the picture that was seen last. @param {import("./app.js").Context} context */
export async function ratings({ state, said }) {
  const { trial, image, session: of } = state.trials.find(({ trial }) => trial === state.next.trial);
  const session = state.sessions.find(({ session }) => session === of);
  const picture = (await load(session.pictures)).get(image);
  picture.alt = t("rate.picture");
  const go = button(t("rate.continue"), { class: "main", disabled: true });
  const form = el("form", { class: "ratings" }, ...SCALES.map(scale));
  form.onchange = () => (go.disabled = !SCALES.every((name) => form.elements[name].value));
  form.onsubmit = (event) => event.preventDefault();
  const prompt = el("p", { class: "prompt" }, t("prompt"), " ", el("q", {}, session.prompt));
  show("rate", t("rate.title"), notice(said), el("div", { class: "rated" }, picture), prompt, form, el("div", { class: "actions" }, go));
  document.body.dataset.trial = trial;
  await pressed(go);
  await post(`/api/trials/${trial}/ratings`, Object.fromEntries(SCALES.map((name) => [name, answer(form, name)])));
}

function scale(name) {
  const steps = STEPS.map((step) => choice(name, String(step), String(step)));
  return el(
    "fieldset",
    {},
    el("legend", {}, t(`rate.${name}`)),
    el("div", { class: "scale" }, el("small", {}, t("rate.lowest")), ...steps, el("small", {}, t("rate.highest"))),
    choice(name, "cannot_say", t("cannot_say")),
  );
}

function choice(name, value, text) {
  return el("label", { class: "choice" }, el("input", { type: "radio", name, value }), el("span", {}, text));
}

function answer(form, name) {
  const { value } = form.elements[name];
  return value === "cannot_say" ? null : Number(value);
}
