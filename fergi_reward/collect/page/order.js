/** An order that comes about picture by picture, best first, without ties; kept in the tab over a reload. */

export class Order {
  #kept;

  /** @param {string} session @param {string[]} images All pictures of the session. */
  constructor(session, images) {
    this.#kept = `collect.order.${session}`;
    this.images = images;
    const before = JSON.parse(sessionStorage.getItem(this.#kept) ?? "[]");
    /** @type {string[]} Best first. */
    this.placed = before.filter((image) => images.includes(image));
  }

  /** Pictures without a place yet. @returns {string[]} */
  get rest() {
    return this.images.filter((image) => !this.placed.includes(image));
  }

  /** @param {string} image @param {number} at Its place from 0; beyond the others: the last one. */
  place(image, at) {
    const others = this.placed.filter((one) => one !== image);
    others.splice(Math.min(Math.max(at, 0), others.length), 0, image);
    this.#keep(others);
  }

  /** @param {string} image */
  remove(image) {
    this.#keep(this.placed.filter((one) => one !== image));
  }

  forget() {
    sessionStorage.removeItem(this.#kept);
  }

  #keep(placed) {
    this.placed = placed;
    sessionStorage.setItem(this.#kept, JSON.stringify(placed));
  }
}
