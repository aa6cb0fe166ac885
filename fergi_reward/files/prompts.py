"""A file with one prompt per line: for every command that takes `--prompts`."""

import re
from collections.abc import Iterable
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.shipped import shipped_folder
from fergi_reward.files.text_lines import read_lines


class Prompts(list[str]):
    """Prompts that know where they were read.

    Args:
        prompts: The prompts.
        name: Name of their file or shipped list; by default that of `prompts`, else empty.
    """

    def __init__(self, prompts: Iterable[str], name: str = "") -> None:
        super().__init__(prompts)
        self.name: str = name or getattr(prompts, "name", "")


def read_prompts(place: Path | str) -> Prompts:
    """The prompts of a UTF-8 text file, one per line; spaces around them and lines with nothing else are left out.

    Args:
        place: The file, or the name of a shipped one, such as `everyday`.

    Raises:
        FergiRewardError: The file cannot be read, is not UTF-8, or holds no prompt.
    """
    path = Path(place)
    if not path.exists() and path.parent == Path() and not path.suffix:
        shipped = shipped_folder("configs/prompts") / f"{path}.txt"
        path = shipped if shipped.exists() else path
    prompts = [prompt for _, line in read_lines(path) if (prompt := line.strip())]
    if not prompts:
        raise FergiRewardError(f"{path} holds no prompt: write one per line")
    return Prompts(prompts, Path(place).name)


def write_prompts(path: Path, prompts: Iterable[str]) -> None:
    """Write a file that `read_prompts` reads; a line break in a prompt, which no line can hold, becomes a space."""
    lines = [re.sub(r"[\r\n\0]+", " ", prompt) + "\n" for prompt in prompts]
    path.write_text("".join(lines), encoding="utf-8", errors="replace")
