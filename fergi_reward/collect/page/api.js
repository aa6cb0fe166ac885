/** Requests to the study's server, repeated until they arrive. */

import { byId } from "./dom.js";
import { t } from "./i18n.js";

// One for each load of the page: the newest tab is the one that counts.
const TAB = crypto.getRandomValues(new Uint32Array(2)).join("-");
const [SHORTEST_PAUSE, LONGEST_PAUSE] = [500, 8000]; // milliseconds
const TRIES_OF_A_BROKEN_SERVER = 4;

/** An answer that says no. */
export class Refused extends Error {
  /** @param {string} code @param {number} status @param {object} answer */
  constructor(code, status, answer) {
    super(answer.message ?? code);
    Object.assign(this, { code, status, answer });
  }
}

/** @param {string} path @returns {Promise<any>} */
export const get = (path) => ask(path, { headers: { "X-Tab": TAB } });

/** @param {string} path @param {object | Blob} [body] @returns {Promise<any>} */
export function post(path, body = {}) {
  const isFile = body instanceof Blob;
  const type = isFile ? "application/octet-stream" : "application/json";
  const headers = { "X-Collect": "1", "X-Tab": TAB, "Content-Type": type };
  return ask(path, { method: "POST", headers, body: isFile ? body : JSON.stringify(body) });
}

async function ask(path, request) {
  for (let tries = 1; ; tries++) {
    const response = await fetch(path, { ...request, cache: "no-store" }).catch(() => null);
    if (response?.ok) return arrived(response);
    if (response && (response.status < 500 || tries >= TRIES_OF_A_BROKEN_SERVER)) throw await refusal(response);
    offline(true);
    await new Promise((wake) => setTimeout(wake, Math.min(SHORTEST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE)));
  }
}

function arrived(response) {
  offline(false);
  return response.json();
}

async function refusal(response) {
  offline(false);
  const answer = await response.json().catch(() => ({}));
  return new Refused(answer.error ?? `status_${response.status}`, response.status, answer);
}

function offline(is) {
  const line = byId("offline");
  if (line.hidden === !is) return;
  line.textContent = is ? t("offline") : "";
  line.hidden = !is;
}
