/** The page's words: one JSON file for each language; what it lacks is said in English. */

import { byId, el } from "./dom.js";

const KEPT = "collect.language";
let english = {};
let chosen = {};

/**
 * Load the words.
 *
 * @param {string[]} languages Those that are offered.
 * @param {string} usual The study's.
 * @returns {Promise<string>} The one in use: what the participant chose in this tab, else the study's.
 */
export async function load(languages, usual) {
  const kept = sessionStorage.getItem(KEPT);
  const language = languages.includes(kept) ? kept : usual;
  [english, chosen] = await Promise.all([words("en"), language === "en" ? {} : words(language)]);
  document.documentElement.lang = language;
  return language;
}

async function words(language) {
  const answer = await fetch(`/static/strings/${encodeURIComponent(language)}.json`);
  return answer.ok ? answer.json() : {};
}

/**
 * A text in the language in use.
 *
 * @param {string} key
 * @param {Object<string, string | number>} [values] For its places in braces.
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = chosen[key] ?? english[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

/** Whether there is a text. @param {string} key */
export const has = (key) => key in english || key in chosen;

/** A number as the language writes it. @param {number} value @param {number} digits */
export function number(value, digits = 0) {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(document.documentElement.lang, options).format(value);
}

/** The choice of language in the header. @param {string[]} languages @param {string} language The one in use. */
export function offer(languages, language) {
  const select = byId("language");
  const name = (code) => new Intl.DisplayNames(code, { type: "language", fallback: "code" }).of(code);
  select.setAttribute("aria-label", t("language"));
  select.replaceChildren(...languages.map((code) => el("option", { value: code, lang: code }, name(code))));
  select.value = language;
  select.hidden = languages.length < 2;
  select.onchange = () => {
    sessionStorage.setItem(KEPT, select.value);
    location.reload();
  };
}
