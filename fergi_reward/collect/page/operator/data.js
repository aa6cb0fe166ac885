/** The tables: written into the study's folder, or downloaded as one file. */

import { button, el } from "../dom.js";
import { t } from "../i18n.js";
import { ask, fetched } from "./api.js";
import { acted, outcome, section } from "./section.js";

export function data() {
  const line = outcome();
  const write = button(t("operator.export"), { class: "main" });
  const download = button(t("operator.download"));
  write.onclick = () => acted(write, line, written);
  download.onclick = () => acted(download, line, downloaded);
  const actions = el("div", { class: "actions" }, write, download);
  return { element: section(t("operator.data"), el("p", {}, t("operator.data.text")), actions, line) };
}

async function written() {
  const { files, notes } = await ask("export", {});
  return [t("operator.exported", { files: files.join(", ") }), ...notes].join(" ");
}

async function downloaded() {
  const response = await fetched("download");
  const address = URL.createObjectURL(await response.blob());
  el("a", { href: address, download: "study.zip" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  return "";
}
