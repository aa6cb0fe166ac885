"""`--config`: a YAML file with options as keys, or the name of one that is shipped."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.shipped import shipped_folder


def config_path(name: str) -> Path:
    """The file that `--config` names.

    Args:
        name: A file, or a shipped configuration such as `ddpo_sd15` or `ddpo/sd14_aesthetic_paper`.

    Raises:
        FergiRewardError: There is neither.
    """
    path, shipped = Path(name), _shipped()
    if path.exists() or path.suffix:
        return path
    if name in shipped:
        return shipped[name]
    if path.parent != Path():
        return path
    near = difflib.get_close_matches(name, shipped, n=1)
    advice = f"did you mean {near[0]}? " if near else ""
    raise FergiRewardError(f"there is no configuration {name!r}: {advice}{known_configs()}")


def known_configs() -> str:
    """What `--config` may name, for errors."""
    return f"give a file, or one of {', '.join(_shipped())}"


def _shipped() -> dict[str, Path]:
    folder = shipped_folder("configs")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def read_config(path: Path) -> Mapping[str, Any]:
    """The values of a YAML file by option, without those that are null.

    Raises:
        FergiRewardError: It is no YAML mapping.
    """
    from fergi_reward.files.yaml_files import read_yaml

    try:
        values = read_yaml(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise FergiRewardError(f"cannot read the configuration: {path}: {why}") from error
    if not isinstance(values, dict):
        raise FergiRewardError(f"{path} must contain a YAML mapping, `option: value` lines, got {values!r}")
    names = [str(key).replace("-", "_") for key in values]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise FergiRewardError(f"{path} gives the option {twice} twice: keep one")
    return {name: value for name, value in zip(names, values.values(), strict=True) if value is not None}
