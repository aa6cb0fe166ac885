/** Video of one showing. Loaded only where the study offers to keep it and the participant allowed it. */

import { post, Refused } from "./api.js";

// VP9 first: of 90 frames Chromium 150 kept 4 to 7 in VP8, and 59 to 87 in VP9.
const TYPES = ["video/webm;codecs=vp9", "video/webm", "video/mp4"];
const BITS_PER_SECOND = 1_000_000;
const PIECE = 131_072; // bytes; the server takes no more
const TRIES = 3;

/**
 * Begin to record; null in a browser that cannot.
 *
 * @param {MediaStream} stream
 * @param {AbortSignal} signal Ends it; nothing of it is kept then.
 */
export function record(stream, signal) {
  const mimeType = TYPES.find((type) => globalThis.MediaRecorder?.isTypeSupported(type));
  return mimeType ? new Film(new MediaRecorder(stream, { mimeType, videoBitsPerSecond: BITS_PER_SECOND }), signal) : null;
}

class Film {
  #parts = [];
  #recorder;
  #ended;

  constructor(recorder, signal) {
    this.#recorder = recorder;
    recorder.ondataavailable = ({ data }) => this.#parts.push(data);
    this.#ended = new Promise((resolve) => (recorder.onstop = resolve));
    /** When it begins, milliseconds on the page's clock: a recorder counts from here. */
    this.begun = performance.now();
    recorder.start();
    signal.addEventListener("abort", () => this.#stop(), { once: true });
  }

  /** End the recording. */
  async end() {
    this.#stop();
    await this.#ended;
  }

  /**
   * Send it, piece by piece; where the server refuses it, the showing counts without a video.
   *
   * @param {string} attempt
   * @param {number} start When it begins, in seconds on the clock of the attempt.
   */
  async send(attempt, start) {
    const film = new Blob(this.#parts);
    const path = `/api/attempts/${attempt}/video`;
    for (let at = 0, tries = 0; film.size && tries < TRIES; tries++) {
      try {
        while (at < film.size) at = (await post(`${path}/${at}`, film.slice(at, at + PIECE))).received;
        return void (await post(path, { bytes: film.size, digest: await digest(film), start }));
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (error.code !== "missing") return;
        at = error.answer.expected; // the server was started anew, and holds less
      }
    }
  }

  #stop() {
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
  }
}

async function digest(film) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await film.arrayBuffer()));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
