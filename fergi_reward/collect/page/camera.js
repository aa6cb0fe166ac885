/** The camera: asked for after consent only, seen in a preview, named by a light while it is on. */

import { byId } from "./dom.js";
import { t } from "./i18n.js";
import { interrupt } from "./interruption.js";

const WANTED = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" };

/** @type {MediaStreamTrack | null} */
let track = null;

/** Whether the camera gives pictures. */
export const isOn = () => track?.readyState === "live";

/** Whether the camera is there but gives no pictures at the moment, as when its cover is closed by software. */
export const isMuted = () => track?.muted ?? false;

/** What the camera gives. @returns {MediaStream} */
export const stream = () => video().srcObject;

/** The element with the picture. @returns {HTMLVideoElement} */
export const video = () => byId("camera");

/**
 * Ask for the camera.
 *
 * @param {boolean} filmed Whether others will see its picture, too.
 * @returns {Promise<string | null>} What went wrong, a key below `camera.`; null where it is on.
 */
export async function open(filmed) {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: WANTED, audio: false });
    track = stream.getVideoTracks()[0];
    track.onended = lost;
    video().srcObject = stream;
    await video().play();
  } catch (error) {
    close();
    return reason(error);
  }
  byId("preview").hidden = false;
  byId("preview").setAttribute("aria-label", t(filmed ? "camera.preview_video" : "camera.preview"));
  light("on");
  return null;
}

/** Switch it off. */
export function close() {
  if (track) track.onended = null;
  track?.stop();
  track = null;
  video().srcObject = null;
  byId("preview").hidden = true;
  byId("light").hidden = true;
}

/** Say what is done with the picture. @param {"on" | "measuring" | "recording"} doing */
export function light(doing) {
  const lamp = byId("light");
  lamp.hidden = false;
  lamp.classList.toggle("measuring", doing !== "on");
  byId("light-text").textContent = t(`camera.${doing}`);
}

function lost() {
  close();
  interrupt("camera_lost");
}

function reason({ name }) {
  if (name === "NotAllowedError" || name === "SecurityError") return "refused";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "none";
  return "busy";
}
