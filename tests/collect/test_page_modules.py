"""The page's modules in a real browser, against the Python that they repeat and against what must be so."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fergi_reward.collect.page_files import PageFiles
from fergi_reward.reactions.backends.mediapipe import brow_lowering, head_angles
from fergi_reward.reactions.tracking import ViewerTracker
from tests.browser import complaints, new_page, started

ORIGIN = "http://page.test"


@pytest.fixture(scope="module")
def browser(not_here):
    with started(not_here) as browser:
        yield browser


@pytest.fixture(scope="module")
def run(browser):
    """A function that runs JavaScript with the exports of a module as `it` and an argument as `given`."""
    files, page = PageFiles("en"), new_page(browser)
    heard = complaints(page, ORIGIN)

    def answer(route):
        found = files.static(route.request.url.removeprefix(f"{ORIGIN}/static/"))
        body, kind = b"<!doctype html><main id=main></main>", "text/html"
        route.fulfill(body=found.content if found else body, content_type=found.media_type if found else kind)

    page.route(f"{ORIGIN}/**", answer)
    page.goto(ORIGIN)

    def run(module, script, given=None):
        called = f"async ([module, given]) => {{ const it = await import(module); {script} }}"
        result = page.evaluate(called, [f"/static/{module}", given])
        assert heard == []
        return result

    return run


def test_brows_are_measured_as_extract_measures_them(run):
    draws = np.random.default_rng(0)
    width, height = 640, 480
    for _ in range(5):
        landmarks = draws.uniform(0, 1, (478, 3))
        points = [dict(zip("xyz", row, strict=True)) for row in landmarks.tolist()]
        found = run(
            "measure/face.js",
            "return it.browLowering(it.inPixels(given.points, given.width, given.height));",
            {"points": points, "width": width, "height": height},
        )
        assert found == pytest.approx(brow_lowering(landmarks * [width, height, width]), rel=1e-12)


def test_heads_turn_as_extract_says(run):
    for rotation in Rotation.random(20, random_state=0).as_matrix():
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        found = run("measure/face.js", "return it.headAngles(given);", matrix.T.ravel().tolist())
        assert [found["pitch"], found["yaw"]] == pytest.approx(head_angles(rotation), abs=1e-9)


def test_the_viewer_is_the_one_whom_extract_follows(run):
    draws = np.random.default_rng(1)
    frames = []
    for _ in range(300):
        corners = draws.integers(0, 60, (draws.integers(0, 4), 2))
        frames.append(np.hstack([corners, corners + draws.integers(20, 60, corners.shape)]).astype(float))
    tracker = ViewerTracker()
    expected = [-1 if (chosen := tracker.follow(boxes)) is None else chosen for boxes in frames]
    names = ("left", "top", "right", "bottom")
    found = run(
        "measure/tracker.js",
        "const tracker = new it.ViewerTracker(); return given.map((boxes) => tracker.follow(boxes));",
        [[dict(zip(names, box, strict=True)) for box in boxes.tolist()] for boxes in frames],
    )
    assert found == expected
    assert {-1, 0, 1, 2} <= set(found)  # all cases were there


MARKUP = "const box = document.createElement('div'); box.append(it.markdown(given)); return box.innerHTML;"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# One\ntext\nmore", "<h2>One</h2><p>text more</p>"),
        (
            "- a\n- **b** *c*\n  d\n\n2. e",
            "<ul><li>a</li><li><strong>b</strong> <em>c</em> d</li></ul><ol><li>e</li></ol>",
        ),
        (
            "**a\nb** [c\nd](mailto:x@y.org)",
            '<p><strong>a b</strong> <a href="mailto:x@y.org" target="_blank" rel="noopener noreferrer">c d</a></p>',
        ),
        ("2 * 3 * 4 and snake_case", "<p>2 * 3 * 4 and snake_case</p>"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
        ("**<script>x</script>**", "<p><strong>&lt;script&gt;x&lt;/script&gt;</strong></p>"),
        ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>"),
        ("[a](data:text/html,x)", "<p>[a](data:text/html,x)</p>"),
        (
            '[a](https://x.org/"onclick="y)',
            '<p><a href="https://x.org/&quot;onclick=&quot;y" target="_blank" rel="noopener noreferrer">a</a></p>',
        ),
        ("1. a\n\n2. b\n\n\ntext\n# Two\nmore", "<ol><li>a</li><li>b</li></ol><p>text</p><h2>Two</h2><p>more</p>"),
    ],
)
def test_a_consent_text_is_text_whatever_is_in_it(run, source, expected):
    assert run("markdown.js", MARKUP, source) == expected


def test_an_order_has_no_ties_and_outlives_a_reload(run):
    script = """
        const order = new it.Order("s", ["a", "b", "c", "d"]);
        order.place("b", Infinity); order.place("d", 0); order.place("a", 1); order.place("b", -5); order.remove("d");
        order.place("a", 0); order.place("a", 9);
        const again = new it.Order("s", ["a", "b", "c", "d"]);
        const fewer = new it.Order("s", ["b", "c"]);
        order.forget();
        return [order.placed, order.rest, again.placed, fewer.placed, new it.Order("s", ["a"]).placed];
    """
    assert run("order.js", script) == [["b", "a"], ["c", "d"], ["b", "a"], ["b"], []]


def test_frames_are_parted_at_the_onset_and_end_at_the_offset(run):
    """Zero is at 1000 ms, the picture is there from 2000 to 3000 ms; a frame comes every 10 ms, from before zero on."""
    script = """
        const batches = [];
        const frames = new it.Frames(1000, (batch) => batches.push(batch));
        const add = (from, to) => {
          for (let time = from; time < to; time += 10)
            frames.add({ time, au4: -0.3, shape: null, confidence: 1, pitch: 0.1234567, yaw: 2, faces: 1 });
        };
        add(900, 1980); frames.hold(); add(1980, 2040); frames.onset(2000);
        add(2040, 2990); frames.hold(); add(2990, 3050); frames.offset(3000); add(3050, 3100);
        const whole = frames.whole;
        frames.end();
        return { batches, whole, sent: frames.sent, count: frames.batches };
    """
    found = run("frames.js", script)
    batches = found["batches"]
    assert [batch["seq"] for batch in batches] == list(range(len(batches))) == list(range(found["count"]))
    times = [frame[0] for batch in batches for frame in batch["frames"]]
    assert times == pytest.approx(np.arange(200) / 100)
    assert found["sent"] == 200
    assert found["whole"]
    for batch in batches:
        assert 0 < len(batch["frames"]) <= 40
        assert {frame[0] >= 1 for frame in batch["frames"]} == {batch["part"] == "picture"}
    assert batches[0]["frames"][0] == [0, -0.3, None, 1, 0.123457, 2, 1]
