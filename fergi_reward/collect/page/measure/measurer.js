/**
 * Watches a video element: hands every frame of the camera to the worker and its numbers to whoever listens.
 *
 * @typedef {object} Measured One frame.
 * @property {number} time When it was captured, milliseconds on the page's clock (performance.now).
 * @property {number} faces
 * @property {number} brightness 0 to 1.
 * @property {number | null} au4 Brow lowering in distances of the outer corners of the eyes; null without the viewer.
 * @property {number | null} shape The blendshape browDown, 0 to 1.
 * @property {number} confidence 1 or 0.
 * @property {number | null} pitch Degrees.
 * @property {number | null} yaw Degrees.
 * @property {number | null} eyes Distance of the outer corners of the eyes in pixels.
 */

const MOST_IN_FLIGHT = 2; // one that is measured, one that waits; further ones are dropped and counted

/** The worker could not begin, or broke. */
export class MeasuringFailed extends Error {}

export class Measurer {
  #worker = new Worker("/static/measure/worker.js", { type: "module" });
  #listeners = new Set();
  #inFlight = 0;
  #last = -Infinity;
  #presented = null;
  #video;
  /** Frames of the camera that were not measured. */
  dropped = 0;
  /** Whether it may be asked; one whose worker failed is to be replaced. */
  usable = true;

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.#video = video;
    this.#next();
    this.ready = new Promise((resolve, reject) => {
      const failed = (error) => {
        this.usable = false;
        reject(new MeasuringFailed(error));
      };
      this.#worker.onerror = ({ message }) => failed(message);
      this.#worker.onmessage = ({ data }) => {
        if (data.ready) resolve();
        else if (data.broken) failed(data.broken);
        else this.#measured(data);
      };
    });
  }

  /** The viewer is to be found anew, and dropped frames are counted anew. */
  restart() {
    this.#worker.postMessage({ another: true });
    this.dropped = 0;
  }

  /** @param {(frame: Measured) => void} listener @returns {() => void} Stops it. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #next() {
    this.#video.requestVideoFrameCallback((_, metadata) => {
      this.#next();
      void this.#take(metadata);
    });
  }

  async #take(metadata) {
    if (!this.#listeners.size) return void (this.#presented = null); // nobody wants to know: it costs time
    const time = metadata.captureTime ?? metadata.presentationTime;
    if (this.#presented !== null) this.dropped += Math.max(0, metadata.presentedFrames - this.#presented - 1);
    this.#presented = metadata.presentedFrames;
    if (time <= this.#last) return;
    if (this.#inFlight >= MOST_IN_FLIGHT) return void this.dropped++;
    this.#inFlight++;
    this.#last = time;
    try {
      const picture = await createImageBitmap(this.#video);
      this.#worker.postMessage({ time, picture }, [picture]);
    } catch {
      this.#measured({ time, lost: true }); // the camera was switched off just now
    }
  }

  #measured(frame) {
    this.#inFlight--;
    if (frame.lost) this.dropped++;
    else this.#listeners.forEach((listener) => listener(frame));
  }
}
