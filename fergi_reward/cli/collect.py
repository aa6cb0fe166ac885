"""`fergi-reward collect`."""

from fergi_reward.cli.command import Answer, command
from fergi_reward.collect.options import CollectOptions
from fergi_reward.core.counts import counted
from fergi_reward.core.errors import MissingDependencyError


@command
def collect(options: CollectOptions) -> Answer:
    """Serve a page on which people look at pictures and say which they prefer; their faces are measured, not filmed.

    With --offer-video participants who allow it are filmed, too. Ends by Ctrl-C or SIGTERM, and then writes the tables
    that `calibrate`, `annotate` and `fit-predictor` read.
    """
    try:
        import starlette as starlette
        import uvicorn as uvicorn
    except ImportError as error:
        raise MissingDependencyError(str(error.name), "fergi-reward collect", "collect") from error
    if options.simulate is not None:
        return _rehearsed(options, options.simulate)
    if options.expire:
        from fergi_reward.collect.retention import expire

        said = expire(options.out)
        return Answer("\n".join(said) or "nobody's retention has ended", {"expired": said})
    from fergi_reward.collect.calibrate_now import commands, shown
    from fergi_reward.collect.export import export
    from fergi_reward.collect.run import run

    done = export(options.out) if options.export else run(options)
    following = [shown(words) for words in commands(options, done)]
    judged = [f"{count} {name}" for name, count in done.judgements.items() if count]
    usable = f" ({counted(done.reactions, 'usable reaction')})" if done.camera else ""
    latency = f"; {done.latency_ms:.0f} ms from the order to show a picture to its paint" if done.latency_ms else ""
    lines = [
        f"{counted(done.participants, 'participant')}, {counted(done.trials, 'trial')}{usable}, "
        f"{', '.join(judged) or 'no judgements'}{latency}",
        f"written: {', '.join(map(str, done.files))}",
        *(f"next: {each}" for each in following),
    ]
    values = {
        "participants": done.participants,
        "trials": done.trials,
        "reactions": done.reactions,
        "latency_ms": done.latency_ms,
        "judgements": dict(done.judgements),
        "files": [str(path) for path in done.files],
        "next": following,
    }
    return Answer("\n".join(lines), values, done.notes)


def _rehearsed(options: CollectOptions, count: int) -> Answer:
    """How a rehearsal with simulated participants ended."""
    from fergi_reward.collect.simulation.rehearsal import rehearse

    found = rehearse(options, count)
    notes = [f"not as it was simulated: {problem}" for problem in found.problems]
    return Answer("\n".join(found.lines), found.values, notes, status=3 if notes else 0)
