/** The check before the start: one face, from the front, near, in good light, at a good rate; it says what to change. */

import { post } from "./api.js";
import * as camera from "./camera.js";
import { button, byId, el, pressed } from "./dom.js";
import { number, t } from "./i18n.js";
import { notice, say, show } from "./screen.js";

// Of fergi_reward/reactions/clip.py: head poses that count as seen from the front, degrees.
const [MOST_PITCH, MOST_YAW] = [21, 16];
const LEAST_EYES = 60; // pixels between the outer corners of the eyes
const [DARK, BRIGHT] = [0.2, 0.9];
const LEAST_RATE = 15; // frames per second
const SECONDS = 1.5; // that are looked at
const PATIENCE = 10; // seconds, after which a camera that cannot do better may be used as it is
const POINTS = ["faces", "pose", "distance", "brightness", "rate"];

/** Switch the camera on and check what it sees. @param {import("./app.js").Context} context */
export async function check({ state, said, measurer }) {
  await switchOn(said, state.consent.video);
  const watching = measurer();
  const lines = Object.fromEntries(POINTS.map((point) => [point, line(point)]));
  const go = button(t("check.continue"), { class: "main", disabled: true });
  const anyway = button(t("check.anyway"), { hidden: true });
  const loading = el("p", { role: "status" }, t("check.loading"));
  const list = el("ul", { class: "checks", hidden: true }, ...Object.values(lines));
  show("camera", t("check.title"), el("p", {}, t("check.text")), loading, list, el("div", { class: "actions" }, go, anyway));
  await watching.ready;
  loading.remove();
  list.hidden = false;
  await post("/api/check", await accepted(watching, { lines, go, anyway }));
}

async function switchOn(said, filmed) {
  for (let problem = null; !camera.isOn(); ) {
    const on = button(t(problem ? "camera.again" : "camera.switch_on"), { class: "main" });
    const wrong = problem ? el("p", { class: "notice warning", role: "alert" }, t(`camera.${problem}`)) : null;
    const text = el("p", {}, t(filmed ? "camera.text_video" : "camera.text"));
    show("camera", t("camera.title"), notice(said), wrong, text, el("div", { class: "actions" }, on));
    await pressed(on);
    problem = await camera.open(filmed);
  }
}

/** Watch until the participant goes on; what was seen last is the result. */
async function accepted(watching, { lines, go, anyway }) {
  const frames = [];
  const begun = performance.now();
  let seen = null;
  const stop = watching.listen((frame) => {
    frames.push(frame);
    while (frame.time - frames[0].time > SECONDS * 1000) frames.shift();
    seen = summary(frames);
    const wrong = judge(seen);
    for (const point of POINTS) update(lines[point], point, wrong[point], seen);
    go.disabled = Object.values(wrong).some(Boolean);
    anyway.hidden = !go.disabled || wrong.faces || performance.now() - begun < PATIENCE * 1000;
    tell(wrong);
  });
  await pressed(go, anyway);
  stop();
  byId("said").textContent = "";
  return { faces: seen.faces, pitch: seen.pitch, yaw: seen.yaw, eye_pixels: seen.eyes, brightness: seen.brightness, fps: seen.rate };
}

function summary(frames) {
  const middle = (name) => median(frames.map((frame) => frame[name]).filter((value) => value !== null));
  const seconds = (frames.at(-1).time - frames[0].time) / 1000;
  return {
    faces: median(frames.map(({ faces }) => faces)),
    pitch: middle("pitch"),
    yaw: middle("yaw"),
    eyes: middle("eyes"),
    brightness: middle("brightness"),
    rate: seconds > 0 ? (frames.length - 1) / seconds : 0,
  };
}

/** For each point what is wrong, a key below `check.`; null where it is well. */
function judge({ faces, pitch, yaw, eyes, brightness, rate }) {
  const light = brightness < DARK ? "dark" : brightness > BRIGHT ? "bright" : null;
  return {
    faces: faces === 1 ? null : faces ? "several" : "nobody",
    pose: Math.abs(pitch) <= MOST_PITCH && Math.abs(yaw) <= MOST_YAW && pitch !== null ? null : "turned",
    distance: eyes >= LEAST_EYES ? null : "far",
    brightness: light,
    rate: rate >= LEAST_RATE ? null : "slow",
  };
}

function line(point) {
  return el("li", {}, el("strong", {}, t(`check.${point}`)), el("span", { class: "value" }), el("span", { class: "advice" }));
}

function update(item, point, wrong, seen) {
  item.className = wrong ? "wrong" : "right";
  item.querySelector(".value").textContent = value(point, seen);
  item.querySelector(".advice").textContent = t(`check.${wrong ?? "right"}`);
}

function value(point, { faces, pitch, yaw, eyes, brightness, rate }) {
  const whole = (measured) => (measured === null ? "–" : number(measured));
  if (point === "faces") return whole(faces);
  if (point === "pose") return `${whole(yaw)}° / ${whole(pitch)}°`;
  if (point === "distance") return `${whole(eyes)} px`;
  if (point === "brightness") return `${whole(brightness * 100)} %`;
  return `${whole(rate)} / s`;
}

/** The first thing to change, for those who cannot see the list. */
function tell(wrong) {
  const first = POINTS.find((point) => wrong[point]);
  const text = t(first ? `check.${wrong[first]}` : "check.good");
  if (byId("said").textContent !== text) say(text);
}

function median(values) {
  if (!values.length) return null;
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
