"""This project's own protocol: JSON in, a column per term out (`POST /v1/score`)."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.pictures import Pictures
from fergi_reward.serve.protocols.asked import Body, Opening, checked_keys, checked_prompts, json_mapping
from fergi_reward.serve.scoring import Row, ScoredRow


def parse(body: bytes, pictures: Pictures, limits: ServeLimits) -> Body:
    """Read a request.

    Raises:
        FergiRewardError: It is not of the form that docs/SERVING.md tells.
    """
    value = checked_keys(json_mapping(body), "the request", ["prompts", "images"], ["image_ids", "references"])
    if value.get("references"):
        raise FergiRewardError(
            "references are given, and no scorer of this reward reads reference images: leave them out"
        )
    images = value["images"]
    if not isinstance(images, list):
        raise FergiRewardError(f"images is a {type(images).__name__}, must be a list")
    prompts = checked_prompts(value["prompts"], len(images), limits.max_images)
    openings = [_opening(image, index, pictures) for index, image in enumerate(images)]
    return Body(prompts, openings, image_ids=checked_ids(value.get("image_ids"), len(images)))


def checked_ids(ids: object, images: int) -> list[str] | None:
    """One text per image, or None.

    Raises:
        FergiRewardError: They are something else.
    """
    if ids is None:
        return None
    if not isinstance(ids, list) or len(ids) != images or not all(isinstance(one, str) for one in ids):
        raise FergiRewardError(f"image_ids must be a list of {images} texts, one per image")
    return ids


def _opening(image: object, index: int, pictures: Pictures) -> Opening:
    ways: Mapping[str, Callable[[str], Any]] = {"base64": pictures.from_base64, "path": pictures.from_path}
    if not isinstance(image, dict) or len(image) != 1 or not set(image) <= set(ways):
        raise FergiRewardError(f'image {index} must be {{"base64": "..."}} or {{"path": "..."}}')
    [(way, text)] = image.items()
    if not isinstance(text, str):
        raise FergiRewardError(f"image {index}: {way} is a {type(text).__name__}, must be a text")
    return partial(ways[way], text)


def answer(rows: Sequence[Row], digest: str) -> dict[str, Any]:
    """A column per term, null where a row or a term has no value, and a sentence for each row that failed."""
    scored = [row if isinstance(row, ScoredRow) else None for row in rows]

    def columns(part: str) -> dict[str, list[Any]]:
        names = dict.fromkeys(name for row in scored if row for name in getattr(row, part))
        return {name: [_plain(getattr(row, part)[name]) if row else None for row in scored] for name in names}

    return {
        "reward": digest,
        "total": [row and _plain(row.total) for row in scored],
        **{part: columns(part) for part in ("terms", "contributions", "missing")},
        "errors": {str(index): row for index, row in enumerate(rows) if isinstance(row, str)},
    }


def _plain(value: float | bool) -> float | bool | None:
    return value if math.isfinite(value) else None
