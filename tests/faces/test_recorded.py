"""Recorded faces in the combined reward, against the calibration's own margins."""

import numpy as np
import torch

from fergi_reward.calibration.bradley_terry import SCORERS, Model, fit
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.hyperparameters import Hyperparameters
from fergi_reward.data.fergi import read_fergi
from fergi_reward.faces.recorded import Recorded
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.reward import CombinedReward


def test_on_fergi_differences_of_totals_are_the_margins_of_a_calibration_on_all_action_units(fergi):
    """The margins of the fit are worked out in float64 from the table, without the reward's own code."""
    table = read_fergi(fergi).with_reactions()
    units = [name for name in table.images if is_action_unit(name)]
    pairs, everybody = table.pairs(), table.images["user"]
    chosen = {SCORERS: Hyperparameters((), 0.01, 0.01), (*SCORERS, *units): Hyperparameters((0.4, 1.6), 0.01, 0.1)}
    everything = np.ones(len(pairs), dtype=bool)
    weights = [fit(Model(str(len(terms)), terms, table, pairs), everything, each) for terms, each in chosen.items()]
    assert len(units) == 12 and len(weights[1].terms) == 3 + 2 * 12
    reward = CombinedReward(
        SCORERS,
        Calibration("test", table.au_source, tuple(weights), {}, "", "", 0),
        face=Recorded.of(table, by="viewing"),
    )
    ids = (everybody + "/" + table.images["session"].astype(str) + "/" + table.images["image"].astype(str)).tolist()
    scores = {name: torch.tensor(table.images[name].to_numpy()) for name in SCORERS}
    output = reward.combine(scores, [""] * len(ids), ids)
    margins = np.zeros(len(pairs))
    for term in weights[1].terms:
        values = table.images[term.name].to_numpy(dtype=float)
        values = values if term.decay is None else -(1 - np.exp(-term.decay * values))
        margins += term.weight / term.std * (values[pairs.better] - values[pairs.worse])
    totals = output.total.double().numpy()
    np.testing.assert_allclose(totals[pairs.better] - totals[pairs.worse], margins, atol=1e-5)
    assert set(output.contributions) == {*SCORERS, *units} and not output.missing["au12"].any()
