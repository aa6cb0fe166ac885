"""`fergi-reward fit-predictor`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.cli.command import Answer, command
from fergi_reward.core.command_line import command_line
from fergi_reward.core.options import Options, option, required, seed_option
from fergi_reward.data.options import AU_SOURCE, IMAGES
from fergi_reward.scorers.options import DEVICE_HELP

TOWER = "pickscore"


@dataclass(frozen=True, kw_only=True)
class FitPredictorOptions(Options):
    """The options of `fergi-reward fit-predictor`."""

    reactions: Path = required("The viewers: a folder of extract, or in FERGI's layout.")
    images: Path = required(f"What they saw: {IMAGES}")
    au_source: str | None = option(None, AU_SOURCE)
    decay: float | None = option(
        None,
        "Decay of the valence: that of the calibration that will weigh it; the shipped one has 0.4 with all its "
        "scorers. [default: 0.4 in units of the source's scale]",
        above=0,
    )
    checkpoints: Mapping[str, str] | None = option(
        None,
        "A local checkpoint of PickScore, whose towers it reads: pickscore=models/pickscore.",
        metavar="pickscore=FOLDER",
        old=("checkpoint",),
    )
    device: str | None = option(None, DEVICE_HELP)
    batch_size: int = option(32, "Pictures per batch.", at_least=1)
    seed: int = seed_option(0, "Seed of folds, halves and starting weights.")
    out: Path = option(Path("predictor"), "The folder to write.")

    def problems(self) -> list[str]:
        """Checkpoints of other scorers."""
        others = [name for name in self.checkpoints or {} if name != TOWER]
        return [
            f"checkpoints names {name}, must be pickscore=FOLDER: the predictor reads PickScore's" for name in others
        ]


@command
def fit_predictor(options: FitPredictorOptions) -> Answer:
    """Fit what predicts the reaction to a picture that nobody looks at, and say whether it is any good."""
    from fergi_reward.core.devices import named_device
    from fergi_reward.data.layouts import check_still_there, read_reactions
    from fergi_reward.data.shown_pictures import read_pictures
    from fergi_reward.data.training_consent import for_training
    from fergi_reward.faces.run import figures, summary
    from fergi_reward.faces.run import fit_predictor as run
    from fergi_reward.scorers.pickscore import PickScorer

    table, notes = for_training(read_reactions(options.reactions, options.au_source), options.reactions)
    pictures = read_pictures(options.images)
    place = (options.checkpoints or {}).get(TOWER)
    tower = PickScorer.from_pretrained(place, device=named_device(options.device))
    predictor = run(
        table,
        pictures,
        tower,
        decay=options.decay,
        seed=options.seed,
        batch_size=options.batch_size,
        command=command_line(),
    )
    predictor.save(options.out)
    check_still_there(table, options.reactions, options.out)
    values = {"predictor": str(options.out), **figures(predictor)}
    return Answer(f"{summary(predictor)}\npredictor: {options.out}", values, notes)
