"""Options that `throughput.py` and `footprint.py` share."""

from collections.abc import Sequence
from pathlib import Path

import click
from official_sizes import CHECKPOINTS
from toy_trainers import KINDS


class CommaList(click.ParamType):
    """Values with commas between, each as `of` wants it; an empty text is an empty list where that may be."""

    name = "list"

    def __init__(self, of: click.ParamType, *, may_be_empty: bool = False) -> None:
        self._of, self._may_be_empty = of, may_be_empty

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[object]:
        """The values."""
        if isinstance(value, list):
            return value
        values = [self._of.convert(text.strip(), param, ctx) for text in str(value).split(",") if text.strip()]
        if not values and not self._may_be_empty:
            self.fail("it is empty: give at least one value", param, ctx)
        return values


def named_folders(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Path]:
    """Folders by name, from NAME=FOLDER."""
    folders = {name: Path(place) for name, _, place in (value.partition("=") for value in values)}
    for name, folder in folders.items():
        if name not in CHECKPOINTS or not folder.is_dir():
            raise click.BadParameter(f"{name}={folder} must be one of {', '.join(CHECKPOINTS)} and a folder")
    return folders


def shown(checkpoints: dict[str, Path]) -> dict[str, dict[str, str]]:
    """Which checkpoints were given, for a file that others may read: without the folders that lead to them."""
    return {"checkpoints": {name: folder.name for name, folder in checkpoints.items()}}


COUNT = click.IntRange(min=1)
COUNTS = CommaList(COUNT)
scorers = click.option(
    "--scorers",
    type=CommaList(click.Choice([*CHECKPOINTS]), may_be_empty=True),
    default=",".join(CHECKPOINTS),
    show_default=True,
)
checkpoints = click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    callback=named_folders,
    metavar="NAME=FOLDER",
    help="A checkpoint in place of official sizes with random weights; repeatable.",
)
dtypes = click.option(
    "--dtypes",
    type=CommaList(click.Choice(["float32", "bfloat16", "float16"])),
    default="float32,bfloat16",
    show_default=True,
)
trainers = click.option(
    "--trainers", type=CommaList(click.Choice([*KINDS]), may_be_empty=True), default=",".join(KINDS), show_default=True
)
originals = click.option(
    "--originals/--no-originals", default=True, show_default=True, help="Those whose environment is built."
)
threads = click.option("--threads", type=COUNT, default=2, show_default=True)
