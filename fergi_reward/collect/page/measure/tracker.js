/**
 * Whose face is the viewer's, where several are in the picture: fergi_reward/reactions/tracking.py in JavaScript.
 *
 * @typedef {{left: number, top: number, right: number, bottom: number}} Box
 */

// The area that the viewer's face shares with where it was last, over the area of both together.
const LEAST_OVERLAP = 0.2;

/** Follows one face from frame to frame: the largest of those that are seen first, and no other one. */
export class ViewerTracker {
  /** @type {Box | null} */
  #last = null;

  /**
   * The viewer's face in the next frame.
   *
   * @param {Box[]} boxes
   * @returns {number} Its place; -1 where the viewer is not to be seen.
   */
  follow(boxes) {
    if (!boxes.length) return -1;
    const worth = boxes.map(this.#last ? (box) => overlap(box, this.#last) : area);
    const chosen = worth.indexOf(Math.max(...worth));
    if (this.#last && worth[chosen] < LEAST_OVERLAP) return -1;
    this.#last = boxes[chosen];
    return chosen;
  }
}

/** The smallest box around a face. @param {{x: number, y: number}[]} face @returns {Box} */
export function boxAround(face) {
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const { x, y } of face) {
    box.left = Math.min(box.left, x);
    box.top = Math.min(box.top, y);
    box.right = Math.max(box.right, x);
    box.bottom = Math.max(box.bottom, y);
  }
  return box;
}

function area({ left, top, right, bottom }) {
  return Math.max(0, right - left) * Math.max(0, bottom - top);
}

function overlap(a, b) {
  const shared = area({
    left: Math.max(a.left, b.left),
    top: Math.max(a.top, b.top),
    right: Math.min(a.right, b.right),
    bottom: Math.min(a.bottom, b.bottom),
  });
  const together = area(a) + area(b) - shared;
  return together > 0 ? shared / together : 0;
}
