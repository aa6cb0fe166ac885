"""The scorers by name. Nothing heavy is imported before a scorer is asked for."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import LIBRARY, Found, Registry, blaming, is_maker, package, takes
from fergi_reward.hub.published import SCORERS, shown_bytes

if TYPE_CHECKING:
    import torch

    from fergi_reward.scorers.fastest_dtype import DtypeOrAuto
    from fergi_reward.scorers.foreign import LoadedScorer

_HPS = "fergi_reward.scorers.hps:HPSv2Scorer"
REGISTRY = Registry(
    "scorer",
    {
        "image_reward": "fergi_reward.scorers.image_reward:ImageRewardScorer",
        "pickscore": "fergi_reward.scorers.pickscore:PickScorer",
        "hps_v2": _HPS,
        "hps_v2.0": _HPS,
        "hps_v2.1": _HPS,
        "clip": "fergi_reward.scorers.clip:CLIPScorer",
        "aesthetic": "fergi_reward.scorers.aesthetic:AestheticScorer",
        "hpsv3": "fergi_reward.scorers.hpsv3:HPSv3Scorer",
        "ocr": "fergi_reward.scorers.ocr:OCRScorer",
        "vlm_judge": "fergi_reward.scorers.vlm_judge:VLMJudge",
    },
)
# Names of one term.
_TERMS = {"hps_v2.0": "hps_v2"}
# Options of `from_pretrained`.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {"hps_v2": {"version": "v2.0"}, "hps_v2.1": {"version": "v2.1"}}


def register_scorer(name: str, scorer: object) -> None:
    """Add a scorer by name, in this process.

    Args:
        name: What it is called from now on: in `load_scorer`, rewards, calibrations and options.
        scorer: As an entry point's: a class, a function that returns the scorer, or the scorer.

    Raises:
        FergiRewardError: The name is taken, or cannot be used.
    """
    from fergi_reward.scorers.foreign import check_name

    check_name(name, "register()")
    REGISTRY.register(name, scorer)


def term_name(name: str) -> str:
    """What the term of a scorer is called in calibrations and rewards: FERGI's `hps_v2` is version 2.0.

    Raises:
        FergiRewardError: The name is unknown.

    >>> term_name("hps_v2.0"), term_name("hps_v2.1"), term_name("my_package.rewards:Mine")
    ('hps_v2', 'hps_v2.1', 'my_package.rewards:Mine')
    """
    REGISTRY.check(name)
    return column_term(name)


def column_term(name: str) -> str:
    """The term of a column of scores, which may have one of the names of a scorer, as `score` writes it."""
    return _TERMS.get(name, name)


def scorer_table() -> list[dict[str, str]]:
    """A row for each built-in name: name, term, license, checkpoint, pinned revision, files, size.

    Licenses and files are those of all repositories that the scorer needs, the sizes about right. A scorer that needs
    no repository says in its class what stands there.
    """
    return [{"name": name, "term": term_name(name), **_where_from(name)} for name in REGISTRY.builtin]


def _where_from(name: str) -> dict[str, str]:
    if name not in SCORERS:
        scorer = REGISTRY.get(name).target
        return {column: getattr(scorer, column) for column in ("license", "checkpoint", "revision", "files", "size")}
    return {
        "license": "; ".join(dict.fromkeys(repository.license for repository in SCORERS[name])),
        "checkpoint": SCORERS[name][0].name,
        "revision": SCORERS[name][0].revision,
        "files": ", and ".join(map(str, SCORERS[name])),
        "size": shown_bytes(sum(size for repository in SCORERS[name] for size in repository.files.values())),
    }


def load_scorer(
    name: str,
    checkpoint: str | Path | None = None,
    *,
    device: "torch.device | str | None" = None,
    dtype: "DtypeOrAuto | None" = None,
) -> "LoadedScorer":
    """Load a scorer, frozen, in evaluation mode.

    Args:
        name: A built-in scorer's (`scorer_table()`), an installed or registered one's, or a path such as
            `my_package.rewards:Mine`.
        checkpoint: A folder in the hub's layout or a hub id; by default the official one at its pinned revision.
        device: By default the CPU.
        dtype: Data type of the towers, by default float32, "auto" for the faster one of float32 and bfloat16 on that
            device; the score is float32 in any case. Other people's scorers get
            `checkpoint`, `device` and `dtype` if they take arguments of these names.

    Raises:
        FergiRewardError: The name is unknown, or the scorer cannot be loaded.
    """
    from fergi_reward.scorers.fastest_dtype import resolved
    from fergi_reward.scorers.foreign import as_scorer
    from fergi_reward.scorers.loading import loading

    dtype = resolved(dtype, device)
    term, found = term_name(name), REGISTRY.get(name)
    if found.origin == LIBRARY and has_towers(name):
        options = {**_OPTIONS.get(term, {}), **({} if dtype is None else {"dtype": dtype})}
        scorer: LoadedScorer = found.target.from_pretrained(checkpoint, device=device, **options)
        return scorer
    asked: dict[str, Any] = {"checkpoint": checkpoint, "device": device, "dtype": dtype}
    given = {key: value for key, value in asked.items() if value is not None}
    make = partial(found.target.from_pretrained, **given) if has_towers(name) else _maker(name, found, given)
    with loading(), blaming(f"the scorer {name!r}", found.origin):
        scorer = as_scorer(make(), term, origin=found.origin)
    return scorer.requires_grad_(False).eval().to(device or "cpu")


def has_towers(name: str) -> bool:
    """Whether a scorer is a class on `TowerScorer`, without loading it.

    Raises:
        FergiRewardError: As `parameter_count`.
    """
    from fergi_reward.scorers.base import TowerScorer

    target = REGISTRY.get(name).target
    return isinstance(target, type) and issubclass(target, TowerScorer)


def parameter_count(name: str) -> int | None:
    """How many parameters a scorer has, without loading it; None where its class or function does not say.

    Raises:
        FergiRewardError: The name is unknown, or its module cannot be imported.
    """
    count = getattr(REGISTRY.get(name).target, "parameter_count", None)
    return count if isinstance(count, int) else None


def is_differentiable(name: str) -> bool:
    """Whether gradients go through a scorer, as far as its class or function says so, without loading it.

    Raises:
        FergiRewardError: As `parameter_count`.
    """
    return getattr(REGISTRY.get(name).target, "is_differentiable", None) is not False


def foreign_table() -> list[dict[str, str]]:
    """A row for each name that other packages install: name, package, where it is; nothing is imported."""
    return [
        {"name": name, "package": package(point), "from": point.value}
        for name, points in REGISTRY.installed().items()
        for point in points
    ]


def _maker(name: str, found: Found, given: Mapping[str, object]) -> Callable[[], Any]:
    """What makes the scorer: a class, or a function that needs no argument; any other object is the scorer itself."""
    target = found.target
    named = {key: value for key, value in given.items() if is_maker(target) and key in takes(target)}
    if "checkpoint" in given and "checkpoint" not in named:
        if not hasattr(target, "from_pretrained"):
            raise FergiRewardError(f"the scorer {name!r} of {found.origin} takes no checkpoint: leave it out")
        return partial(target.from_pretrained, given["checkpoint"], **named)
    return partial(target, **named) if is_maker(target) else lambda: target
