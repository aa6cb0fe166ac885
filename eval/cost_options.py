"""Options that `throughput.py` and `footprint.py` share."""

from collections.abc import Sequence
from pathlib import Path

import click
from official_sizes import CHECKPOINTS
from toy_trainers import KINDS


class CommaList(click.ParamType):
    """Values with commas between, each as `of` wants it; an empty text is an empty list."""

    name = "list"

    def __init__(self, of: click.ParamType) -> None:
        self._of = of

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[object]:
        """The values."""
        if isinstance(value, list):
            return value
        return [self._of.convert(text.strip(), param, ctx) for text in str(value).split(",") if text.strip()]


def named_folders(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Path]:
    """Folders by name, from NAME=FOLDER."""
    folders = {name: Path(place) for name, _, place in (value.partition("=") for value in values)}
    for name, folder in folders.items():
        if name not in CHECKPOINTS or not folder.is_dir():
            raise click.BadParameter(f"{name}={folder} must be one of {', '.join(CHECKPOINTS)} and a folder")
    return folders


COUNT = click.IntRange(min=1)
scorers = click.option(
    "--scorers", type=CommaList(click.Choice([*CHECKPOINTS])), default=",".join(CHECKPOINTS), show_default=True
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
    "--trainers", type=CommaList(click.Choice([*KINDS])), default=",".join(KINDS), show_default=True
)
originals = click.option(
    "--originals/--no-originals", default=True, show_default=True, help="Those whose environment is built."
)
threads = click.option("--threads", type=COUNT, default=2, show_default=True)
