/** Requests with the operator's token, which the printed link carries behind its hash sign, where no server sees it. */

const KEPT = "collect.token";

/** Take the token out of the address. @returns {boolean} Whether there is one, in the address or in this tab. */
export function takeToken() {
  const token = location.hash.slice(1);
  if (token) sessionStorage.setItem(KEPT, token);
  history.replaceState(null, "", location.pathname);
  return sessionStorage.getItem(KEPT) !== null;
}

/**
 * @param {string} path Below /api/operator/.
 * @param {object} [body] Sent where there is one.
 * @returns {Promise<Response>}
 * @throws {Error} The server's sentence, with `status`; without it the server was not reached.
 */
export async function fetched(path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEPT)}` };
  const sent = { "X-Collect": "1", "Content-Type": "application/json", ...headers };
  const request = body ? { method: "POST", body: JSON.stringify(body), headers: sent } : { headers };
  const response = await fetch(`/api/operator/${path}`, request);
  if (response.ok) return response;
  const { message } = await response.json().catch(() => ({}));
  throw Object.assign(new Error(message ?? String(response.status)), { status: response.status });
}

/** @param {string} path @param {object} [body] @returns {Promise<any>} */
export const ask = async (path, body) => (await fetched(path, body)).json();
