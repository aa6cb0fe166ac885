/**
 * What was measured and has not been acknowledged yet: sent in order, kept in the tab until the server has it, so that
 * neither a lost connection nor a reload after the last frame loses a trial. Never a picture.
 *
 * @typedef {{path: string, body: object}} Letter
 */

import { post } from "./api.js";

const KEPT = "collect.outbox";

export class Outbox {
  /** @type {{letter: Letter, resolve: (answer: any) => void, reject: (error: Error) => void}[]} */
  #waiting = [];
  #delivery = Promise.resolve();

  /** Letters that are not acknowledged. */
  get size() {
    return this.#waiting.length;
  }

  /** @param {string} path @param {object} body @returns {Promise<any>} The server's answer. */
  send(path, body) {
    const answer = new Promise((resolve, reject) => this.#waiting.push({ letter: { path, body }, resolve, reject }));
    answer.catch(() => {}); // whoever waits for the last letter hears of it
    this.#keep();
    this.#delivery = this.#delivery.then(() => this.#deliver());
    return answer;
  }

  /** Forget what was not sent: its attempt has ended. */
  clear() {
    this.#waiting = [];
    this.#keep();
  }

  /** Send what a reload left, if that attempt was whole; what the server no longer wants is forgotten. */
  async resume() {
    const letters = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    const whole = letters.at(-1)?.path.endsWith("/end");
    const answers = whole ? letters.map(({ path, body }) => this.send(path, body)) : [];
    await Promise.allSettled(answers);
    this.clear();
  }

  /** Wait until nothing waits. */
  async delivered() {
    await this.#delivery;
  }

  async #deliver() {
    while (this.#waiting.length) await this.#first();
  }

  async #first() {
    const first = this.#waiting[0];
    try {
      const answer = await post(first.letter.path, first.letter.body);
      if (this.#waiting[0] === first) this.#waiting.shift();
      first.resolve(answer);
    } catch (error) {
      const rest = this.#waiting[0] === first ? this.#waiting.splice(0) : [first];
      rest.forEach(({ reject }) => reject(error)); // the later ones would be refused for the gap
    }
    this.#keep();
  }

  #keep() {
    sessionStorage.setItem(KEPT, JSON.stringify(this.#waiting.map(({ letter }) => letter)));
  }
}
