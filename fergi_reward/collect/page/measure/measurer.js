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

export class Measurer {
  #worker = new Worker("/static/measure/worker.js", { type: "module" });
  #listeners = new Set();
  #inFlight = 0;
  #last = -Infinity;
  #presented = null;
  #watched = null;
  #failure = null;
  /** Frames of the camera that were not measured. */
  dropped = 0;
  /** Milliseconds from a frame's capture until it reached the page, smoothed. */
  delay = null;

  constructor() {
    this.ready = new Promise((resolve, reject) => {
      this.#worker.onerror = () => reject(new Error("worker"));
      this.#worker.onmessage = ({ data }) => {
        if (data.ready) resolve();
        else if (data.failed && !("time" in data)) reject(new Error(data.failed));
        else this.#measured(data);
      };
    });
  }

  /** Take the frames of this element from now on. @param {HTMLVideoElement} video */
  watch(video) {
    this.#watched = video;
    this.#presented = null;
    this.#next(video);
  }

  stop() {
    this.#watched = null;
    this.#worker.terminate();
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

  #next(video) {
    video.requestVideoFrameCallback((now, metadata) => {
      if (this.#watched !== video) return;
      this.#next(video);
      this.#take(video, metadata, now);
    });
  }

  async #take(video, metadata, now) {
    const time = metadata.captureTime ?? metadata.presentationTime;
    if (this.#presented !== null) this.dropped += Math.max(0, metadata.presentedFrames - this.#presented - 1);
    this.#presented = metadata.presentedFrames;
    if (time <= this.#last) return;
    if (this.#inFlight >= MOST_IN_FLIGHT) return void this.dropped++;
    this.#inFlight++;
    this.#last = time;
    this.delay = this.delay === null ? now - time : 0.9 * this.delay + 0.1 * (now - time);
    const picture = await createImageBitmap(video);
    this.#worker.postMessage({ time, picture }, [picture]);
  }

  #measured(frame) {
    this.#inFlight--;
    if (frame.failed) this.#failure = frame.failed;
    else this.#listeners.forEach((listener) => listener(frame));
  }
}
