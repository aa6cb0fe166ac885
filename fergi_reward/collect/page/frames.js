/** The measured frames of one attempt on its clock, in batches that the server acknowledges. */

const PER_BATCH = 30;
const round = (value, digits) => (value === null ? null : Number(value.toFixed(digits)));

export class Frames {
  #rows = [];
  #seq = 0;
  #last = -Infinity;
  #onset = null;
  #offset = Infinity;
  #held = false;
  /** Frames that were handed out in batches. */
  sent = 0;

  /**
   * @param {number} zero When the baseline began, milliseconds on the page's clock.
   * @param {(batch: object) => void} send
   */
  constructor(zero, send) {
    this.zero = zero;
    this.send = send;
  }

  /** Seconds on the attempt's clock. @param {number} time Milliseconds on the page's clock. */
  seconds(time) {
    return (time - this.zero) / 1000;
  }

  get batches() {
    return this.#seq;
  }

  /** Whether everything up to the offset has been measured. */
  get whole() {
    return this.#last >= this.#offset;
  }

  /** @param {import("./measure/measurer.js").Measured} frame */
  add({ time, au4, shape, confidence, pitch, yaw, faces }) {
    this.#last = this.seconds(time);
    if (this.#last < 0 || this.#last >= this.#offset) return;
    const row = [this.#last, au4, shape, confidence, pitch, yaw];
    this.#rows.push([...row.map((value) => round(value, 6)), faces]);
    if (!this.#held && this.#rows.length >= PER_BATCH) this.#flush();
  }

  /** From here until the onset is known, frames are kept: their part is open. */
  hold() {
    this.#held = true;
  }

  /** @param {number} time When the picture was on the screen, milliseconds on the page's clock. */
  onset(time) {
    this.#onset = this.seconds(time);
    this.#held = false;
  }

  /** @param {number} time When the picture was gone, milliseconds on the page's clock. */
  offset(time) {
    this.#offset = this.seconds(time);
  }

  /** Hand out what is left. */
  end() {
    this.#rows = this.#rows.filter(([at]) => at < this.#offset);
    this.#flush();
  }

  #flush() {
    const first = this.#onset === null ? this.#rows.length : this.#rows.findIndex(([at]) => at >= this.#onset);
    const border = first < 0 ? this.#rows.length : first;
    this.#batch("baseline", this.#rows.slice(0, border));
    this.#batch("picture", this.#rows.slice(border));
    this.#rows = [];
  }

  #batch(part, frames) {
    if (!frames.length) return;
    this.send({ seq: this.#seq++, part, frames });
    this.sent += frames.length;
  }
}
