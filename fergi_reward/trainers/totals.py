"""Numbers of images over all processes, and how many batches of each process they come to.

A publication states how many images an update has on all its GPUs. On another number of them the same total takes other
batches, or does not divide, which is refused.
"""

import os

from fergi_reward.core.errors import FergiRewardError


def launched_processes() -> int:
    """How many processes the launcher started, by the variable that torchrun and accelerate set.

    Raises:
        FergiRewardError: It is no such number.
    """
    given = os.environ.get("WORLD_SIZE", "1")
    if not (given.isdecimal() and int(given)):
        raise FergiRewardError(f"WORLD_SIZE is {given!r}, must be the number of processes, 1 or more")
    return int(given)


def counted_processes(number: int) -> str:
    """A number of processes in words.

    Example:
        >>> counted_processes(1), counted_processes(2)
        ('1 process', '2 processes')
    """
    return f"{number} process{'es' * (number != 1)}"


def batches_each(total: int, batch_size: int, processes: int) -> int:
    """The batches of a process that come to `total` images over all of them; see `total_problems`."""
    return max(1, total // (processes * batch_size))


def total_problems(
    total: int | None, batch_size: int, batches: int, default: int, names: tuple[str, str, str], processes: int
) -> list[str]:
    """One clause if a total does not divide, or if the batches are given too and come to another.

    Args:
        total: Images over all processes, None where no total is stated.
        batch_size: Images of a batch, on each process.
        batches: The option for the number of batches of each process.
        default: Its default, with which it does not count as given.
        names: What these options are called: the total, the batch size, the batches.
        processes: How many train.
    """
    if total is None or total < 1 or batch_size < 1:
        return []
    its, size, number = names
    at_once, all_of_them = processes * batch_size, counted_processes(processes)
    if total % at_once:
        return [
            f"{its} is {total}, which the {at_once} of {size} {batch_size} on {all_of_them} do not divide: "
            f"take a multiple of {at_once}, or another {size} or number of processes"
        ]
    if batches not in (default, total // at_once):
        return [
            f"{number} is {batches}, but {its} {total} takes {total // at_once} batches on each of {all_of_them}: "
            f"leave {number} out"
        ]
    return []
