"""The pickled protocol of flow_grpo's remote rewards and verl-omni's HTTP scorer (`POST /pickle`)."""

import pickle
from collections.abc import Sequence
from functools import partial

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.pictures import Pictures
from fergi_reward.serve.protocols.asked import Body, checked_prompts
from fergi_reward.serve.protocols.plain_pickle import plain_pickle
from fergi_reward.serve.scoring import Row, ScoredRow

MEDIA_TYPE = "application/octet-stream"


def parse(body: bytes, pictures: Pictures, limits: ServeLimits) -> Body:
    """Read a request: a pickled dict with `images`, the bytes of picture files, and `prompts`.

    Raises:
        FergiRewardError: It is something else.
    """
    value = plain_pickle(body)
    if not isinstance(value, dict) or not {"images", "prompts"} <= set(value):
        raise FergiRewardError("the pickle must hold a dict with `images` and `prompts`")
    images, prompts = value["images"], value["prompts"]
    if not isinstance(images, list | tuple) or not all(isinstance(image, bytes) for image in images):
        raise FergiRewardError("images must be a list of bytes, each those of a picture file")
    listed = list(prompts) if isinstance(prompts, tuple) else prompts
    openings = [partial(pictures.from_bytes, image) for image in images]
    return Body(checked_prompts(listed, len(images), limits.max_images), openings)


def answer(rows: Sequence[Row]) -> bytes:
    """The totals, under both names that callers look for.

    Raises:
        FergiRewardError: A row failed: this protocol has no place to say so, and any number would be a wrong score.
    """
    for index, row in enumerate(rows):
        if isinstance(row, str):
            raise FergiRewardError(f"image {index} has no score: {row}")
    totals = [row.total for row in rows if isinstance(row, ScoredRow)]
    return pickle.dumps({"scores": totals, "outputs": totals}, protocol=2)
