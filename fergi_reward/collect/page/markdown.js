/** The researcher's text: a small part of Markdown, built from elements. Anything else stays the text that it is. */

import { el } from "./dom.js";

const INLINE = /\*\*(?<strong>.+?)\*\*|\*(?<em>[^*\s](?:.*?[^*\s])?)\*|\[(?<link>[^\]]+)\]\((?<to>(?:https?:\/\/|mailto:)[^)\s]+)\)/;
const HEADING = /^(#{1,3})\s+(.*)$/;
const BULLET = /^\s*[-*]\s+(.*)$/;
const NUMBER = /^\s*\d+[.)]\s+(.*)$/;

/** @param {string} source @returns {DocumentFragment} Headings, paragraphs, lists; links open in a new tab. */
export function markdown(source) {
  const fragment = document.createDocumentFragment();
  for (const block of source.trim().split(/\n\s*\n/)) fragment.append(...blocks(block.split("\n")));
  return fragment;
}

/** The elements of lines without an empty one between them: neighbours of one kind belong together. */
function blocks(lines) {
  const made = [];
  for (const line of lines) {
    const { name, text } = kind(line);
    const last = made.at(-1);
    if (/^h/.test(name)) made.push(el(name, {}, ...inline(text)));
    else if (name === "p") continued(made, text);
    else if (last?.localName === name) last.append(el("li", {}, ...inline(text)));
    else made.push(el(name, {}, el("li", {}, ...inline(text))));
  }
  return made;
}

function kind(line) {
  const heading = HEADING.exec(line);
  if (heading) return { name: `h${heading[1].length + 1}`, text: heading[2] }; // the page has its own first heading
  const bullet = BULLET.exec(line);
  if (bullet) return { name: "ul", text: bullet[1] };
  const numbered = NUMBER.exec(line);
  return numbered ? { name: "ol", text: numbered[1] } : { name: "p", text: line.trim() };
}

/** A line of text goes into what is above it: a paragraph or the last point of a list. */
function continued(made, text) {
  const last = made.at(-1);
  const above = last?.localName === "p" ? last : /^[uo]l$/.test(last?.localName) ? last.lastElementChild : null;
  if (above) above.append(" ", ...inline(text));
  else made.push(el("p", {}, ...inline(text)));
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
