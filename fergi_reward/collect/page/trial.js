/** One showing of one picture: a blank, the baseline, the picture; the face is measured all the while. */

import { post } from "./api.js";
import * as camera from "./camera.js";
import { painted, until } from "./clock.js";
import { byId, button, el, pressed } from "./dom.js";
import { Frames } from "./frames.js";
import { t } from "./i18n.js";
import { Interrupted, unlessInterrupted } from "./interruption.js";
import { Marks } from "./marks.js";
import { load } from "./pictures.js";
import { retake } from "./retake.js";
import { notice, show } from "./screen.js";

const LONGEST_WAIT = 3000; // milliseconds for the last frames to be measured

/** Show the next picture, and again where it was disturbed and the participant likes. @param {import("./app.js").Context} context */
export async function trial(context) {
  const { study, state, measurer, outbox } = context;
  const place = state.trials.findIndex((one) => one.trial === state.next.trial);
  const shown = state.trials[place];
  const session = state.sessions.find((one) => one.session === shown.session);
  show("trial", heading(state, place), el("p", { role: "status" }, t("trial.loading")));
  const picture = (await load(session.pictures)).get(shown.image);
  if (camera.isOn()) await measurer().ready;
  const filming = study.mode.video && state.consent.video ? await import("./film.js") : null;
  let said = notice(context.said);
  let answer;
  do {
    await ready(heading(state, place), session.prompt, said, shown.trial);
    if (study.mode.camera && !camera.isOn()) throw new Interrupted("camera_lost");
    const { attempt } = await post(`/api/trials/${shown.trial}/start`);
    const { seen, film, start } = await shownWhole({ ...context, place, picture, attempt, filming });
    show("trial", heading(state, place), el("p", { role: "status" }, t("trial.saving")));
    await film?.send(attempt, start);
    answer = await outbox.send(`/api/attempts/${attempt}/end`, seen);
    said = null;
  } while (answer.retake_offered && (await retake(answer.reasons)));
}

const heading = ({ trials }, place) => t("trial.title", { place: place + 1, all: trials.length });

async function ready(title, prompt, said, id) {
  const go = button(t("trial.start"), { class: "main" });
  const text = el("p", { class: "prompt" }, t("prompt"), " ", el("q", {}, prompt));
  show("trial", title, said, text, el("p", {}, t("trial.text")), el("div", { class: "actions" }, go));
  document.body.dataset.trial = id;
  await pressed(go);
  await document.documentElement.requestFullscreen?.({ navigationUI: "hide" }).catch(() => {}); // where it may be had
}

/** The attempt itself; nothing of one that was interrupted is kept. */
async function shownWhole(context) {
  try {
    return await unlessInterrupted((signal) => showing({ ...context, signal }));
  } catch (error) {
    context.outbox.clear();
    throw error;
  }
}

/** @returns {Promise<{seen: object, film: object | null, start: number}>} What the server is to know at its end; a video. */
async function showing({ study, state, place, picture, attempt, signal, outbox, measurer, filming }) {
  const { blank, baseline, picture: seconds } = study.seconds;
  const measuring = camera.isOn();
  const marks = new Marks(signal);
  const stage = el("div", { class: "stage" });
  const title = el("h1", { class: "heard" }, heading(state, place));
  byId("main").replaceChildren(title, stage);
  part("blank");
  const begun = await painted();
  await until(begun + blank * 1000, signal);

  part("baseline");
  stage.append(el("span", { class: "fixation", "aria-hidden": "true" }));
  const zero = await painted();
  const frames = new Frames(zero, (batch) => outbox.send(`/api/attempts/${attempt}/frames`, batch));
  const film = filming?.record(camera.stream(), signal) ?? null;
  const stop = measuring ? watch(measurer(), frames, marks, signal, film) : () => 0;
  await until(zero + baseline * 1000, signal);

  frames.hold();
  const asked = performance.now();
  part("picture");
  stage.replaceChildren(picture);
  const onset = await painted();
  frames.onset(onset);
  await until(onset + seconds * 1000, signal);

  frames.hold();
  stage.replaceChildren();
  const offset = await painted();
  frames.offset(offset);
  if (measuring) await measured(frames);
  await film?.end();
  const dropped = stop();
  frames.end();
  const length = frames.seconds(offset);
  const seen = {
    batches: frames.batches,
    frames: frames.sent,
    onset: frames.seconds(onset),
    offset: length,
    marks: marks.all(outbox.size),
    latency_ms: onset - asked,
    fps: measuring ? frames.sent / length : null,
    dropped,
  };
  return { seen, film, start: film && frames.seconds(film.begun) };
}

function part(name) {
  byId("main").dataset.part = name;
}

/** Take the frames until it is stopped. @returns {() => number} Stops it and tells how many frames were dropped. */
function watch(measurer, frames, marks, signal, film) {
  measurer.restart();
  camera.light(film ? "recording" : "measuring");
  const stop = measurer.listen((frame) => {
    frames.add(frame);
    marks.frame(frame);
  });
  const end = () => {
    stop();
    if (camera.isOn()) camera.light("on");
    return measurer.dropped;
  };
  signal.addEventListener("abort", end, { once: true });
  return end;
}

/** Wait for the frames that are still being measured. */
async function measured(frames) {
  const latest = performance.now() + LONGEST_WAIT;
  while (!frames.whole && performance.now() < latest) await new Promise((wake) => setTimeout(wake, 30));
}
