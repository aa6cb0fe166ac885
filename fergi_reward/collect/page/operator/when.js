/** A point in time as the language writes it. @param {string} at ISO 8601. */
export function when(at) {
  return new Date(at).toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
}
