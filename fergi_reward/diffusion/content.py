"""What a pipeline or an adapter is by content, wherever it is: for keys of what was drawn with it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from fergi_reward.diffusion.load import is_registered
from fergi_reward.diffusion.pipelines import Pipeline
from fergi_reward.files.digests import record_digest, tensors_digest
from fergi_reward.files.store import FileDigests


def content_of(place: str, digests: FileDigests, load: Callable[[], Pipeline]) -> list[str]:
    """What the weights at a place are: digests of files or weights, or the commit of a repository on the hub.

    Args:
        place: A registered model, a folder, a file or a hub id.
        digests: Of files.
        load: Loads them, where only that tells what they are.

    Raises:
        FergiRewardError: It cannot be loaded.
    """
    path = Path(place)
    if is_registered(place):
        return [place, pipeline_digest(load())]
    if path.is_dir():
        return _files(path, digests)
    if path.is_file():
        return [digests(path)]
    if (commit := _commit(place)) is None:
        load()
        commit = _commit(place)
    return [place, str(commit)]


def pipeline_digest(pipeline: Pipeline) -> str:
    """SHA-256 of all weights of a pipeline and the settings of its networks and of its scheduler."""
    made_of = {}
    for name, component in sorted(pipeline.components.items()):
        settings = getattr(component, "config", None)
        weights = tensors_digest(component.state_dict()) if isinstance(component, nn.Module) else ""
        # diffusers' settings; those of transformers hold the version that read them.
        known = settings if isinstance(settings, Mapping) else {}
        told = {key: repr(value) for key, value in known.items() if not key.startswith("_")}
        if weights or told:
            made_of[name] = [weights, told]
    return record_digest(made_of)


def _files(folder: Path, digests: FileDigests) -> list[str]:
    """Names and digests of all files but text about them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    return [text for path in files for text in (path.relative_to(folder).as_posix(), digests(path))]


def _commit(repository: str) -> str | None:
    """Of the copy in the hub's cache, None where there is none."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "model_index.json")
    return Path(found).parent.name if isinstance(found, str) else None
