/** What the study needs of a browser, asked before it begins. */

// An empty WebAssembly module whose one function uses a 128-bit constant: valid where SIMD is.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/**
 * Why the study cannot be done here.
 *
 * @param {boolean} camera Whether faces are measured.
 * @returns {"insecure" | "browser" | "graphics" | null} A key below `support.`; null where all is well.
 */
export function missing(camera) {
  if (!camera) return null;
  if (!window.isSecureContext || !navigator.mediaDevices) return "insecure";
  if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype) || !("OffscreenCanvas" in window)) return "browser";
  if (!WebAssembly.validate(new Uint8Array(SIMD))) return "browser";
  return new OffscreenCanvas(1, 1).getContext("webgl2") ? null : "graphics";
}
