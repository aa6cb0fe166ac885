/** One picture as large as the window. */

import { button, el } from "./dom.js";
import { t } from "./i18n.js";

/** @param {HTMLImageElement} picture @param {string} name */
export function enlarge(picture, name) {
  const copy = picture.cloneNode();
  copy.alt = t("rank.card", { name });
  const dialog = el("dialog", { class: "large", "aria-label": copy.alt }, copy);
  dialog.append(button(t("close"), { onclick: () => dialog.close(), autofocus: true }));
  dialog.onclick = ({ target }) => target !== copy && dialog.close();
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
}
