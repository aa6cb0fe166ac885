/** The order of a session's pictures: by taps, by dragging, by keys; without ties, or "cannot say". */

import { post } from "./api.js";
import { button, el, pressed } from "./dom.js";
import { draggable } from "./drag.js";
import { enlarge } from "./enlarge.js";
import { t } from "./i18n.js";
import { Order } from "./order.js";
import { load } from "./pictures.js";
import { notice, say, show } from "./screen.js";

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/** Ask for the order of the next session. @param {import("./app.js").Context} context */
export async function ranking({ state, said }) {
  const session = state.sessions.find(({ session }) => session === state.next.session);
  const board = new Board(session, await load(session.pictures));
  const cannotSay = button(t("cannot_say"));
  show(
    "rank",
    t("rank.title"),
    notice(said),
    el("p", { class: "prompt" }, t("prompt"), " ", el("q", {}, session.prompt)),
    board.element,
    el("div", { class: "actions" }, board.confirm, cannotSay),
    el("p", { class: "aside" }, t("rank.text"), " ", el("span", { class: "keys" }, t("rank.keys"))),
  );
  const answer = (await pressed(board.confirm, cannotSay)) === cannotSay ? { cannot_say: true } : { order: board.order.placed };
  await post(`/api/sessions/${session.session}/ranking`, answer);
  board.order.forget();
}

/** The pictures that have a place, and those that have none yet. */
class Board {
  /** @param {{session: string, pictures: {image: string}[]}} session @param {Map<string, HTMLImageElement>} pictures */
  constructor(session, pictures) {
    this.order = new Order(session.session, session.pictures.map(({ image }) => image));
    this.placed = el("ol", { class: "cards placed", "aria-label": t("rank.placed") });
    this.rest = el("ul", { class: "cards rest", "aria-label": t("rank.rest") });
    this.cards = new Map(this.order.images.map((image, at) => [image, this.#card(image, letter(at), pictures.get(image))]));
    this.confirm = button(t("rank.confirm"), { class: "main" });
    this.hint = el("p", { class: "hint" });
    this.element = el("div", { class: "board" }, this.placed, this.hint, this.rest);
    this.element.style.setProperty("--count", this.order.images.length);
    this.#draw();
  }

  #card(image, name, picture) {
    const main = button("", { class: "picture" });
    main.append(picture, el("span", { class: "place", "aria-hidden": "true" }));
    const tools = el(
      "div",
      { class: "tools" },
      button("←", { class: "earlier", "aria-label": t("rank.earlier", { name }), onclick: () => this.#step(image, -1) }),
      el("span", { class: "grip", "aria-hidden": "true" }, "⠿"),
      button("→", { class: "later", "aria-label": t("rank.later", { name }), onclick: () => this.#step(image, 1) }),
      button("⤢", { "aria-label": t("rank.enlarge", { name }), onclick: () => enlarge(picture, name) }),
    );
    const card = el("li", { class: "card", "data-name": name }, main, tools);
    card.onkeydown = (event) => this.#key(event, image);
    main.onclick = () => this.#toggle(image);
    draggable(card, { over: (x, y) => this.#over(x, y), drop: (x, y) => this.#drop(image, x, y) });
    return card;
  }

  #toggle(image) {
    if (this.order.placed.includes(image)) this.order.remove(image);
    else this.order.place(image, Infinity);
    this.#changed(image);
  }

  #step(image, by) {
    const at = this.order.placed.indexOf(image);
    if (at < 0) return;
    this.order.place(image, at + by);
    this.#changed(image);
  }

  #key(event, image) {
    const { key, ctrlKey, altKey, metaKey } = event;
    if (ctrlKey || altKey || metaKey) return;
    const place = Number(key);
    if (key in STEPS) this.#step(image, STEPS[key]);
    else if (place >= 1 && place <= this.order.images.length) this.#set(image, place - 1);
    else if (key === "Delete" || key === "Backspace") this.#set(image, null);
    else return;
    event.preventDefault();
  }

  #set(image, at) {
    if (at === null) this.order.remove(image);
    else this.order.place(image, at);
    this.#changed(image);
  }

  #over(x, y) {
    this.#unmark();
    const { card, after, zone } = this.#under(x, y);
    (card ?? zone)?.classList.add(card ? (after ? "after" : "before") : "target");
  }

  #drop(image, x, y) {
    this.#unmark();
    const { card, after, zone } = this.#under(x, y);
    if (zone === this.rest) return this.#set(image, null);
    if (zone !== this.placed) return;
    const others = this.order.placed.filter((one) => one !== image);
    const at = card ? others.findIndex((one) => this.cards.get(one) === card) : others.length;
    this.#set(image, at + (after ? 1 : 0));
  }

  /** The zone under the pointer, in it the card, and whether the pointer is in the latter half of that. */
  #under(x, y) {
    const element = document.elementFromPoint(x, y);
    const zone = element?.closest(".cards") ?? null;
    const card = zone === this.placed ? element.closest(".card") : null;
    const box = card?.getBoundingClientRect();
    return { zone, card, after: Boolean(box) && x > box.left + box.width / 2 };
  }

  #unmark() {
    for (const element of [this.placed, this.rest, ...this.cards.values()]) element.classList.remove("before", "after", "target");
  }

  #changed(image) {
    this.#draw();
    const card = this.cards.get(image);
    const place = this.order.placed.indexOf(image) + 1;
    card.querySelector(".picture").focus();
    const { name } = card.dataset;
    say(place ? t("rank.said", { name, place, all: this.order.images.length }) : t("rank.said_removed", { name }));
  }

  #draw() {
    const { placed, rest, images } = this.order;
    this.placed.replaceChildren(...placed.map((image) => this.cards.get(image)));
    this.rest.replaceChildren(...rest.map((image) => this.cards.get(image)));
    for (const image of images) this.#label(image, placed.indexOf(image) + 1);
    this.rest.hidden = !rest.length;
    this.hint.textContent = t(rest.length ? (placed.length ? "rank.next" : "rank.first") : "rank.complete");
    this.confirm.disabled = rest.length > 0;
  }

  #label(image, place) {
    const card = this.cards.get(image);
    const { name } = card.dataset;
    const label = place ? t("rank.card_placed", { name, place }) : t("rank.card", { name });
    card.querySelector(".picture").setAttribute("aria-label", label);
    card.querySelector(".place").textContent = place || "";
    for (const step of card.querySelectorAll(".earlier, .later")) step.hidden = !place;
    card.querySelector(".earlier").disabled = place === 1;
    card.querySelector(".later").disabled = place === this.order.placed.length;
  }
}

/** A, B, ..., Z, AA, AB, ... @param {number} at From 0. @returns {string} */
function letter(at) {
  return (at < 26 ? "" : letter(Math.floor(at / 26) - 1)) + String.fromCharCode(65 + (at % 26));
}
