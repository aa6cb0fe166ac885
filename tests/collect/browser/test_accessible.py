"""Every step without an error of axe, in light and in dark."""

import pytest

pytest.importorskip("axe_playwright_python", reason="axe-playwright-python comes with the extra dev")
from axe_playwright_python.sync_playwright import Axe

SCHEMES = ("light", "dark")


def faults(page):
    """What axe finds on the screen as it is, in both colour schemes."""
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for violation in Axe().run(page).response["violations"]:
            places = [node["target"] for node in violation["nodes"]]
            found.append((page.locator("body").get_attribute("data-step"), scheme, violation["id"], places))
    return found


def way(came, last):
    """What axe finds on the way to a step, and the steps that were looked at."""
    found, steps = faults(came.page), [came.step]
    while came.step != last:
        came.take_step()
        if came.step != steps[-1]:
            found += faults(came.page)
            steps.append(came.step)
    return found, steps


def test_a_ranking_with_ratings(serve_study, arrive):
    quick = ["--blank-seconds=0", "--picture-seconds=0.5", "--baseline-seconds=0.5"]
    found, steps = way(arrive(serve_study("--no-camera", "--ratings", *quick, pictures=2)), "done")
    assert {*steps} == {"consent", "code", "trial", "rate", "rank", "done"}
    assert found == []


def test_pairs_the_code_and_the_dialog(serve_study, arrive):
    study = serve_study("--no-camera", "--pairs", pictures=2)
    came = arrive(study)
    found, steps = way(came, "pair")
    came.button("stop.button").click()
    came.page.get_by_role("dialog").wait_for()
    found += faults(came.page)
    late = arrive(study)
    late.button("withdraw.have_code").click()
    late.page.locator("body[data-step=withdraw]").wait_for()
    found += faults(late.page)
    assert steps == ["consent", "code", "pair"]
    assert found == []


def test_the_camera_and_its_check(serve_study, measures, arrive):
    came = arrive(serve_study(*measures, "--offer-video", pictures=2))
    found, _ = way(came, "camera")
    came.press(came.button("camera.switch_on"))
    came.page.locator("ul.checks li.right").first.wait_for()
    assert found + faults(came.page) == []


def test_the_operators_page(serve_study, arrive):
    study = serve_study("--no-camera")
    arrive(study).take_part()
    page = arrive(study).page
    page.goto(study.operator)
    page.get_by_role("row").nth(1).wait_for()
    assert faults(page) == []
