"""What every protocol reads from a body: images that could be opened, and why others could not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.json_files import parse_json
from fergi_reward.serve.admission import FullError, TooLargeError
from fergi_reward.serve.pictures import Decoding, Opening
from fergi_reward.serve.scoring import Asked, Row

LONGEST_PROMPT = 16_384
# Values of a JSON document: many small ones take forty times the memory of their text.
MOST_VALUES = 1_000_000


@dataclass(frozen=True)
class Body:
    """What a caller asks, before its pictures are opened.

    Attributes:
        prompts: One per image.
        openings: What opens each picture; empty where there are pixels.
        pixels: (B, 3, H, W), where the caller sent pixels.
        image_ids: One per image, or None.
        extra: What the protocol needs for its answer.
    """

    prompts: Sequence[str]
    openings: Sequence[Opening] = ()
    pixels: Tensor | None = None
    image_ids: Sequence[str] | None = None
    extra: Any = field(default=None)

    def score(self, rows: Callable[[Asked], list[Row]], decoding: Decoding) -> list[Row]:
        """Open the pictures and have those scored that can be opened.

        Raises:
            FullError: The pictures of other requests leave no room for those of this one.
            TooLargeError: There would be none without others either.
        """
        if self.pixels is not None:
            return rows(Asked(self.pixels, self.prompts, self.image_ids))
        found = dict[int, Row]()
        opened = dict[int, Image.Image]()
        with decoding.of_one_request() as decoded:
            for index, opening in enumerate(self.openings):
                try:
                    opened[index] = decoded(opening)
                except (FullError, TooLargeError):
                    raise
                except FergiRewardError as error:
                    found[index] = f"{error}"
            if opened:
                ids = [self.image_ids[index] for index in opened] if self.image_ids else None
                asked = Asked(list(opened.values()), [self.prompts[index] for index in opened], ids)
                found |= dict(zip(opened, rows(asked), strict=True))
        return [found[index] for index in range(len(self.prompts))]


def bounded_json(text: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The value of a JSON document that does not take much more memory than its text.

    Raises:
        ValueError: It is no JSON, or has too many values.
    """
    if sum(text.count(mark) for mark in b"[{,") > MOST_VALUES:
        raise ValueError(f"it may have more than {MOST_VALUES:,} values")
    return parse_json(text)


def json_mapping(body: bytes) -> dict[str, Any]:
    """The mapping of a JSON body.

    Raises:
        FergiRewardError: It is no JSON, or no mapping.
    """
    try:
        value = bounded_json(body)
    except ValueError as error:
        raise FergiRewardError(f"the body is no JSON that is read here: {error}") from error
    if not isinstance(value, dict):
        raise FergiRewardError(f"the body is a {type(value).__name__}, must be a JSON object")
    return value


def checked_keys(value: Any, what: str, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:  # noqa: ANN401
    """A mapping whose keys are known.

    Raises:
        FergiRewardError: It is no mapping, lacks a key, or has one that is unknown.
    """
    if not isinstance(value, dict):
        raise FergiRewardError(f"{what} is a {type(value).__name__}, must be an object with {', '.join(needed)}")
    if missing := [key for key in needed if key not in value]:
        raise FergiRewardError(f"{what} lacks {', '.join(missing)}")
    if unknown := [key for key in value if key not in (*needed, *optional)]:
        raise FergiRewardError(
            f"{what} has the unknown key {unknown[0][:80]!r}: known are {', '.join((*needed, *optional))}"
        )
    return value


def checked_prompts(prompts: object, images: int, most: int) -> list[str]:
    """One prompt per image; a single text is the prompt of all.

    Raises:
        FergiRewardError: There is no image, or too many; prompts are no texts, too long, or not one per image.
    """
    if not 1 <= images <= most:
        raise FergiRewardError(f"the request has {images} images, and 1 to {most} are scored at a time")
    listed = [prompts] * images if isinstance(prompts, str) else prompts
    if not isinstance(listed, list) or not all(isinstance(prompt, str) for prompt in listed):
        raise FergiRewardError("prompts must be a text, or a list of texts, one per image")
    if len(listed) != images:
        raise FergiRewardError(f"there are {len(listed)} prompts for {images} images: give one per image")
    if (longest := max(map(len, listed))) > LONGEST_PROMPT:
        raise FergiRewardError(f"a prompt has {longest:,} letters, and may have {LONGEST_PROMPT:,}")
    return listed
