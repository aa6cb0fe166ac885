"""What participants agree to: the researcher's text, known by its hash."""

import re
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import write_text
from fergi_reward.files.digests import bytes_digest
from fergi_reward.files.ordinary_files import read_bytes

MAX_BYTES = 100_000
TEMPLATES = Path(__file__).parent / "templates"
DEFAULT = "en"


@dataclass(frozen=True)
class Consent:
    """A text that participants agree to.

    Attributes:
        text: Markdown.
        is_template: Whether it is the shipped one, which says nothing of a study.
    """

    text: str
    is_template: bool

    @property
    def hash(self) -> str:
        """What the text is known by."""
        return bytes_digest(self.text.encode())[:32]

    @property
    def title(self) -> str:
        """The first heading."""
        found = re.search(r"^#+ +(.+?) *#*$", self.text, re.MULTILINE)
        return found[1] if found else "Study"

    def keep(self, study: Path) -> None:
        """Write the text into the folder of a study, where each version that somebody agreed to stays."""
        folder = study / "consent"
        folder.mkdir(mode=0o700, exist_ok=True)
        if not (path := folder / f"{self.hash}.md").exists():
            write_text(path, self.text, private=True)


def read_consent(path: Path | None, language: str, offers_video: bool = False) -> Consent:
    """The text in a file; by default a template in a language, or in English, which has a part about video.

    Raises:
        FergiRewardError: It cannot be read, or is empty.
    """
    given = path or next(TEMPLATES / f"{name}.md" for name in (language, DEFAULT) if _is_template(name))
    places = [given] if path or not offers_video else [given, given.with_suffix(".video.md")]
    try:
        text = "\n".join(read_bytes(each, MAX_BYTES).decode("utf-8-sig") for each in places).replace("\r\n", "\n")
    except OSError as error:
        raise FergiRewardError(f"--consent {given} cannot be read ({error.strerror}): give a text in UTF-8") from error
    except UnicodeDecodeError as error:
        raise FergiRewardError(f"--consent {given} is not UTF-8: save it as UTF-8") from error
    if not text.strip():
        raise FergiRewardError(f"--consent {given} is empty: write what participants agree to")
    return Consent(text, path is None)


def _is_template(language: str) -> bool:
    return language.isalpha() and (TEMPLATES / f"{language}.md").is_file()
