/** A part of the operator's page, and the line that says what an action did. */

import { el } from "../dom.js";
import { t } from "../i18n.js";

/** @param {string} title @param {...(Node | string | null)} content @returns {HTMLElement} */
export const section = (title, ...content) => el("section", { class: "paper" }, el("h2", {}, title), ...content);

/** The line. @returns {HTMLElement} */
export const outcome = () => el("p", { role: "status" });

/**
 * Run an action, with its button disabled and a line that says how it went.
 *
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} line
 * @param {() => Promise<string>} action Returns what the line says.
 */
export async function acted(button, line, action) {
  button.disabled = true;
  line.textContent = t("operator.working");
  try {
    line.textContent = await action();
  } catch (error) {
    line.textContent = error.status ? error.message : t("operator.lost");
  } finally {
    button.disabled = false;
  }
}
