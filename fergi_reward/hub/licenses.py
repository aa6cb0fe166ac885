"""Licenses of what others published, as its publishers state them: told when it first comes to this machine."""

import sys
from collections.abc import Iterable
from functools import cache

from fergi_reward.core.terminal import one_line
from fergi_reward.hub.published import REPOSITORIES, SCORERS

FERGI = "FERGI's data: MIT, and its authors ask that they are used for research"
UNKNOWN = "not known here: see its page"


def license_of(repository: str) -> str | None:
    """The license of a repository of the hub; None where it is not known here.

    >>> license_of("THUDM/ImageReward"), license_of("somebody/else")
    ('Apache-2.0', None)
    """
    known = {each.name: each.license for repositories in REPOSITORIES.values() for each in repositories}
    return known.get(repository)


def scorer_licenses(terms: Iterable[str]) -> dict[str, str]:
    """By term, the licenses of the published weights of those scorers that have any here.

    >>> scorer_licenses(["pickscore", "mine"])
    {'pickscore': 'none stated (its code: MIT)'}
    """
    return {
        term: "; ".join(dict.fromkeys(repository.license for repository in SCORERS[term]))
        for term in terms
        if term in SCORERS
    }


@cache
def say_license(repository: str) -> None:
    """Print, once per process, under which license something was downloaded, on the standard error stream."""
    print(one_line(f"downloaded {repository}; license: {license_of(repository) or UNKNOWN}"), file=sys.stderr)
