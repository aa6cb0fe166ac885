"""The page in a real browser."""

import pytest

from fergi_reward.report.write import write_report
from fergi_reward.toy import emoji
from tests.command_line import invoke

pytest.importorskip("matplotlib", reason="plots come with the extra report")
from fergi_reward.report.page import page

CELLS = "[...document.querySelector('table').tBodies[0].rows].map(row => row.cells[0].textContent)"
REPEATED = "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, at, all) => all.indexOf(id) !== at)"
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def opened(browser, report, tmp_path_factory):
    """Opens the page on a screen of a size, in a colour scheme."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(report), encoding="utf-8")

    def open_page(width=1280, height=900, scheme="light"):
        browser.open(path, width, height, scheme)
        return browser

    return open_page


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_renders_without_a_complaint_and_without_the_network(opened, screen, scheme):
    browser = opened(*SCREENS[screen], scheme)
    assert browser.complaints() == []
    assert browser.run("document.querySelectorAll('svg[role=img]').length") == 3
    assert browser.run("document.querySelector('h1').textContent") == "A report"
    assert browser.run("document.querySelector('.verdict').textContent.trim()") == "It <works>."
    assert browser.run("document.documentElement.scrollWidth") == SCREENS[screen][0]  # tables scroll, the page does not


def test_a_complaint_is_heard(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<script>undefinedFunction()</script><img src='http://127.0.0.1:9/x.png'>")
    browser.open(bad)
    heard = str(browser.complaints())
    assert "undefinedFunction" in heard
    assert "127.0.0.1" in heard


def test_columns_sort_by_their_numbers_and_empty_cells_stay_below(opened):
    browser = opened()

    def click(column):
        browser.run(f"document.querySelectorAll('thead button')[{column}].click()")
        sorted_by = f"document.querySelectorAll('thead th')[{column}].getAttribute('aria-sort')"
        return browser.run(CELLS), browser.run(sorted_by)

    assert click(2) == (["b & c", "a", "<d>"], "ascending")
    assert click(2) == (["a", "b & c", "<d>"], "descending")
    assert click(1) == (["<d>", "b & c", "a"], "ascending")  # 2, 9 and 10 of 20
    assert click(0) == (["<d>", "a", "b & c"], "ascending")
    assert click(3)[0] == ["<d>", "a", "b & c"]  # 9, 10, x
    assert browser.run("document.querySelectorAll('table:first-of-type [aria-sort]').length") == 1


def test_a_column_sorts_by_keyboard(opened):
    browser = opened()
    browser.run("document.querySelector('thead button').focus()")
    browser.press("Enter", 13)
    assert browser.run("document.querySelector('thead th').getAttribute('aria-sort')") == "ascending"


def test_the_theme_follows_the_system_until_the_button_is_used(opened):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = opened(scheme="light").run(colour)
    browser = opened(scheme="dark")
    dark = browser.run(colour)
    assert light != dark
    browser.run("document.getElementById('theme').click()")
    assert browser.run(colour) == light
    assert browser.run("document.getElementById('theme').textContent") == "Dark theme"


def test_on_paper_it_is_light_and_no_table_is_cut_off(opened):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = opened(scheme="light").run(colour)
    browser = opened(scheme="dark")
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser.call("Emulation.setEmulatedMedia", media="print", features=[dark])
    assert browser.run(colour) == light
    table = "document.querySelector('.table .scroll')"
    assert browser.run(f"{table}.scrollWidth - {table}.clientWidth") == 0
    browser.call("Emulation.setEmulatedMedia", media="")


def test_plots_take_the_colours_of_the_theme(opened):
    tick = "getComputedStyle(document.querySelector('svg text')).fill"
    assert opened(scheme="light").run(tick) != opened(scheme="dark").run(tick)


def test_pointing_at_a_mark_shows_its_number(opened):
    browser = opened()
    place = browser.run(
        "(() => { const mark = document.querySelector('#plot-lines [data-tip]'); mark.scrollIntoView({block: 'center',"
        " behavior: 'instant'}); const box = mark.getBoundingClientRect();"
        " return [box.x + box.width / 2, box.y + box.height / 2] })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    assert browser.run("document.getElementById('tip').textContent") == "a: 1 at 0"
    assert browser.run("getComputedStyle(document.getElementById('tip')).visibility") == "visible"


def test_the_lightbox_opens_steps_and_gives_the_focus_back(opened):
    browser = opened()
    shown = "document.querySelector('dialog img').alt"
    browser.run("document.querySelector('.thumbnail').focus()")
    browser.press("Enter", 13)
    assert browser.run("document.querySelector('dialog').open")
    assert browser.run("document.querySelector('dialog').contains(document.activeElement)")
    assert browser.run(shown) == "all red"
    browser.press("ArrowRight", 39)
    assert browser.run(shown) == "all green"
    assert browser.run("document.querySelector('dialog p').textContent") == "all green"  # it has no caption
    browser.press("Escape", 27)
    assert not browser.run("document.querySelector('dialog').open")
    assert browser.run("document.activeElement === document.querySelector('.thumbnail')")


def test_what_a_screen_reader_needs_is_there(opened):
    browser = opened()
    assert (
        browser.run("['header', 'nav', 'main', 'footer'].map(name => document.querySelectorAll(name).length)")
        == [1] * 4
    )
    for missing in (
        "table:not(:has(caption))",
        "thead th:not([scope=col])",
        "tbody th:not([scope=row])",
        "img:not([alt])",
        "svg:not(:has(> title))",
        "button:empty",
        ".scroll:not([tabindex='0'])",
    ):
        assert browser.run(f"document.querySelectorAll({missing!r}).length") == 0, missing
    named = (
        "[...document.querySelectorAll('[aria-labelledby]')].flatMap(e => e.getAttribute('aria-labelledby').split(' '))"
    )
    assert browser.run(f"{named}.filter(id => !document.getElementById(id))") == []
    assert browser.run(REPEATED) == []
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.className") == "skip"


CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const light = colour => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
      .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  };
  const probe = document.body.appendChild(document.createElement('i'));
  const of = name => { probe.style.color = `var(${name})`; return light(getComputedStyle(probe).color); };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return NAMES.map(name => ratio(of(name), of('--paper')));
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_have_enough_contrast(opened, scheme):
    """4.5 to 1 for text and 3 to 1 for what carries meaning in plots (WCAG 2.2, AA)."""
    browser = opened(scheme=scheme)
    text, plots = ["--ink", "--muted", "--accent"], [f"--series-{number}" for number in range(1, 7)]
    assert min(browser.run(CONTRAST.replace("NAMES", str(text)))) >= 4.5
    assert min(browser.run(CONTRAST.replace("NAMES", str(plots)))) >= 3


def test_the_pages_of_evaluate_are_such_pages(browser, simulated, tmp_path):
    """Two models whose names differ in their case alone, and people who are made up."""
    for name in ("Mine", "mine"):
        emoji.load_pipeline().unet.save_pretrained(tmp_path / name)
    (tmp_path / "prompts.txt").write_text("a apple on a green background\n")
    models = ["models", "--model=emoji", f"--tuned=Mine={tmp_path / 'Mine'}", f"--tuned=mine={tmp_path / 'mine'}"]
    models += [f"--prompts={tmp_path / 'prompts.txt'}", "--samples=1", "--steps=1", "--trained-on=pickscore"]
    for options in (models, ["preferences", f"--data={simulated}"]):
        out = tmp_path / f"report of {options[0]}"
        run = invoke(["evaluate", *options, f"--out={out}"])
        assert run.exit_code == 0, run.output
        browser.open(out / "report.html", *SCREENS["phone"])
        assert browser.complaints() == []
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert browser.run(REPEATED) == []


def test_the_calibration_report_is_such_a_page(browser, simulated, tmp_path):
    from fergi_reward.calibration.protocols import calibrate
    from fergi_reward.data.fergi import read_fergi
    from fergi_reward.evaluation.calibration_report import calibration_report

    write_report(calibration_report(calibrate(read_fergi(simulated), "paper-v1", command="calibrate")), tmp_path)
    browser.open(tmp_path / "report.html", *SCREENS["phone"])
    assert browser.complaints() == []
    assert browser.run("document.documentElement.scrollWidth") == 390
    assert "SIMULATED" in browser.run("document.querySelector('.verdict').textContent")
