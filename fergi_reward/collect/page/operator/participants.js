/** The participants: pseudonyms, progress, flags, and the deletion of one. */

import { button, el } from "../dom.js";
import { has, t } from "../i18n.js";
import { ask } from "./api.js";
import { acted, outcome, section } from "./section.js";
import { when } from "./when.js";

const COLUMNS = ["participant", "begun", "step", "trials", "judged", "flags", "retention", "actions"];

export function participants() {
  const head = el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col" }, t(`operator.${name}`))));
  const body = el("tbody");
  const nobody = el("p", {}, t("operator.nobody"));
  const table = el("table", {}, el("thead", {}, head), body);
  const scrolls = el("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": t("operator.participants") }, table);
  const line = outcome();
  const rows = new Map();

  function update({ participants: all }) {
    scrolls.hidden = !all.length;
    nobody.hidden = Boolean(all.length);
    const here = new Set(all.map(({ participant }) => participant));
    for (const [name, row] of rows) if (!here.has(name)) remove(name, row);
    all.forEach((one) => fill(rows.get(one.participant) ?? add(one.participant), one));
  }

  function add(participant) {
    const withdraw = button(t("operator.withdraw"), { class: "danger", "aria-label": t("operator.withdraw_label", { participant }) });
    withdraw.onclick = () => confirm(participant, () => void acted(withdraw, line, () => removed(participant)));
    const cells = Object.fromEntries(COLUMNS.map((name) => [name, el("td")]));
    cells.participant = el("th", { scope: "row" });
    cells.actions.append(withdraw);
    const row = { cells, element: el("tr", {}, ...COLUMNS.map((name) => cells[name])) };
    body.append(row.element);
    rows.set(participant, row);
    return row;
  }

  function remove(name, row) {
    row.element.remove();
    rows.delete(name);
  }

  return { element: section(t("operator.participants"), nobody, scrolls, line), update };
}

/** Write what has changed; the rest, and the focus, stays. */
function fill({ cells }, one) {
  const texts = {
    participant: one.participant,
    begun: when(one.begun),
    step: t(`operator.step.${one.step}`),
    trials: `${one.trials} / ${one.trials_all}`,
    judged: `${one.judged} / ${one.judged_all}`,
    flags: Object.entries(one.flags).map(flag).join(", "),
    retention: one.retention.slice(0, 10),
  };
  for (const [name, text] of Object.entries(texts)) if (cells[name].textContent !== text) cells[name].textContent = text;
}

function flag([code, count]) {
  const text = has(`flag.${code}`) ? t(`flag.${code}`) : code;
  return count > 1 ? `${text} × ${count}` : text;
}

function confirm(participant, then) {
  const close = button(t("back"), { autofocus: true });
  const really = button(t("operator.withdraw.really"), { class: "danger" });
  const title = el("h2", { id: "confirm-title" }, t("operator.withdraw.title", { participant }));
  const actions = el("div", { class: "actions" }, really, close);
  const dialog = el("dialog", { "aria-labelledby": "confirm-title" }, title, el("p", {}, t("operator.withdraw.text")), actions);
  close.onclick = () => dialog.close();
  really.onclick = () => {
    dialog.close();
    then();
  };
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
}

async function removed(participant) {
  const { deleted } = await ask("withdraw", { participant });
  return t("operator.withdraw.done", { participant, ...deleted });
}
