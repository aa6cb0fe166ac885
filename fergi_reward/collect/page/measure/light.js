/** How light a picture is, from a small copy of it. */

const EVERY = 10; // pictures: light changes slowly
const [WIDTH, HEIGHT] = [32, 24];

export class Light {
  #canvas = new OffscreenCanvas(WIDTH, HEIGHT).getContext("2d", { willReadFrequently: true });
  #count = 0;
  #last = 0;

  /** The mean luma (Rec. 601) of the last picture that was looked at, 0 to 1. @param {ImageBitmap} picture */
  of(picture) {
    if (this.#count++ % EVERY === 0) this.#last = this.#luma(picture);
    return this.#last;
  }

  #luma(picture) {
    this.#canvas.drawImage(picture, 0, 0, WIDTH, HEIGHT);
    const { data } = this.#canvas.getImageData(0, 0, WIDTH, HEIGHT);
    let sum = 0;
    for (let at = 0; at < data.length; at += 4) sum += 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    return sum / (WIDTH * HEIGHT * 255);
  }
}
