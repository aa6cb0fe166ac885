"""What the camera sees that it should not: darkness, a second face, nobody; and a phone that is held upright."""

import pytest

from tests.browser import SCREENS

# After a picture of the simulated camera is drawn, something is done to it.
SCENES = """() => {
  const draws = {
    dark: (context) => { context.fillStyle = "rgb(0 0 0 / 75%)"; context.fillRect(0, 0, 640, 480); },
    nobody: (context) => { context.fillStyle = "#777"; context.fillRect(0, 0, 640, 480); },
    two: (context, draw) => draw(context.canvas, 160, 0, 320, 480, 0, 0, 200, 300),
    good: () => {},
  };
  window.scene = "good";
  const capture = HTMLCanvasElement.prototype.captureStream;
  HTMLCanvasElement.prototype.captureStream = function (rate) {
    const context = this.getContext("2d");
    const draw = context.drawImage.bind(context);
    let strips = 0;
    context.drawImage = (...given) => {
      draw(...given);
      if (strips++ % 2) draws[window.scene](context, draw); // the face comes first, then the strip of its brows
    };
    return capture.call(this, rate);
  };
}"""


# Whether a button can be scrolled to where a finger touches it and nothing else.
TOUCHED = """button => {
  button.scrollIntoView({ block: "center" });
  const { left, top, width, height } = button.getBoundingClientRect();
  return document.elementFromPoint(left + width / 2, top + height / 2) === button;
}"""
# What the camera shows in a trial, and the mark that the trial then has.
DISTURBANCES = {"two": "second_face", "nobody": "no_face", "dark": "dark"}


@pytest.fixture(scope="module")
def filmed(serve_study, measures):
    return serve_study(*measures)


@pytest.fixture
def before_the_camera(filmed, arrive):
    """A participant whose camera is being checked, and which shows what `scene` says."""
    came = arrive(filmed)
    came.page.evaluate(SCENES)
    while came.step != "camera":
        came.take_step()
    came.press(came.button("camera.switch_on"))
    return came


def show(came, scene):
    came.page.evaluate("scene => { window.scene = scene; }", scene)


def point(came, name):
    """A line of the check."""
    return came.page.get_by_role("listitem").filter(has_text=came.words[f"check.{name}"])


@pytest.mark.parametrize(
    ("scene", "name", "advice"),
    [("dark", "brightness", "dark"), ("nobody", "faces", "nobody"), ("two", "faces", "several")],
    ids=["darkness", "nobody", "two"],
)
def test_the_check_says_what_to_change_and_does_not_pass(before_the_camera, scene, name, advice):
    came = before_the_camera
    show(came, scene)
    point(came, name).filter(has_text=came.words[f"check.{advice}"]).wait_for()
    assert came.button("check.continue").is_disabled()
    came.page.locator("#said").filter(has_text=came.words[f"check.{advice}"]).wait_for(state="attached")
    show(came, "good")
    point(came, name).filter(has_text=came.words["check.right"]).wait_for()


def test_a_disturbed_trial_is_marked_and_offered_again(before_the_camera):
    came = before_the_camera
    while came.step == "camera":
        came.take_step()
    picture = came.page.locator("main[data-part=picture]")
    for scene, mark in DISTURBANCES.items():
        show(came, "dark" if scene == "dark" else "good")  # the others come when the picture is there
        came.button("trial.start").click()
        picture.wait_for()
        show(came, scene)
        came.page.locator("body:is([data-step=retake], [data-step=trial]) main:not([data-part]) .actions").wait_for()
        assert came.step == "retake", scene
        show(came, "good")
        told = came.page.get_by_role("listitem").all_inner_texts()
        assert {each for each in DISTURBANCES.values() if came.words[f"reason.{each}"] in told} == {mark}
        came.press(came.button("retake.continue"))


def test_a_phone_that_is_held_upright(filmed, arrive):
    """Nothing scrolls to the side, the picture is whole, and no button is below another thing."""
    came, (width, height) = arrive(filmed, screen="phone"), SCREENS["phone"]
    page, seen = came.page, set()
    while came.step != "done":
        assert page.evaluate("document.documentElement.scrollWidth") == width, came.step
        for button in page.locator("main .actions button:visible").all():
            assert button.evaluate(TOUCHED), came.step
        seen.add(came.step)
        if came.step == "trial" and "picture" not in seen:
            came.button("trial.start").click()
            picture = page.locator("main[data-part=picture] img")
            picture.wait_for()
            box = picture.bounding_box()
            seen.add("picture")
            assert box["x"] >= 0 and box["y"] >= 0 and box["width"] > 0
            assert box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
            came.next_screen()
        else:
            came.take_step()
    assert seen >= {"consent", "code", "camera", "trial", "picture", "rank"}
