/** A calibration of what there is so far, with its report in a frame that can do nothing but show. */

import { button, el } from "../dom.js";
import { t } from "../i18n.js";
import { ask } from "./api.js";
import { acted, outcome, section } from "./section.js";

const EVERY = 2000; // milliseconds

export function calibration() {
  const line = outcome();
  const told = el("pre", { hidden: true, tabindex: "0", "aria-label": t("operator.calibration.told") });
  const report = el("iframe", { sandbox: "allow-scripts", title: t("operator.report"), hidden: true });
  const start = button(t("operator.calibrate"), { class: "main" });

  function showState({ state, message, report: address }) {
    told.textContent = message;
    told.hidden = !message;
    report.hidden = !address;
    if (address && report.getAttribute("src") !== address) report.src = address;
    return t(`operator.calibration.${state}`);
  }

  async function follow(state) {
    while (state.state === "running") {
      line.textContent = showState(state);
      await new Promise((wake) => setTimeout(wake, EVERY));
      state = await ask("calibration");
    }
    return showState(state);
  }

  start.onclick = () => acted(start, line, async () => follow(await ask("calibrate", {})));
  void acted(start, line, async () => follow(await ask("calibration"))); // one may run, or have run, already
  const actions = el("div", { class: "actions" }, start);
  return { element: section(t("operator.calibration"), el("p", {}, t("operator.calibration.text")), actions, line, told, report) };
}
