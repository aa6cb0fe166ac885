"""Classes that a host knows by its own base class, which is there only where the host is installed."""

from importlib import import_module

from fergi_reward.core.errors import FergiRewardError


def of_host(name: str, adapter: type, module: str, base: str) -> type:
    """An adapter as a subclass of a host's class.

    Args:
        name: What the class is called, in the adapter's module.
        adapter: What answers the host's calls.
        module: The host's module.
        base: The class in it.

    Raises:
        FergiRewardError: The host is not installed, or has no such class.
    """
    try:
        found = getattr(import_module(module), base)
    except (ImportError, AttributeError) as error:
        raise FergiRewardError(
            f"{adapter.__module__}.{name} is a subclass of {module}.{base}, which cannot be imported ({error}): "
            f"install {module.partition('.')[0]} in this environment"
        ) from error
    return type(name, (adapter, found), {"__module__": adapter.__module__, "__doc__": adapter.__doc__})
