"""`fergi-reward best-of`."""

from fergi_reward.bulk.options import BestOfOptions
from fergi_reward.cli.command import Answer, command
from fergi_reward.core.counts import counted


@command(resumes=True)
def best_of(options: BestOfOptions) -> Answer:
    """Draw several pictures of each prompt, keep the one with the highest reward; resumes where it was stopped."""
    from fergi_reward.bulk.best_of import run

    done, out = run(options), options.out
    means = f"{done.single:.3f} of one picture, {done.best:.3f} of the best of {options.n}"
    places = {"pictures": out / "best", "scores": out / "scores.csv", "overview": out / "best_and_worst.png"}
    unit = f" ({done.unit})" if done.unit else ""
    text = (
        f"mean reward over {counted(done.prompts, 'prompt')}: {means}{unit}\n"
        f"pictures: {places['pictures']}; all scores: {places['scores']}; look at {places['overview']}"
    )
    values = {"prompts": done.prompts, "mean_reward": done.single, "mean_reward_of_best": done.best}
    notes = [
        f"an earlier run's pictures of {counted(done.replaced, 'prompt')} were replaced, as its options or prompts "
        "were others: another --out keeps both"
    ] * bool(done.replaced)
    return Answer(text, values | {name: str(place) for name, place in places.items()}, notes)
