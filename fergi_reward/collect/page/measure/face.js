/**
 * From a face's landmarks and pose to numbers: the formulas of fergi_reward/reactions/backends/mediapipe.py.
 *
 * @typedef {{x: number, y: number, z: number}} Point
 */

// Landmarks of MediaPipe's face mesh, right and left: inner end of the eyebrow, inner and outer corner of the eye.
const INNER_BROWS = [55, 285];
const INNER_CORNERS = [133, 362];
const OUTER_CORNERS = [33, 263];
const DEGREES = 180 / Math.PI;

/**
 * Landmarks in pixels: MediaPipe gives x and the depth in widths of the picture, y in heights.
 *
 * @param {Point[]} landmarks
 * @param {number} width
 * @param {number} height
 * @returns {Point[]}
 */
export function inPixels(landmarks, width, height) {
  return landmarks.map(({ x, y, z }) => ({ x: x * width, y: y * height, z: z * width }));
}

/** The distance between the outer corners of the eyes. @param {Point[]} face @returns {number} */
export function eyeDistance(face) {
  return distance(face, OUTER_CORNERS[0], OUTER_CORNERS[1]);
}

/**
 * How far the inner brows are down: less the mean distance of inner brow and inner corner of the eye.
 *
 * @param {Point[]} face In pixels.
 * @returns {number} In distances between the outer corners of the eyes; at most 0.
 */
export function browLowering(face) {
  const heights = INNER_BROWS.map((brow, side) => distance(face, brow, INNER_CORNERS[side]));
  return -(heights[0] + heights[1]) / 2 / eyeDistance(face);
}

/** The mean of the blendshapes browDown. @param {{categoryName: string, score: number}[]} shapes @returns {number} */
export function browDown(shapes) {
  const score = (name) => shapes.find((shape) => shape.categoryName === name).score;
  return (score("browDownLeft") + score("browDownRight")) / 2;
}

/**
 * Pitch and yaw of a head in degrees: up is positive, and so is the subject's right, which is left in the picture.
 *
 * @param {number[]} matrix The facial transformation, 4 x 4, column by column.
 * @returns {{pitch: number, yaw: number}}
 */
export function headAngles(matrix) {
  const [across, up, ahead] = matrix.slice(8, 11); // where the face looks
  return { pitch: Math.atan2(up, Math.hypot(across, ahead)) * DEGREES, yaw: Math.atan2(-across, ahead) * DEGREES };
}

function distance(face, first, second) {
  const [a, b] = [face[first], face[second]];
  return Math.hypot(a.x - b.x, a.y - b.y, a.z - b.z);
}
