"""A file of prompts, one per line: for every command that takes `--prompts`."""

from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.text_lines import read_lines


def read_prompts(path: Path) -> list[str]:
    """The prompts of a UTF-8 text file, one per line; spaces around them and lines with nothing else are left out.

    Raises:
        FergiRewardError: The file cannot be read, is not UTF-8, or holds no prompt.
    """
    prompts = [prompt for _, line in read_lines(path) if (prompt := line.strip())]
    if not prompts:
        raise FergiRewardError(f"{path} holds no prompt: write one per line")
    return prompts
