"""UniRL's protocol of reward services (`POST /score`; read in unirl 0.2.0, `unirl/reward/remote.py`)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.pictures import Pictures
from fergi_reward.serve.protocols.asked import Body, checked_prompts, json_mapping
from fergi_reward.serve.scoring import Row, ScoredRow

# The name of the combined reward; each of its terms is a reward of its own name, too.
TOTAL = "fergi"
# What a caller finds again in the answer to know whose it is.
IDENTITY = ("request_id", "sample_id", "group_id", "source_rank", "policy_version", "idempotency_key")


def rewards(names: Sequence[str]) -> dict[str, list[str]]:
    """The rewards that may be asked for, each with the numbers that it gives."""
    return {TOTAL: ["total", *names]} | {name: ["score"] for name in names}


def parse(body: bytes, pictures: Pictures, limits: ServeLimits, names: Sequence[str]) -> Body:
    """Read a request; of the pictures of an image's history, the last is scored.

    Raises:
        FergiRewardError: It is not of UniRL's form, or asks for a reward that there is not.
    """
    value = json_mapping(body)
    if value.get("protocol_version", "1") != "1":
        raise FergiRewardError(f"protocol_version is {value['protocol_version']!r}, and version '1' is read here")
    requests = value.get("requests")
    if not isinstance(requests, list):
        raise FergiRewardError("the request lacks the list `requests`")
    shown = [_shown(request, index) for index, request in enumerate(requests)]
    wanted = [_wanted(request, index, rewards(names)) for index, request in enumerate(requests)]
    openings = [partial(pictures.from_base64, last["image_b64"]) for last in shown]
    prompts = checked_prompts([last["text"] for last in shown], len(shown), limits.max_images)
    identities = [{key: request.get(key) for key in IDENTITY} for request in requests]
    return Body(prompts, openings, extra=(wanted, identities))


def answer(body: Body, rows: Sequence[Row], digest: str) -> dict[str, Any]:
    """The rewards that were asked for each image, or why there are none."""
    wanted, identities = body.extra
    results, errors = list[dict[str, Any]](), list[dict[str, str]]()
    for row, names in zip(rows, wanted, strict=True):
        results.append({name: _numbers(row, name) for name in names} if isinstance(row, ScoredRow) else {})
        errors.append(dict.fromkeys(names, row) if isinstance(row, str) else {})
    named = [{**identity, "scorer_version": digest} for identity in identities]
    return {"protocol_version": "1", "results": results, "errors": errors, "identities": named}


def _numbers(row: ScoredRow, name: str) -> dict[str, float]:
    """The combined reward comes first: UniRL takes the first number unless told otherwise."""
    return {"total": row.total, **row.terms} if name == TOTAL else {"score": row.terms[name]}


def _shown(request: object, index: int) -> Mapping[str, str]:
    history = request.get("history") if isinstance(request, dict) else None
    last = history[-1] if isinstance(history, list) and history else None
    if not isinstance(last, dict) or not all(isinstance(last.get(key), str) for key in ("text", "image_b64")):
        raise FergiRewardError(f"request {index} must have a `history` whose last entry has `text` and `image_b64`")
    return last


def _wanted(request: Mapping[str, Any], index: int, known: Mapping[str, Any]) -> list[str]:
    wanted = request.get("required_rewards")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise FergiRewardError(f"request {index} must name its `required_rewards`: there are {', '.join(known)}")
    if strange := [name for name in wanted if name not in known]:
        raise FergiRewardError(f"request {index} asks for {strange[0][:80]!r}: there are {', '.join(known)}")
    return wanted
