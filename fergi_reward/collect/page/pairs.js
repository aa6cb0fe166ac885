/** Two pictures of one prompt: which is better. */

import { post } from "./api.js";
import { button, el } from "./dom.js";
import { t } from "./i18n.js";
import { load } from "./pictures.js";
import { notice, show } from "./screen.js";

const KEYS = { ArrowLeft: "left", ArrowRight: "right" };

/** Ask about the next pair. @param {import("./app.js").Context} context */
export async function pair({ state, said }) {
  const place = state.pairs.findIndex(({ pair: id }) => id === state.next.pair);
  const asked = state.pairs[place];
  const session = state.sessions.find((one) => one.session === asked.session);
  const pictures = await load(session.pictures);
  const left = side("left", pictures.get(asked.left));
  const right = side("right", pictures.get(asked.right));
  const cannotSay = button(t("cannot_say"));
  show(
    "pair",
    t("pair.title", { place: place + 1, all: state.pairs.length }),
    notice(said),
    el("p", { class: "prompt" }, t("prompt"), " ", el("q", {}, session.prompt)),
    el("div", { class: "pair" }, left, right),
    el("div", { class: "actions" }, cannotSay),
    el("p", { class: "aside keys" }, t("pair.keys")),
  );
  await post(`/api/pairs/${asked.pair}`, { choice: await chosen({ left, right, cannot_say: cannotSay }) });
}

function side(name, picture) {
  return button("", { class: "side", "aria-label": t(`pair.${name}`) }).appendChild(picture).parentElement;
}

/** The first choice by a press or by an arrow key. @returns {Promise<string>} */
function chosen(buttons) {
  const watch = new AbortController();
  return new Promise((resolve) => {
    const choose = (choice) => {
      watch.abort();
      for (const element of Object.values(buttons)) element.disabled = true; // the answer is on its way
      resolve(choice);
    };
    for (const [choice, element] of Object.entries(buttons)) element.addEventListener("click", () => choose(choice));
    document.addEventListener(
      "keydown",
      ({ key, repeat }) => !repeat && key in KEYS && !document.querySelector("dialog") && choose(KEYS[key]),
      { signal: watch.signal },
    );
  });
}
