"""`paper-v3`; tests/eval/test_fergi_paper.py holds it against the paper's totals."""

import pytest

from fergi_reward.calibration import paper_v3
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.table import PreferenceTable


def test_the_calibration_weighs_scores_alone(simulated):
    outcome = paper_v3.run(read_fergi(simulated), seed=0)
    assert outcome.published == {}  # those are of other people
    fits = {fit.name: fit for fit in outcome.fits}
    assert list(fits) == ["image_reward", "pickscore", "hps_v2", "weighted_sum"]
    assert sum(term.weight for term in fits["weighted_sum"].terms) == pytest.approx(1)


def test_tables_that_cannot_be_fitted(simulated):
    table = read_fergi(simulated)
    with pytest.raises(FergiRewardError, match="only 1 is left"):
        paper_v3.run(table.without_users(table.users[1:]), seed=0)
    units = [name for name in table.images if name.startswith("au")]
    with pytest.raises(FergiRewardError, match="needs action units"):
        paper_v3.run(PreferenceTable(table.images.drop(columns=units), au_source="test"), seed=0)
