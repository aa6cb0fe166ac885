"""Code and documents are in plain technical English: idioms that one reads twice are refused."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# One (image): a distributive article, as in "one number an image", is "one number per image".
COUNTED = r"([Oo]nce|[Oo]ne|([Oo]ne|[Aa]n?) (number|row|column|file|folder|line|picture|prompt|value|hash))"
EACH = (
    r"(image|picture|row|scorer|term|action unit|model|pair|line|clip|frame|candidate|seed|epoch|update|host|viewer"
    r"|trainer|prompt|participant|person|process|batch|run)"
)
# Idiom -> what to write.
IDIOMS = {
    r"\b(goes|went|gone|going|go) on\b": "resumes, continues",
    rf"\b{COUNTED} an? {EACH}\b(?! (that|of|with|as|is|has|prefers|sees|may)\b)": "per image",
    r"\bbeside\b": "next to, alongside, in addition to, apart from",
    r"\bbe had\b": "is available",
    r"\b(is|are|was|were) to (be|have|stay|come|end|measure|lie|weigh|see|mend)\b": "must, will",
    r"(^\s+\w+: |help=\"|\"\"\"|^\s*# )Of [a-z]": "name it: 'Seed of the folds'",
    r"\b(for|of|by|as|to) who\b": "for users who",
    r"\bbec(a|o)mes? of\b": "what happens to",
    r"\b(is|are|was|were|be) told\b(?! (apart|from)\b)": "is given, is reported",
    r"\bc(a|o)mes? of\b": "the outcome of",
    r"\banew\b": "again",
    r"\bbut for\b": "except for",
    r"\bthe like\b": "such as",
    r"\bmend(s|ed)?\b": "fix, repair",
}
ANY = re.compile("|".join(IDIOMS), re.MULTILINE)


def texts() -> list[str]:
    """The tracked texts but this one."""
    patterns = ["*.py", "*.md", "*.yaml", "*.toml", "Makefile"]
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git work tree: which files are ours is not known")
    return [name for name in listed.stdout.split() if name != "tests/test_words.py"]


def found(text: str) -> list[str]:
    """The lines with an idiom, each with what to write instead."""
    lines = enumerate(text.splitlines() if ANY.search(text) else (), start=1)
    return [
        f"{number}: {line.strip()} ({instead})"
        for number, line in lines
        for idiom, instead in IDIOMS.items()
        if re.search(idiom, line)
    ]


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("A run that was killed goes on.", 1),
        ("prompts: One an image, or one for all.", 1),
        ("a column an action unit", 1),
        ("prompts: One per image.", 0),
        ("which of two pictures a viewer prefers", 0),
        ('help="Of the towers."', 1),
        ("        seed: Of the folds.", 1),
        ("What becomes of the pipeline", 1),
        ("It cannot be told from a shorter recording", 0),
    ],
)
def test_idioms_are_recognised(line, count):
    assert len(found(line)) == count


def test_texts_are_plain():
    problems = [f"{name}:{line}" for name in texts() for line in found((ROOT / name).read_text())]
    assert not problems, "\n".join(problems)
