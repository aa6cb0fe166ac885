"""What goes wrong in front of the page: each has its sentence and a way back."""

import json
import urllib.request

import pytest

from fergi_reward.collect.simulation.participant import strings, withdraw
from tests.browser import new_page

# What Chromium answers where nobody allowed it, and its own answer where there is no camera.
REFUSING = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); }"
OLDER = "supports => asked => !asked.includes(':has') && supports(asked)"
OLD = "Please use a newer browser"
# All that a page can read of the time of day.
JUMPS = """by => {
  const Before = Date;
  window.Date = class extends Before {
    constructor(...given) { given.length ? super(...given) : super(window.Date.now()); }
    static now() { return Before.now() + by; }
  };
}"""
CHROMIUMS = "navigator.mediaDevices.getUserMedia = chromiums"


@pytest.fixture(scope="module")
def filmed(serve_study, measures):
    return serve_study(*measures, pictures=2)


@pytest.fixture(scope="module")
def ranked(serve_study):
    return serve_study("--no-camera")


def at(came, step):
    """Take all steps before this one."""
    while came.step != step:
        came.take_step()
    return came


def says(page, text):
    page.get_by_text(text, exact=True).wait_for()


@pytest.mark.parametrize(
    ("camera", "sentence"), [(REFUSING, "camera.refused"), (CHROMIUMS, "camera.none")], ids=["refused", "absent"]
)
def test_a_camera_that_is_refused_or_absent(filmed, arrive, browser, camera, sentence):
    page = new_page(browser, permissions=["camera"])
    page.add_init_script("window.chromiums = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices)")
    came = at(arrive(filmed, page=page), "camera")
    page.evaluate(f"() => {{ window.simulated = navigator.mediaDevices.getUserMedia; {camera}; }}")
    came.button("camera.switch_on").click()
    says(page, came.words[sentence])
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = simulated; }")
    came.button("camera.again").click()
    page.get_by_role("heading", name=came.words["check.title"]).wait_for()


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        (f"CSS.supports = ({OLDER})(CSS.supports)", ""),
        ("delete HTMLVideoElement.prototype.requestVideoFrameCallback", "support.browser"),
        ("WebAssembly.validate = () => false", "support.browser"),
        ("OffscreenCanvas.prototype.getContext = () => null", "support.graphics"),
        ("delete Navigator.prototype.mediaDevices", "support.insecure"),
    ],
    ids=["style", "frames", "SIMD", "graphics", "camera"],
)
def test_an_old_browser_is_told_before_anything_begins(filmed, browser, lacking, sentence):
    page, asked = new_page(browser), []
    page.add_init_script(lacking)
    page.on("request", lambda request: asked.append(request.method))
    page.goto(filmed.address)
    says(page, strings("en")[sentence] if sentence else OLD)
    assert not page.get_by_role("button").count()
    assert {*asked} == {"GET"}  # nobody takes part yet
    page.context.close()


def test_the_time_of_day_jumps_while_a_picture_is_shown(filmed, arrive):
    came = at(arrive(filmed), "trial")
    came.button("trial.start").click()
    for hours, part in enumerate(["baseline", "picture"]):
        came.page.locator(f"main[data-part={part}]").wait_for()
        came.page.evaluate(JUMPS, (1 - 2 * hours) * 3_600_000)
    with came.page.expect_request("**/end") as sent:
        came.next_screen()
    end = sent.value.post_data_json
    assert 0.7 <= end["onset"] < 60 and 1.6 <= end["offset"] - end["onset"] < 60
    assert at(came, "rank").step == "rank"


def test_a_camera_that_is_taken_away_while_a_picture_is_shown(filmed, arrive):
    came = at(arrive(filmed), "trial")
    came.button("trial.start").click()
    came.page.locator("main[data-part=picture]").wait_for()
    came.page.evaluate("document.querySelector('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    says(came.page, came.words["interrupted.camera_lost"])
    state = came.page.evaluate("async () => (await fetch('/api/state')).json()")
    assert [trial["done"] for trial in state["trials"]] == [False, False]
    assert at(came, "rank").step == "rank"


def test_the_tab_that_was_opened_last_is_the_one_that_counts(ranked, arrive):
    first = at(arrive(ranked), "rank")
    second = first.page.context.new_page()
    second.goto(ranked.address)
    second.locator("body[data-step=rank]").wait_for()
    first.button("cannot_say").click()
    says(first.page, first.words["error.other_tab"])
    first.press(first.button("error.take_over"))
    assert first.step == "rank"
    first.press(first.button("cannot_say"))
    assert first.step == "done"


def test_a_link_is_for_one_browser(ranked, arrive):
    link = made_link(ranked)
    at(arrive(ranked, path=link), "rank")
    late = new_page(arrive(ranked, path=link).page.context.browser)
    late.goto(ranked.address + link)
    says(late, arrive(ranked).words["error.link_used"])


def made_link(study):
    """The path of a new link."""
    _, token = study.operator.split("#")
    headers = {
        "X-Collect": "1",
        "Origin": study.address,
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
    }
    asked = urllib.request.Request(f"{study.address}/api/operator/links", b'{"count": 1}', headers)
    with urllib.request.urlopen(asked) as answer:
        (link,) = json.load(answer)["links"]
    return link.removeprefix(study.address)


def test_deletion_by_the_code_from_another_browser(ranked, arrive, browser):
    came = at(arrive(ranked), "rank")
    other = new_page(browser)
    other.goto(ranked.address)
    other.get_by_role("button", name=came.words["withdraw.have_code"]).click()
    other.get_by_role("textbox").fill("AAAA-AAAA-AAAA")
    other.get_by_role("button", name=came.words["withdraw.delete"], exact=True).click()
    other.get_by_role("alert").filter(has_text=" ").wait_for()
    other.context.close()
    withdraw(browser, ranked.address, came.code.lower(), came.words)
    came.button("cannot_say").click()
    came.page.locator("body[data-step=error]").wait_for()


def test_a_server_that_is_killed_and_comes_back(serve_study, arrive):
    study = serve_study("--no-camera")
    came = at(arrive(study), "rank")
    for name in "CAB":
        came.button("rank.card", name=name).click()
    study.process.kill()
    came.button("rank.confirm").click()
    says(came.page, came.words["offline"])
    study.start()
    came.page.locator("body[data-step=done]").wait_for()
    assert "1 ranking" in study.end()
