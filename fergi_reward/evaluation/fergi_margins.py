"""FERGI, or a folder of own viewers: scores and reactions are recorded there, no model runs.

A calibration that was fitted on the very data flatters itself. One of protocol `bradley-terry` is therefore fitted
again without each participant, as `fergi-reward calibrate` does it; any other is judged as it is, and marked.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fergi_reward.calibration import grid
from fergi_reward.calibration.bradley_terry import Model, choose, held_out_margins, reaction_name
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.table import Pairs, PreferenceTable
from fergi_reward.evaluation.benchmarks.rankings import exclusion
from fergi_reward.evaluation.margins import AllMargins, ModelMargins
from fergi_reward.evaluation.preferences_result import Data, PublishedFigure, Seen
from fergi_reward.evaluation.run_record import Exclusion
from fergi_reward.faces.face import AU4
from fergi_reward.faces.recorded import Recorded
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.reactions.sources import FERGI, SIMULATED
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.registry import term_name
from fergi_reward.stats.held_out import HeldOut

SOURCE = "FERGI, arXiv 2312.03187, version 1"
PROTOCOL = (
    "Published: pairs of the 30 participants whose brow is steady before the images appear (protocol paper-v1); the "
    "column 'as published' is the accuracy on these. The accuracy is of everybody's pairs.",
    "A pair is of two images of a session whose reaction clips are both valid; a model's tie counts as wrong, as "
    "published.",
    "weighted_sum, au4 and their sums are the paper's own weights: `fergi-reward calibrate --protocol paper-v1`.",
)


def fergi_margins(
    everything: PreferenceTable, place: str, scorers: Sequence[str], calibrations: Mapping[str, Calibration]
) -> AllMargins:
    """The margins of recorded scores and of calibrations on the pairs that people ranked.

    Args:
        everything: What they did.
        place: Where that is, for the report.
        scorers: Whose columns are judged and weighed.
        calibrations: By the name that reports give them.

    Raises:
        FergiRewardError: A column is missing, or no pair is left.
    """
    seen_faces = everything.images[AU4].notna().any()
    viewed = _Viewed.of(everything.with_reactions() if seen_faces else everything)
    terms = list(dict.fromkeys(map(term_name, scorers)))
    models, notes = [viewed.scorer(term) for term in terms], []
    for name, calibration in calibrations.items():
        judged, remarks = viewed.calibration(name, calibration, terms)
        models += judged
        notes += remarks
    return AllMargins(
        _data(viewed, place),
        models,
        _exclusions(everything, viewed.table),
        [PublishedFigure(model, accuracy, SOURCE) for model, accuracy in viewed.published.items()],
        PROTOCOL if viewed.published else (),
        notes,
    )


@dataclass(frozen=True)
class _Viewed:
    """What participants viewed: the images that count, their pairs, and which are of steady participants."""

    table: PreferenceTable
    pairs: Pairs
    steady: NDArray[np.bool_]
    published: Mapping[str, float]

    @classmethod
    def of(cls, table: PreferenceTable) -> "_Viewed":
        pairs = table.pairs()
        if not len(pairs):
            raise FergiRewardError("no pair of images with valid reaction clips is left: is it the right folder?")
        if not table.has_baseline:
            return cls(table, pairs, np.zeros(len(pairs), dtype=bool), {})
        unsteady = list(grid.unsteady_participants(table))
        is_fergi = table.without_users(unsteady).fingerprint() == grid.FERGI_FINGERPRINT
        published = {model: round(percent / 100, 4) for model, percent in grid.PUBLISHED.items()} if is_fergi else {}
        return cls(table, pairs, ~np.isin(pairs.users, unsteady), published)

    def scorer(self, term: str) -> ModelMargins:
        """The margins of a column of scores."""
        scores = self.table.columns([term])[:, 0]
        return self._model(term, "scorer", "nothing", scores[self.pairs.better] - scores[self.pairs.worse])

    def calibration(
        self, name: str, calibration: Calibration, scorers: Collection[str]
    ) -> tuple[list[ModelMargins], list[str]]:
        """The margins of a calibration, without and with the face, and a remark on them."""
        terms = [term for term in calibration.scorers if term in scorers]
        if not terms:
            return [], [f"{name} weighs none of {', '.join(scorers)}: it is not judged."]
        seen, remark = self._seen(name, calibration)
        sets = {name: terms}
        if calibration.au_source != self.table.au_source:
            remark += f" Its action units are of {calibration.au_source}, these of {self.table.au_source}: no face."
        else:
            weighed = [fit.units for fit in calibration.fits if {*fit.term_names} == {*terms, *fit.units} and fit.units]
            known = self._known_units()
            if lacking := sorted({unit for units in weighed for unit in units} - known):
                remark += f" It also weighs {', '.join(lacking)}, which some of these images lack: not judged."
            sets |= {f"{name}+{reaction_name(units)}": [*terms, *units] for units in weighed if known >= {*units}}
        margins = self._left_out if seen == "left out" else self._totals
        log_odds = calibration.protocol == "bradley-terry"
        return [
            self._model(model, "calibration", seen, margins(calibration, chosen), log_odds)
            for model, chosen in sets.items()
        ], [remark]

    def _known_units(self) -> set[str]:
        """The action units that every image has."""
        images = self.table.images
        return {name for name in images if is_action_unit(name) and images[name].notna().all()}

    def _seen(self, name: str, calibration: Calibration) -> tuple[Seen, str]:
        """What a calibration's weights have seen of these participants, and how to say it."""
        if calibration.is_by_hand:
            return "by hand", f"{name} was not fitted: its weights are by hand."
        if "users" not in calibration.dataset:
            return "unknown", f"{name} does not say whom it was fitted on: these people may be among them."
        users = set(self.pairs.users)
        known = sum(calibration.used(user, str(self.table.measured_by)) for user in users)
        if not known:
            return "nothing", f"{name} was fitted on other people."
        if calibration.protocol == "bradley-terry" and calibration.dataset["fingerprint"] == self.table.fingerprint():
            return "left out", f"{name} was fitted on these data: each participant is judged by a fit without them."
        flattered = f"{name} was fitted on {known} of these {len(users)} participants: its figures are IN SAMPLE, they"
        return "in sample", f"{flattered} flatter it. Honest ones are what `fergi-reward calibrate` prints."

    def _left_out(self, calibration: Calibration, terms: list[str]) -> NDArray[np.float64]:
        """Margins of fits with these terms that leave each participant out."""
        fit = calibration.fit_for(terms)
        model = Model(fit.name, tuple(dict.fromkeys(fit.term_names)), self.table, self.pairs)
        return held_out_margins(model, choose(model, calibration.seed)).margins

    def _totals(self, calibration: Calibration, terms: list[str]) -> NDArray[np.float64]:
        """Margins of the reward as it is."""
        ids = list(map(str, range(len(self.table.images))))
        units = list(filter(is_action_unit, terms))
        scorers = [term for term in terms if term not in units]
        scores = dict(zip(scorers, torch.tensor(self.table.columns(scorers)).T, strict=True))
        activations = self.table.images[units].set_axis(ids).to_dict("index")
        weights = replace(calibration, fits=tuple(calibration.fit_for(each) for each in (scorers, terms)))
        face = Recorded(activations, calibration.au_source) if units else None
        totals = CombinedReward(scorers, weights, face=face).combine(scores, ids, ids).total.double().numpy()
        return totals[self.pairs.better] - totals[self.pairs.worse]

    def _model(
        self,
        name: str,
        kind: Literal["scorer", "calibration"],
        seen: Seen,
        margins: NDArray[np.float64],
        is_log_odds: bool = False,
    ) -> ModelMargins:
        as_published = float((margins[self.steady] > 0).mean()) if self.published else None
        held_out = HeldOut(name, margins, self.pairs.users, is_log_odds)
        return ModelMargins(held_out, kind, seen, as_published, self.published.get(name))


def _data(viewed: _Viewed, place: str) -> Data:
    table, pairs = viewed.table, viewed.pairs
    others = "SIMULATED viewers" if table.measured_by == SIMULATED else "own viewers"
    return Data(
        name="fergi",
        title="FERGI" if table.measured_by == FERGI else others,
        place=place,
        split=None,
        unit="participant",
        units=len(set(pairs.users)),
        images=len(np.union1d(pairs.better, pairs.worse)),
        pairs=len(pairs),
        fingerprint=table.fingerprint(),
    )


def _exclusions(everything: PreferenceTable, used: PreferenceTable) -> list[Exclusion]:
    """Images without a reaction, participants without a pair, and damaged rows."""
    blind = everything.images[everything.images[AU4].isna() & (used is not everything)]
    named = [f"{row.user}, session {row.session}, image {row.image}" for row in blind.itertuples()]
    paired = set(used.pairs().users)
    found = {
        ("images", "no valid reaction clip"): named,
        ("participants", "no pair left"): [user for user in everything.users if user not in paired],
        ("rows", "damaged or without a rating"): list(everything.left_out),
    }
    return [exclusion(what, reason, names) for (what, reason), names in found.items() if names]
