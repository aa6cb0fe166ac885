/** What ends a running trial from outside: a pause, a hidden page, a camera that is gone. */

const events = new EventTarget();

/** Why a trial did not end: a key below `interrupted.`. */
export class Interrupted extends Error {}

/** End what is running. @param {"paused" | "hidden" | "camera_lost"} why */
export function interrupt(why) {
  events.dispatchEvent(new CustomEvent("interrupt", { detail: why }));
}

/**
 * Do something unless it is interrupted.
 *
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} work Ends what it started when the signal says so.
 * @param {string[]} reasons Those that count.
 * @returns {Promise<T>}
 * @throws {Interrupted}
 */
async function unless(work, reasons) {
  const controller = new AbortController();
  const { signal } = controller;
  const interrupted = new Promise((_, reject) => {
    const end = ({ detail }) => reasons.includes(detail) && reject(new Interrupted(detail));
    events.addEventListener("interrupt", end, { signal });
  });
  try {
    return await Promise.race([work(signal), interrupted]);
  } finally {
    controller.abort();
  }
}

/** A screen, which a pause leaves. */
export const unlessPaused = (work) => unless(work, ["paused", "camera_lost"]);

/** A trial, which a hidden page ends too: there is nothing to see on it. */
export const unlessInterrupted = (work) => unless(work, ["paused", "camera_lost", "hidden"]);

document.addEventListener("visibilitychange", () => document.hidden && interrupt("hidden"));
