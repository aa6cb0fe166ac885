"""`fergi-reward score`."""

from fergi_reward.bulk.options import ScoreOptions, errors_file
from fergi_reward.cli.command import Answer, command
from fergi_reward.core.counts import counted


@command(resumes=True)
def score(options: ScoreOptions) -> Answer | None:
    """Score images; resumes where it was stopped. Under `torchrun` the processes share the work."""
    from fergi_reward.bulk.run import rows_of, run

    done = run(options)
    if done is None:  # another process writes the table
        return None
    text = f"scores of {counted(done.scored, 'image')}: {options.out}"
    if options.has_reward:
        text += f", reward with {options.weighed_by}"
    else:
        text += "\nno column reward: --calibration shipped, a file of yours or --weights adds it"
    if first := next(rows_of(options), None):
        text += f"\nthe first is {first.image}: {first.prompt!r:.100}"
    if done.kept:
        text += f"\n{done.kept} of its rows were kept from a run that did not end, the others were scored now"
    if options.calibration and options.scorers is None:
        text += f"\nthe scorers are those of the calibration: {', '.join(options.scorer_names)}"
    counts = {"scored": done.scored, "kept": done.kept, "failed": done.failed}
    values = {**counts, "out": str(options.out), "scorers": options.scorer_names}
    notes = []
    if done.again:
        again = f"{counted(done.again, 'row')}, the first of {done.first_again}"
        notes.append(f"{options.images} repeats {again}: the table has each of them")
    if not done.failed:
        return Answer(text, values, notes)
    failed = errors_file(options.out)
    notes.append(f"{done.failed} images could not be scored: {failed}")
    return Answer(text, values | {"errors": str(failed)}, notes, status=3)
