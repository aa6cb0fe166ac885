/** The operator's page: who takes part and how far, links, deletion, tables, calibration. Never a face. */

import { byId, el } from "../dom.js";
import { load, offer, t } from "../i18n.js";
import { ask, takeToken } from "./api.js";
import { calibration } from "./calibration.js";
import { counts } from "./counts.js";
import { data } from "./data.js";
import { links } from "./links.js";
import { notices } from "./notices.js";
import { participants } from "./participants.js";

const EVERY = 2000; // milliseconds

async function main() {
  const study = await (await fetch("/api/study")).json();
  offer(study.languages, await load(study.languages, study.language));
  const title = t("operator.title", { title: study.title });
  document.title = title;
  byId("title").textContent = title;
  if (!takeToken()) return byId("main").append(el("h1", {}, title), el("p", { class: "notice" }, t("operator.no_token")));
  const live = [counts(), notices(), participants()];
  const parts = [...live, links(), data(), calibration()];
  byId("main").append(el("h1", { class: "heard" }, title), ...parts.map(({ element }) => element));
  for (;;) {
    await refresh(live);
    await new Promise((wake) => setTimeout(wake, EVERY));
  }
}

async function refresh(live) {
  const line = byId("offline");
  try {
    const state = await ask("state");
    live.forEach(({ update }) => update(state));
    line.hidden = true;
  } catch (error) {
    line.textContent = error.status ? error.message : t("operator.lost");
    line.hidden = false;
  }
}

void main();
