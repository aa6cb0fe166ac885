/**
 * The participant's page: asks the server where the participant is, shows that screen, and asks again.
 *
 * @typedef {object} Context What a screen gets.
 * @property {object} study The answer of /api/study.
 * @property {object} state The answer of /api/state.
 * @property {string | null} said What is to be said at the top of the screen.
 * @property {Outbox} outbox
 * @property {() => Measurer} measurer The one that measures the camera's frames, loaded when first asked for.
 */

import { get, post } from "./api.js";
import * as camera from "./camera.js";
import { check } from "./check.js";
import { consent } from "./consent.js";
import { byId, el } from "./dom.js";
import { done } from "./done.js";
import { failure } from "./failure.js";
import { load, offer, t } from "./i18n.js";
import { Interrupted, unlessPaused } from "./interruption.js";
import { ended, goodbye, hasLeft } from "./leave.js";
import { Measurer } from "./measure/measurer.js";
import { Outbox } from "./outbox.js";
import { pair } from "./pairs.js";
import { ranking } from "./ranking.js";
import { ratings } from "./ratings.js";
import { show } from "./screen.js";
import { offerStop } from "./stop.js";
import { missing } from "./support.js";
import { trial } from "./trial.js";

const SCREENS = { consent, camera: check, rate: ratings, trial, rank: ranking, pair, done, withdrawn: () => ended("deleted") };

/** Which screen is next. */
function next({ mode }, { step, next: { kind } }) {
  if (step === "stopped") return "done";
  if (step !== "trials") return step;
  return mode.camera && kind === "trial" && !camera.isOn() ? "camera" : kind;
}

async function participate(study) {
  const outbox = new Outbox();
  let measuring = null;
  const measurer = () => (measuring = measuring?.usable ? measuring : new Measurer(camera.video()));
  await begin(outbox);
  offerStop();
  for (let said = null; ; ) {
    try {
      await outbox.delivered();
      const state = await get("/api/state");
      const screen = SCREENS[next(study, state)];
      await unlessPaused(() => screen({ study, state, said, outbox, measurer }));
      said = null;
    } catch (error) {
      said = error instanceof Interrupted ? why(error.message) : await failure(error);
    }
  }
}

/** What a participant who was interrupted may not know; a pause was the participant's own. */
const why = (reason) => (reason === "paused" ? null : t(`interrupted.${reason}`));

async function begin(outbox) {
  const link = /^\/p\/([^/]+)/.exec(location.pathname);
  await post("/api/begin", { link: link ? decodeURIComponent(link[1]) : null, language: document.documentElement.lang });
  await post("/api/tab");
  await outbox.resume();
}

async function main() {
  const study = await get("/api/study");
  const language = await load(study.languages, study.language);
  offer(study.languages, language);
  document.title = study.title;
  byId("title").textContent = study.title;
  const left = hasLeft();
  if (left) return goodbye(left);
  const lack = missing(study.mode.camera);
  if (lack) return show("error", t("support.title"), el("p", {}, t(`support.${lack}`)));
  for (;;) await participate(study).catch(failure);
}

/** Begin, and again where even that went wrong: in English, as no other words may be there. */
async function start() {
  for (;;) {
    try {
      return await main();
    } catch (error) {
      await load(["en"], "en").catch(() => {});
      await failure(error);
    }
  }
}

if (document.documentElement.className !== "old") void start();
