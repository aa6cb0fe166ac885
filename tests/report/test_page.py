"""The page in a real browser."""

import pytest

from fergi_reward.report.write import write_report
from fergi_reward.toy import emoji
from tests.browser import SCREENS, complaints, new_page, started
from tests.command_line import invoke

pytest.importorskip("matplotlib", reason="plots come with the extra report")
from fergi_reward.report.page import page

CELLS = "[...document.querySelector('table').tBodies[0].rows].map(row => row.cells[0].textContent)"
REPEATED = "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, at, all) => all.indexOf(id) !== at)"


@pytest.fixture(scope="module")
def browser(not_here):
    with started(not_here) as running:
        yield running


@pytest.fixture(scope="module")
def show(browser):
    """Opens a file in a new page, which keeps its complaints."""

    def opened_page(path, screen="desktop", scheme="light"):
        for context in browser.contexts:
            context.close()
        shown = new_page(browser, screen, scheme)
        shown.complaints = complaints(shown)
        shown.goto(path.as_uri())
        return shown

    return opened_page


@pytest.fixture(scope="module")
def opened(show, report, tmp_path_factory):
    """Opens the report on a screen, in a colour scheme."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(report), encoding="utf-8")
    return lambda screen="desktop", scheme="light": show(path, screen, scheme)


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_renders_without_a_complaint_and_without_the_network(opened, screen, scheme):
    shown = opened(screen, scheme)
    assert shown.evaluate("document.querySelectorAll('svg[role=img]').length") == 3
    assert shown.evaluate("document.querySelector('h1').textContent") == "A report"
    assert shown.evaluate("document.querySelector('.verdict').textContent.trim()") == "It <works>."
    width = shown.evaluate("document.documentElement.scrollWidth")
    assert width == SCREENS[screen][0]  # tables scroll, the page does not
    assert shown.complaints == []


def test_a_complaint_is_heard(show, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<script>undefinedFunction()</script><img src='http://127.0.0.1:9/x.png'>")
    heard = str(show(bad).complaints)
    assert "undefinedFunction" in heard
    assert "127.0.0.1" in heard


def test_columns_sort_by_their_numbers_and_empty_cells_stay_below(opened):
    shown = opened()

    def click(column):
        shown.evaluate(f"document.querySelectorAll('thead button')[{column}].click()")
        sorted_by = f"document.querySelectorAll('thead th')[{column}].getAttribute('aria-sort')"
        return shown.evaluate(CELLS), shown.evaluate(sorted_by)

    assert click(2) == (["b & c", "a", "<d>"], "ascending")
    assert click(2) == (["a", "b & c", "<d>"], "descending")
    assert click(1) == (["<d>", "b & c", "a"], "ascending")  # 2, 9 and 10 of 20
    assert click(0) == (["<d>", "a", "b & c"], "ascending")
    assert click(3)[0] == ["<d>", "a", "b & c"]  # 9, 10, x
    assert shown.evaluate("document.querySelectorAll('table:first-of-type [aria-sort]').length") == 1


def test_a_column_sorts_by_keyboard(opened):
    shown = opened()
    shown.evaluate("document.querySelector('thead button').focus()")
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.querySelector('thead th').getAttribute('aria-sort')") == "ascending"


def test_the_theme_follows_the_system_until_the_button_is_used(opened):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = opened(scheme="light").evaluate(colour)
    shown = opened(scheme="dark")
    dark = shown.evaluate(colour)
    assert light != dark
    shown.evaluate("document.getElementById('theme').click()")
    assert shown.evaluate(colour) == light
    assert shown.evaluate("document.getElementById('theme').textContent") == "Dark theme"


def test_on_paper_it_is_light_and_no_table_is_cut_off(opened):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = opened(scheme="light").evaluate(colour)
    shown = opened(scheme="dark")
    shown.emulate_media(media="print")
    assert shown.evaluate(colour) == light
    table = "document.querySelector('.table .scroll')"
    assert shown.evaluate(f"{table}.scrollWidth - {table}.clientWidth") == 0


def test_plots_take_the_colours_of_the_theme(opened):
    tick = "getComputedStyle(document.querySelector('svg text')).fill"
    assert opened(scheme="light").evaluate(tick) != opened(scheme="dark").evaluate(tick)


def test_on_a_phone_plots_are_whole_and_their_letters_are_of_a_size_to_read(opened):
    shown = opened("phone")
    plots = "[...document.querySelectorAll('.plot > .scroll')]"
    assert shown.evaluate(f"{plots}.map(box => box.scrollWidth - box.clientWidth)") == [0, 0, 0]
    boxes = "[...document.querySelectorAll('.plot svg text')].map(text => text.getBoundingClientRect())"
    heights = f"{boxes}.map(box => Math.max(box.width, box.height))"  # some lines are turned
    assert min(shown.evaluate(heights)) > 9  # with ascenders, in pixels


def test_pointing_at_a_mark_shows_its_number(opened):
    shown = opened()
    place = shown.evaluate(
        "(() => { const mark = document.querySelector('#plot-lines [data-tip]'); mark.scrollIntoView({block: 'center',"
        " behavior: 'instant'}); const box = mark.getBoundingClientRect();"
        " return [box.x + box.width / 2, box.y + box.height / 2] })()"
    )
    shown.mouse.move(*place)
    assert shown.evaluate("document.getElementById('tip').textContent") == "a: 1 at 0"
    assert shown.evaluate("getComputedStyle(document.getElementById('tip')).visibility") == "visible"


def test_the_lightbox_opens_steps_and_gives_the_focus_back(opened):
    shown = opened()
    picture = "document.querySelector('dialog img').alt"
    shown.evaluate("document.querySelector('.thumbnail').focus()")
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.querySelector('dialog').open")
    assert shown.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    assert shown.evaluate(picture) == "all red"
    shown.keyboard.press("ArrowRight")
    assert shown.evaluate(picture) == "all green"
    assert shown.evaluate("document.querySelector('dialog p').textContent") == "all green"  # it has no caption
    shown.keyboard.press("Escape")
    assert not shown.evaluate("document.querySelector('dialog').open")
    assert shown.evaluate("document.activeElement === document.querySelector('.thumbnail')")


def test_what_a_screen_reader_needs_is_there(opened):
    shown = opened()
    assert (
        shown.evaluate("['header', 'nav', 'main', 'footer'].map(name => document.querySelectorAll(name).length)")
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
        assert shown.evaluate(f"document.querySelectorAll({missing!r}).length") == 0, missing
    named = (
        "[...document.querySelectorAll('[aria-labelledby]')].flatMap(e => e.getAttribute('aria-labelledby').split(' '))"
    )
    assert shown.evaluate(f"{named}.filter(id => !document.getElementById(id))") == []
    assert shown.evaluate(REPEATED) == []
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.className") == "skip"


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
    shown = opened(scheme=scheme)
    text, plots = ["--ink", "--muted", "--accent"], [f"--series-{number}" for number in range(1, 7)]
    assert min(shown.evaluate(CONTRAST.replace("NAMES", str(text)))) >= 4.5
    assert min(shown.evaluate(CONTRAST.replace("NAMES", str(plots)))) >= 3


def test_the_pages_of_evaluate_are_such_pages(show, simulated, tmp_path):
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
        shown = show(out / "report.html", "phone")
        assert shown.evaluate("document.documentElement.scrollWidth") == 390
        assert shown.evaluate(REPEATED) == []
        assert shown.complaints == []


def test_the_calibration_report_is_such_a_page(show, simulated, tmp_path):
    from fergi_reward.calibration.protocols import calibrate
    from fergi_reward.data.fergi import read_fergi
    from fergi_reward.evaluation.calibration_report import calibration_report

    write_report(calibration_report(calibrate(read_fergi(simulated), "paper-v1", command="calibrate")), tmp_path)
    shown = show(tmp_path / "report.html", "phone")
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    assert "SIMULATED" in shown.evaluate("document.querySelector('.verdict').textContent")
    assert shown.complaints == []
