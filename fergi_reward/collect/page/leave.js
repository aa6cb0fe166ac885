/** Ends that are final in this tab: what is kept here goes, and the page starts over with one sentence. */

import { post } from "./api.js";
import { el } from "./dom.js";
import { t } from "./i18n.js";
import { show } from "./screen.js";

const LEFT = "collect.left";

/**
 * Have the server delete this participant, and end.
 *
 * @param {"declined" | "deleted"} why
 */
export async function leave(why) {
  await post("/api/leave");
  ended(why);
}

/** Forget what this tab keeps, and say so from now on. @param {"declined" | "deleted"} why */
export function ended(why) {
  sessionStorage.clear();
  sessionStorage.setItem(LEFT, why);
  location.reload(); // which also ends the camera and whatever was running
  return new Promise(() => {});
}

/** @returns {"declined" | "deleted" | null} Why this tab is done. */
export const hasLeft = () => sessionStorage.getItem(LEFT);

/** The last screen. @param {"declined" | "deleted"} why */
export function goodbye(why) {
  show("withdrawn", t(`left.${why}.title`), el("p", {}, t(`left.${why}.text`)));
}
