"""The commands by name. Nothing else is imported: the overview and the version are printed at once."""

from fergi_reward.version import __version__

ABOUT = "Rewards for text-to-image models: scorers, the viewer's face, and weights fitted to preferences."
VERSION = f"fergi-reward, version {__version__}"
# By name, where it is (a function, or a group of commands) and what it does.
COMMANDS = {
    "score": ("fergi_reward.cli.score:score", "Score images."),
    "serve": ("fergi_reward.cli.serve:serve", "Serve the reward to other programs over HTTP."),
    "client": ("fergi_reward.cli.serve:client", "Write the one file that asks such a server."),
    "best-of": ("fergi_reward.cli.best_of:best_of", "Draw several pictures of each prompt, and keep the best."),
    "train": ("fergi_reward.cli.train:app", "Fine-tune a model."),
    "evaluate": ("fergi_reward.cli.evaluate:app", "Evaluate rewards and tuned models, with intervals."),
    "collect": (
        "fergi_reward.cli.collect:collect",
        "Show pictures to people: judgements and reactions.",
    ),
    "calibrate": ("fergi_reward.cli.calibrate:calibrate", "Fit the weights of the reward to preferences."),
    "export": ("fergi_reward.cli.export:export", "Write the weights as another training program reads them."),
    "annotate": ("fergi_reward.cli.annotate:annotate", "Say from faces which of two pictures is preferred."),
    "fit-predictor": ("fergi_reward.cli.predictor:fit_predictor", "Fit what predicts the reaction to a picture."),
    "extract": ("fergi_reward.cli.react:extract", "Measure action units in videos of viewers who agreed."),
    "map-source": ("fergi_reward.cli.react:map_source", "Fit a map of AU4 between the scales of two sources."),
    "forget": ("fergi_reward.cli.react:forget", "Delete a participant."),
    "activations": ("fergi_reward.cli.data:activations", "Compute FERGI's activations from the frames."),
    "data": ("fergi_reward.cli.data:app", "Get the FERGI data, or simulate some."),
    "scorers": ("fergi_reward.cli.scorers:scorers", "List the scorers."),
    "download": ("fergi_reward.cli.scorers:download", "Download scorers and base models, each file checked."),
}


def overview() -> str:
    """What `fergi-reward --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {help}" for name, (_, help) in COMMANDS.items()]
    return "\n".join(
        ["Usage: fergi-reward COMMAND", "", ABOUT, "", "Commands:", *lines, "", "COMMAND --help explains its options."]
    )


def answer_at_once(words: list[str]) -> str | None:
    """The overview or the version, where that is asked for."""
    if words == ["--version"]:
        return VERSION
    return overview() if words in ([], ["--help"], ["-h"]) else None
