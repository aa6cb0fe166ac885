"""A file with one prompt per line: for every command that takes `--prompts`."""

from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.shipped import shipped_folder
from fergi_reward.files.text_lines import read_lines


def read_prompts(place: Path | str) -> list[str]:
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
    return prompts
