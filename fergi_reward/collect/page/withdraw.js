/** Deletion with the code, for those who come back later or from another browser. */

import { post, Refused } from "./api.js";
import { button, el } from "./dom.js";
import { has, t } from "./i18n.js";
import { ended } from "./leave.js";
import { show } from "./screen.js";

/** Ask for the code and delete. */
export function enterCode() {
  const input = el("input", { id: "code", autocomplete: "off", autocapitalize: "characters", spellcheck: "false" });
  const wrong = el("p", { class: "wrong", role: "alert" });
  const form = el(
    "form",
    {},
    el("label", { for: "code" }, t("code.label")),
    input,
    wrong,
    el(
      "div",
      { class: "actions" },
      el("button", { class: "main danger" }, t("withdraw.delete")),
      button(t("back"), { onclick: () => location.reload() }),
    ),
  );
  form.onsubmit = (event) => {
    event.preventDefault();
    void withdraw(input.value.trim().toUpperCase(), wrong);
  };
  show("withdraw", t("withdraw.title"), el("p", {}, t("withdraw.text")), form);
}

async function withdraw(code, wrong) {
  try {
    await post("/api/withdraw", { code });
    await ended("deleted");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    wrong.textContent = has(`error.${error.code}`) ? t(`error.${error.code}`) : t("withdraw.wrong");
  }
}
