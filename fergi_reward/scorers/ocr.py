"""Whether a picture shows the text that its prompt puts in quotes: 1 - edit distance / length, read by PP-OCRv6.

The rule is that of Flow-GRPO's OCR reward (github.com/yifan123/flow_grpo, `ocr.py`): case and white space do not count,
text that is contained in what was read scores 1 whatever else is there, and no score is below 0. docs/SCORERS.md says
what differs. Nothing is downloaded: the models are those in the wheel of rapidocr.
"""

# ruff: noqa: RUF001 - quotation marks are what it is about

import re
import unicodedata
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.files.digests import file_digest, record_digest
from fergi_reward.version import __version__

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_MODELS = ("PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx")
# Pairs of marks; those of the second kind are also apostrophes, as in rock 'n' roll.
_DOUBLE = re.compile('"([^"]*)"|“([^“”]*)”|„([^„“”]*)[“”]|«([^«»]*)»|»([^«»]*)«|「([^「」]*)」|『([^『』]*)』')
_SINGLE = re.compile(r"(?<!\w)'(?!\s|n')([^\n]*?)(?<!\s)'(?!\w)|‘([^‘’]*(?:’\w[^‘’]*)*)’(?!\w)|‹([^‹›]*)›")
_DOUBLE_MARK = re.compile('["“”„«»「」『』]')
_AS_STRAIGHT = str.maketrans({"‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"'})
# Pixels of the longer side: larger pictures are reduced before text is looked for.
_LONGEST_SIDE = 960


class OCRScorer:
    """How much of the quoted text a picture shows, 0 to 1.

    Raises:
        MissingDependencyError: At construction: rapidocr or onnxruntime is not installed.
        FergiRewardError: At construction: its models are not in it.
    """

    name = "ocr"
    is_differentiable = False
    license: ClassVar[str] = "Apache-2.0"
    checkpoint: ClassVar[str] = "PP-OCRv6 small, in the package rapidocr"
    revision: ClassVar[str] = "3.10"
    files: ClassVar[str] = " and ".join(_MODELS)
    size: ClassVar[str] = "31.2 MB"
    # It reads on the CPU: a GPU has none of them.
    parameter_count: ClassVar[int] = 0

    def __init__(self) -> None:
        import torch

        self._models = _models()
        self._engine = _engine(self._models, torch.get_num_threads())
        self._alphabet = set(normalised("".join(self._engine._load_rec_model().postprocess_op.character)))
        self._turn = Lock()  # its detector keeps what it works on in itself

    def __call__(self, pixels: "Tensor", prompts: Sequence[str]) -> list[float]:
        """One score per picture; the same picture is read once.

        Args:
            pixels: (B, 3, H, W) in [0, 1], RGB.
            prompts: One per picture.

        Raises:
            FergiRewardError: A prompt has no text in quotes, or text that the models cannot read; or a picture is too
                thin to be read.
        """
        asked = [self._asked(prompt) for prompt in prompts]
        pictures = (pixels * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        contents = [picture.tobytes() for picture in pictures]
        read = {content: self.read(picture) for content, picture in dict(zip(contents, pictures, strict=True)).items()}
        return [text_score(parts, read[content]) for parts, content in zip(asked, contents, strict=True)]

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse prompts without text in quotes, or with text that the models cannot read, before a run draws for them.

        Raises:
            FergiRewardError: There is one.
        """
        for prompt in prompts:
            self._asked(prompt)

    def read(self, picture: "np.ndarray") -> str:
        """The text of a picture, (H, W, 3) uint8 RGB: its lines from the top down, each from left to right.

        Raises:
            FergiRewardError: It is too thin.
        """
        import numpy as np
        from rapidocr.utils.process_img import ResizeImgError

        with self._turn:
            try:
                lines = self._engine(np.ascontiguousarray(picture[..., ::-1])).txts or ()
            except ResizeImgError as error:
                height, width = picture.shape[:2]
                raise FergiRewardError(
                    f"ocr cannot read a picture of {width} x {height} pixels: it is too thin"
                ) from error
        return "\n".join(lines)

    def weights_digest(self) -> str:
        """SHA-256 of the models, and of the versions of what runs them and of the rule."""
        versions = [__version__, version("rapidocr"), version("onnxruntime")]
        return record_digest([*map(file_digest, self._models), *versions])

    def _asked(self, prompt: str) -> list[str]:
        parts = quoted(prompt)
        if unknown := sorted({letter for part in parts for letter in part} - self._alphabet):
            raise FergiRewardError(
                f"the prompt {prompt!r} asks for text with {', '.join(map(repr, unknown))}, which the models of "
                "ocr cannot read: leave it out"
            )
        return parts


def quoted(prompt: str) -> list[str]:
    """The parts of a prompt that are in quotes, as they are compared.

    Double marks count ("…", “…”, „…“, «…», 「…」, 『…』), or where a prompt has none, single ones ('…', ‘…’, ‹…›); an
    apostrophe inside a word is none.

    Raises:
        FergiRewardError: There is no such part, or a mark without its other half.

    >>> quoted('a sign that says "Open 24 h"'), quoted("the dog's mug with 'Don't panic' on it")
    (['open24h'], ["don'tpanic"])
    """
    found = list(_DOUBLE.finditer(prompt)) or list(_SINGLE.finditer(prompt))
    if _DOUBLE_MARK.search(_DOUBLE.sub("", prompt)):
        raise FergiRewardError(f"the prompt {prompt!r} has a quotation mark without its other half: ocr compares pairs")
    parts = [normalised("".join(filter(None, match.groups()))) for match in found]
    if not any(parts):
        raise FergiRewardError(
            f"the prompt {prompt!r} has no text in quotes, which ocr looks for in the picture: write 'a sign that says "
            '"open"\', or leave the prompt out'
        )
    return [part for part in parts if part]


def normalised(text: str) -> str:
    """A text as it is compared: Unicode's NFKC without case, white space and signs of no width; marks are straight.

    >>> normalised("Ｃａｆé “No. 5”")
    'café"no.5"'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = (letter for letter in folded.translate(_AS_STRAIGHT) if unicodedata.category(letter) != "Cf")
    return "".join("".join(seen).split())


def text_score(asked: Sequence[str], read: str) -> float:
    """1 - edit distance / length, 0 at least.

    Each part that is contained in what was read is taken out of both, longer ones first. What is left of the parts,
    in their order, is compared with what is left of the text; where nothing is left of the parts, the rest is free.

    Args:
        asked: The parts, normalised, none of them empty.
        read: What is in the picture.

    >>> text_score(["hello"], "Say HELLO, world"), text_score(["hello"], "Helo"), text_score(["hello"], "")
    (1.0, 0.8, 0.0)
    """
    text, missed = normalised(read), list(asked)
    for part in sorted(asked, key=len, reverse=True):
        if part in text:
            text = text.replace(part, "\n", 1)  # what was around it does not become one word
            missed.remove(part)
    wrong, rest = "".join(missed), text.replace("\n", "")
    # At least this many letters are too many; it also bounds the time.
    distance = edit_distance(wrong, rest) if len(rest) < 2 * len(wrong) else len(wrong)
    return 1 - min(distance, len(wrong)) / sum(map(len, asked))


def edit_distance(one: str, other: str) -> int:
    """How many letters must be added, left out or replaced to make one text the other (Levenshtein).

    >>> edit_distance("kitten", "sitting"), edit_distance("", "abc"), edit_distance("flaw", "lawn")
    (3, 3, 2)
    """
    row = list(range(len(other) + 1))
    for deleted, letter in enumerate(one, 1):
        before, row[0] = row[0], deleted
        for place, sign in enumerate(other, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (letter != sign))
    return row[-1]


def _models() -> list[Path]:
    """The files of the models, found without importing what is heavy."""
    try:
        folder = Path(str(distribution("rapidocr").locate_file("rapidocr"))) / "models"
        distribution("onnxruntime")
    except PackageNotFoundError as error:
        raise MissingDependencyError(str(error.name), "the scorer 'ocr'", "ocr") from error
    if missing := [name for name in _MODELS if not (folder / name).is_file()]:
        raise FergiRewardError(f"{folder} has no {' and no '.join(missing)}: pip install 'rapidocr>=3.10,<3.11'")
    return [folder / name for name in _MODELS]


def _engine(models: Sequence[Path], threads: int) -> Any:  # noqa: ANN401 - rapidocr has no types
    """Both models in ONNX Runtime, on the CPU; given by their paths, for else they might be downloaded."""
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.text_score": 0.0,  # what is hard to read counts, as in Flow-GRPO
            "Global.use_cls": False,
            "Det.limit_type": "max",
            "Det.limit_side_len": _LONGEST_SIDE,
            "Det.model_path": str(models[0]),
            "Rec.model_path": str(models[1]),
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
