"""`--config FILE.yaml`: a command's options as keys of a YAML file; what the command line gives goes first."""

import difflib
from pathlib import Path
from typing import Any

import click

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.yaml_files import read_yaml


class Names(click.ParamType):
    """Names with commas between; in a YAML file they may be a list as well."""

    name = "text"


NAMES = Names()


def read_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Make the values of a YAML file the defaults of the command's options: a callback of click.

    Raises:
        FergiRewardError: It is no YAML mapping, or a key or value cannot be an option.
    """
    if path is None:
        return
    try:
        values = read_yaml(path) or {}
    except (OSError, ValueError) as error:
        raise FergiRewardError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise FergiRewardError(f"{path} should hold the command's options as `key: value` lines, got {values!r}")
    options = {_name(option): option for option in ctx.command.params if isinstance(option, click.Option)}
    del options["config"]
    settings = {str(key).replace("_", "-"): value for key, value in values.items()}
    problems = [_problem(name, value, options) for name, value in settings.items()]
    if found := [problem for problem in problems if problem]:
        raise FergiRewardError(f"{path}: {'; '.join(found)}")
    defaults = {
        str(options[name].name): _as_text(value, options[name]) for name, value in settings.items() if value is not None
    }
    ctx.meta["config"] = path
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _name(option: click.Option) -> str:
    """As on the command line, without the dashes."""
    return option.opts[0].lstrip("-")


def _problem(name: str, value: object, options: dict[str, click.Option]) -> str | None:
    """Why a key or its value cannot be used; None where it can."""
    if name not in options:
        near = difflib.get_close_matches(name, options, n=1)
        advice = f"did you mean {near[0]}?" if near else f"it knows {', '.join(options)}"
        return f"unknown option {name} ({advice})"
    if value is None:
        return None
    option = options[name]
    if option.is_flag:
        return None if isinstance(value, bool) else f"{name} is {value!r}, must be true or false"
    if option.multiple or (isinstance(option.type, Names) and isinstance(value, list)):
        texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return None if texts else f"{name} is {value!r}, must be a list of texts"
    scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
    return None if scalar else f"{name} is {value!r}, must be one text or number"


def _as_text(value: Any, option: click.Option) -> Any:  # noqa: ANN401 - what YAML holds, checked above
    """As on the command line, where click checks and converts it."""
    if isinstance(value, list):
        return value if option.multiple else ",".join(value)
    return value if isinstance(value, bool) else str(value)
