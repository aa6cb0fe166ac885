"""What a pipeline or trained weights are by content, wherever they are: for keys of what was drawn with them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.registry import is_registered
from fergi_reward.files.digests import record_digest, tensors_digest
from fergi_reward.files.store import FileDigests


def model_content(model: str, digests: FileDigests, load: Callable[[], Pipeline]) -> list[str]:
    """What a model is: digests of its weights or files, or the commit of its repository on the hub.

    Args:
        model: As `load_pipeline` takes it.
        digests: Digests of files.
        load: Loads it, where only that tells what it is.

    Raises:
        FergiRewardError: It cannot be loaded.
    """
    if is_registered(model):
        return [model, pipeline_digest(load())]
    if Path(model).exists():
        return weights_content(Path(model), digests)
    if (commit := _commit(model)) is None:
        load()
        commit = _commit(model)
    return [model, str(commit)]


def weights_content(path: Path, digests: FileDigests) -> list[str]:
    """What the files of an adapter or a network are: their names and digests, all but text about them."""
    if path.is_file():
        return [digests(path)]
    files = sorted(each for each in path.rglob("*") if each.is_file() and each.suffix != ".md")
    return [text for each in files for text in (each.relative_to(path).as_posix(), digests(each))]


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


def _commit(repository: str) -> str | None:
    """The commit of the copy in the hub's cache, None where there is none."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "model_index.json")
    return Path(found).parent.name if isinstance(found, str) else None
