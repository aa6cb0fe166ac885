"""The page without a camera: keys, languages, screens, and texts that are no code."""

import re

import pandas as pd
import pytest

from fergi_reward.collect.simulation.participant import Participant, strings
from tests.browser import SCREENS
from tests.collect.browser.conftest import free_port, write_pictures
from tests.command_line import invoke

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> ${alert(3)} [x](javascript:alert(4))"


@pytest.fixture(scope="module")
def ranked(serve_study):
    return serve_study("--no-camera")


@pytest.fixture(scope="module")
def compared(serve_study):
    return serve_study("--no-camera", "--pairs", "--ratings")


def placed(page):
    """Names of the cards that have a place, best first."""
    return page.locator("ol.placed .card").evaluate_all("cards => cards.map(card => card.dataset.name)")


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")


def tab_to(page, name):
    """Press Tab until something of this name has the focus."""
    for _ in range(60):
        if name in focused(page):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {name!r}")


def test_a_ranking_by_the_keyboard_alone(ranked, arrive):
    came = arrive(ranked)
    page, words = came.page, came.words
    tab_to(page, words["consent.agree"])
    page.keyboard.press("Enter")
    page.locator("body[data-step=code]").wait_for()
    tab_to(page, words["code.continue"])
    page.keyboard.press("Enter")
    page.locator("body[data-step=rank]").wait_for()
    for name in "BCA":
        tab_to(page, words["rank.card"].format(name=name).split("{")[0])
        page.keyboard.press("Enter")
    assert placed(page) == ["B", "C", "A"]
    page.keyboard.press("ArrowLeft")  # A has the focus
    assert placed(page) == ["B", "A", "C"]
    page.keyboard.press("1")
    assert placed(page) == ["A", "B", "C"]
    page.keyboard.press("Delete")
    assert placed(page) == ["B", "C"]
    page.keyboard.press("3")
    assert placed(page) == ["B", "C", "A"]
    tab_to(page, words["rank.confirm"])
    page.keyboard.press("Enter")
    page.locator("body[data-step=done]").wait_for()
    assert page.complaints == []


def test_a_card_is_dragged_to_its_place(ranked, arrive):
    came = arrive(ranked, 1)
    while came.step != "rank":
        came.take_step()
    for name in "ABC":
        came.button("rank.card", name=name).click()
    cards = came.page.locator("ol.placed .card")
    handle, target = cards.nth(2).locator(".grip").bounding_box(), cards.nth(0).bounding_box()
    came.page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    came.page.mouse.down()
    came.page.mouse.move(target["x"] + 8, target["y"] + target["height"] / 2, steps=8)
    came.page.mouse.up()
    assert placed(came.page) == ["C", "A", "B"]


def test_who_cannot_say_says_so(ranked, arrive):
    came = arrive(ranked, 2)
    while came.step != "rank":
        came.take_step()
    came.press(came.button("cannot_say"))
    assert came.step == "done"


def test_pairs_and_ratings(compared, arrive):
    way = arrive(compared).take_part()
    compared.end()
    pairs = pd.read_csv(compared.options.out / "pairs.csv")
    assert len(pairs) == 3
    assert set(pairs["user"]) == {way.name}
    ratings = pd.read_csv(compared.options.out / "ratings.csv")
    assert ratings[["overall", "alignment", "fidelity"]].to_numpy().tolist() == 3 * [3 * [5]]


def test_a_phone_in_german(serve_study, arrive):
    study = serve_study("--no-camera", "--language=de")
    came = arrive(study, language="de", screen="phone")
    widths = set()
    while came.step not in ("done", "withdrawn"):
        widths.add(came.page.evaluate("document.documentElement.scrollWidth"))
        came.take_step()
    assert widths == {SCREENS["phone"][0]}
    assert came.page.locator("html").get_attribute("lang") == "de"
    assert came.page.locator("main > h1").inner_text() == strings("de")["done.title"]


def test_texts_are_shown_and_never_run(serve_study, arrive, tmp_path):
    consent = tmp_path / "consent.md"
    consent.write_text(f"# A study {HOSTILE}\n\nWe ask. {HOSTILE}\n\n- {HOSTILE}\n", encoding="utf-8")
    study = serve_study("--no-camera", f"--consent={consent}", prompt=HOSTILE)
    came = arrive(study)
    run = []
    came.page.on("dialog", lambda dialog: (run.append(dialog.message), dialog.dismiss()))
    shown = ""
    while came.step not in ("done", "withdrawn"):
        shown += came.page.locator("body").inner_text()
        links = came.page.locator("main a").evaluate_all("links => links.map(link => link.href)")
        assert not [link for link in links if link.startswith("javascript:")]
        came.take_step()
    assert shown.count("<script>alert(2)</script>") >= 4  # the title twice, the text twice, the prompt
    assert run == []
    assert came.page.complaints == []


def test_names_of_files_never_reach_the_page(ranked, arrive):
    came = arrive(ranked, 3)
    seen = []
    came.page.on("response", lambda answer: seen.append(answer))
    came.take_part()
    texts = [answer.url + (answer.text() if "/api/" in answer.url else "") for answer in seen]
    assert len(texts) > 5
    assert not [text for text in texts if re.search(r"secret|i[012]\b|\.png", text)]


def test_a_rehearsal_that_is_not_as_it_was_simulated_ends_with_status_3(browser, tmp_path, monkeypatch):
    """The people say that they cannot rank, which is not what was simulated."""
    monkeypatch.setattr(Participant, "_rank", lambda came: came.press(came.button("cannot_say")))
    pictures = write_pictures(tmp_path, sessions=1, pictures=2, prompt="a red cat")
    places = ["--pictures", pictures, "--out", tmp_path / "study", "--port", free_port()]
    result = invoke(["collect", *places, "--simulate", 2, "--no-camera"])
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (3, "0 of 1 ranking arrived as they were made")
    assert result.stderr.splitlines()[-1] == "not as it was simulated: 0 rankings arrived of 1"
