/** Time on the page's one clock, performance.now: it never jumps, whatever happens to the time of day. */

/**
 * When what was just changed is on the screen: once the frame after the one that paints it has begun. Read from the
 * clock, as the time stamp of a late frame is older than its picture.
 *
 * @returns {Promise<number>} Milliseconds.
 */
export function painted() {
  return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now()))));
}

/**
 * Wait.
 *
 * @param {number} time Milliseconds on the page's clock.
 * @param {AbortSignal} signal Ends the waiting for ever.
 * @returns {Promise<void>}
 */
export function until(time, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, time - performance.now());
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  });
}
