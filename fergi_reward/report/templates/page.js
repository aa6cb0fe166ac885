"use strict";

// Light and dark: the system's choice until the button is used.
const root = document.documentElement;
const theme = document.getElementById("theme");
const isDark = () =>
  root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
const nameTheme = () => (theme.textContent = isDark() ? "Light theme" : "Dark theme");
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
nameTheme();

// Tables: a click on a column's name sorts by it, another one turns the order around. Empty cells stay below.
function compare(a, b) {
  const keys = [a, b].map((cell) => cell.dataset.key ?? cell.textContent);
  if (keys[0] === "" || keys[1] === "") return { empty: (keys[0] === "") - (keys[1] === "") };
  return { order: "key" in a.dataset ? keys[0] - keys[1] : keys[0].localeCompare(keys[1], "en", { numeric: true }) };
}
function sort(header) {
  const table = header.closest("table");
  const column = header.cellIndex;
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const { empty, order } = compare(a.cells[column], b.cells[column]);
    return empty ?? direction * order;
  });
  table.tBodies[0].append(...rows);
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
}
for (const button of document.querySelectorAll("thead button"))
  button.addEventListener("click", () => sort(button.closest("th")));

// Plots: the number under the pointer. The table below each plot has all of them.
const tip = document.getElementById("tip");
document.addEventListener("pointermove", (event) => {
  const mark = event.target.closest?.("[data-tip]");
  tip.style.visibility = mark ? "visible" : "hidden";
  if (!mark) return;
  tip.textContent = mark.dataset.tip;
  const left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8);
  const above = event.clientY - tip.offsetHeight - 12;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above < 8 ? event.clientY + 18 : above}px`;
});

// Pictures: Escape and the focus that goes back to the thumbnail are the dialog's own.
const lightbox = document.getElementById("lightbox");
if (lightbox) {
  const thumbnails = [...document.querySelectorAll(".thumbnail")];
  let shown = 0;
  const show = (number) => {
    shown = (number + thumbnails.length) % thumbnails.length;
    const picture = thumbnails[shown].querySelector("img");
    const large = lightbox.querySelector("img");
    large.src = picture.src;
    large.alt = picture.alt;
    lightbox.querySelector("p").textContent = thumbnails[shown].parentElement.querySelector("p")?.textContent ?? picture.alt;
  };
  thumbnails.forEach((thumbnail, number) =>
    thumbnail.addEventListener("click", () => {
      show(number);
      lightbox.showModal();
    }),
  );
  lightbox.addEventListener("click", (event) => {
    if (event.target === lightbox || "close" in event.target.dataset) lightbox.close();
    else if (event.target.dataset.step) show(shown + Number(event.target.dataset.step));
  });
  lightbox.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) show(shown + step);
  });
}
