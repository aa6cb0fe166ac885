/** What went wrong in a trial: each becomes a mark, and a retake is offered. */

import * as camera from "./camera.js";

// Of fergi_reward/reactions/clip.py: head poses that count as seen from the front, degrees; the share that must be seen.
const [MOST_PITCH, MOST_YAW] = [21, 16];
const MOST_MISSED = 0.2;
const MOST_BYSTANDERS = 0.05; // of the frames
const DARK = 0.15;
const LONGEST_GAP = 500; // milliseconds without a measured frame; a slower camera misses what faces do
const MOST_UNSENT = 4; // batches, so seconds

export class Marks {
  #found = new Set();
  #last = Infinity;
  #counts = { all: 0, away: 0, turned: 0, bystanders: 0, dark: 0 };

  /** @param {AbortSignal} signal Ends the watching. */
  constructor(signal) {
    const fullScreen = Boolean(document.fullscreenElement);
    window.addEventListener("blur", () => this.#found.add("lost_focus"), { signal });
    document.addEventListener("fullscreenchange", () => fullScreen && !document.fullscreenElement && this.#found.add("left_full_screen"), { signal });
  }

  /** @param {import("./measure/measurer.js").Measured} frame */
  frame({ time, faces, confidence, pitch, yaw, brightness }) {
    const counts = this.#counts;
    if (time - this.#last > LONGEST_GAP) this.#found.add("dropped_frames");
    this.#last = time;
    counts.all++;
    counts.away += confidence ? 0 : 1;
    counts.turned += confidence && (Math.abs(pitch) > MOST_PITCH || Math.abs(yaw) > MOST_YAW) ? 1 : 0;
    counts.bystanders += faces > 1 ? 1 : 0;
    counts.dark += brightness < DARK ? 1 : 0;
  }

  /**
   * All marks of the trial.
   *
   * @param {number} unsent Batches that are not acknowledged.
   * @returns {string[]}
   */
  all(unsent) {
    const { all, away, turned, bystanders, dark } = this.#counts;
    const add = (mark, holds) => holds && this.#found.add(mark);
    add("camera_lost", camera.isMuted());
    add("no_face", away > MOST_MISSED * all);
    add("turned_head", turned > MOST_MISSED * all);
    add("second_face", bystanders > MOST_BYSTANDERS * all);
    add("dark", dark > all / 2);
    add("slow_upload", unsent > MOST_UNSENT);
    return [...this.#found].sort();
  }
}
