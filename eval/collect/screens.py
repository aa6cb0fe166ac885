"""The pictures of docs/COLLECT.md: screens of a study of a cat, which a simulated participant takes part in.

python eval/collect/screens.py --model face_landmarker.task --out docs/collect
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from PIL import Image, ImageFilter, ImageOps
from playwright.sync_api import Browser, Page

from fergi_reward.cli.errors import clean_exit
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.simulation.chromium import chromium
from fergi_reward.collect.simulation.participant import Participant
from fergi_reward.collect.simulation.people import Person
from fergi_reward.collect.simulation.rehearsal import served

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True}
DESKTOP = {"viewport": {"width": 960, "height": 900}}
COLOURS = 48  # of a file, so that it is small


@click.command()
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True, help="face_landmarker.task")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/collect"), show_default=True)
def main(model: Path, out: Path) -> None:
    """Write check.png, rank.png and phone.png."""
    screens: dict[str, dict[str, Any]] = {"rank.png": {**DESKTOP, "color_scheme": "dark"}, "phone.png": PHONE}
    with TemporaryDirectory() as folder, chromium() as browser:
        study = CollectOptions(pictures=cats(Path(folder)), out=Path(folder, "seen"), port=0, backend_model=model)
        with served(study) as address, arrived(browser, address, "camera", DESKTOP) as came:
            came.press(came.button("camera.switch_on"))
            came.page.locator("ul.checks li.right").nth(3).wait_for()
            save(came.page, out / "check.png")
        with served(replace(study, out=Path(folder, "ranked"), camera=False)) as address:
            for name, screen in screens.items():
                with arrived(browser, address, "rank", screen) as came:
                    for card in "CA":
                        came.button("rank.card", name=card).click()
                    save(came.page, out / name)


def cats(folder: Path) -> Path:
    """A table of one cat in four qualities."""
    from skimage import data

    cat = ImageOps.fit(Image.fromarray(data.chelsea()), (256, 256))
    drawn = [cat, cat.filter(ImageFilter.GaussianBlur(6)), ImageOps.posterize(cat, 2), ImageOps.invert(cat)]
    rows = ["session,image,file,prompt"]
    for number, picture in enumerate(drawn):
        picture.save(folder / f"{number}.png")
        rows.append(f"cat,{number},{number}.png,a ginger cat that looks at you")
    table = folder / "pictures.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


@contextmanager
def arrived(browser: Browser, address: str, step: str, screen: dict[str, Any]) -> Iterator[Participant]:
    """A participant at a step."""
    context = browser.new_context(**screen)
    came = Participant(context.new_page(), Person(0, 0))
    came.arrive(address)
    while came.step != step:
        came.take_step()
    yield came
    context.close()


def save(page: Page, path: Path) -> None:
    """The screen, as a small file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.evaluate("window.scrollTo(0, 0)")
    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    with clean_exit():
        main()
