/** The researcher's text: a small part of Markdown, built from elements. Anything else stays the text that it is. */

import { el } from "./dom.js";

const INLINE = /\*\*(?<strong>.+?)\*\*|\*(?<em>[^*\s](?:.*?[^*\s])?)\*|\[(?<link>[^\]]+)\]\((?<to>(?:https?:\/\/|mailto:)[^)\s]+)\)/;
const HEADING = /^(#{1,3})\s+(.*)$/;
const BULLET = /^\s*[-*]\s+(.*)$/;
const NUMBER = /^\s*\d+[.)]\s+(.*)$/;

/** @param {string} source @returns {DocumentFragment} Headings, paragraphs, lists; links open in a new tab. */
export function markdown(source) {
  const made = document.createDocumentFragment();
  let open = null; // what the next line of text goes on with, and its text so far
  for (const line of source.split("\n")) open = line.trim() ? added(made, open, kind(line)) : null;
  return made;
}

/** Add a line; points of one kind make one list, whatever empty lines are between them. */
function added(made, open, { name, text }) {
  if (name === "p" && open) return filled(open.element, `${open.text} ${text}`);
  const isList = name === "ul" || name === "ol";
  const element = el(isList ? "li" : name);
  const last = made.lastElementChild;
  if (!isList) made.append(element);
  else if (last?.localName === name) last.append(element);
  else made.append(el(name, {}, element));
  const begun = filled(element, text);
  return name === "p" || isList ? begun : null;
}

function filled(element, text) {
  element.replaceChildren(...inline(text));
  return { element, text };
}

function kind(line) {
  const heading = HEADING.exec(line);
  if (heading) return { name: `h${heading[1].length + 1}`, text: heading[2] }; // the page has its own first heading
  const bullet = BULLET.exec(line);
  if (bullet) return { name: "ul", text: bullet[1] };
  const numbered = NUMBER.exec(line);
  return numbered ? { name: "ol", text: numbered[1] } : { name: "p", text: line.trim() };
}

function inline(text) {
  const found = INLINE.exec(text);
  if (!found) return [text];
  const { strong, em, link, to } = found.groups;
  const element = link
    ? el("a", { href: to, target: "_blank", rel: "noopener noreferrer" }, link)
    : el(strong ? "strong" : "em", {}, ...inline(strong ?? em));
  return [text.slice(0, found.index), element, ...inline(text.slice(found.index + found[0].length))];
}
