/** Elements without markup in strings: texts of others never become HTML. */

/**
 * Make an element.
 *
 * @param {string} name
 * @param {Object<string, unknown>} [properties] Attributes; `onclick` and other `on...` are listeners; null and false
 *   leave an attribute out.
 * @param {...(Node | string | null)} children
 * @returns {HTMLElement}
 */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** @param {string} id @returns {HTMLElement} */
export const byId = (id) => document.getElementById(id);

/** A button. @param {string} text @param {Object<string, unknown>} [properties] */
export const button = (text, properties = {}) => el("button", { type: "button", ...properties }, text);

/**
 * The first press of any of these buttons, after which none of them can be pressed: the answer is on its way.
 *
 * @param {...HTMLElement} buttons
 * @returns {Promise<HTMLElement>}
 */
export function pressed(...buttons) {
  return new Promise((resolve) => {
    const press = ({ currentTarget }) => {
      for (const one of buttons) one.disabled = true;
      resolve(currentTarget);
    };
    for (const one of buttons) one.addEventListener("click", press);
  });
}
