import json
from dataclasses import replace
from pathlib import Path

import pytest

from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.calibration.protocols import calibrate
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import read_fergi


def calibration():
    fits = (
        Fit("pickscore", (Term("pickscore", 20.0, 2.0, 0.5),), accuracy=0.6, ci95=(0.5, 0.7), log_loss=0.65),
        Fit("pickscore+au4", (Term("pickscore", 20.0, 2.0, 0.4), Term("au4", -0.2, 0.1, 0.3, 0.4))),
    )
    return Calibration("test", "fergi-ir50", fits, {"fingerprint": "00", "pairs": 3}, "0.1.0", "made by hand", 0)


@pytest.mark.parametrize("kind", [Path, str])
def test_json_gives_back_what_was_saved_under_a_path_or_a_text(kind, tmp_path):
    calibration().save(kind(tmp_path / "c.json"))
    assert Calibration.load(kind(tmp_path / "c.json")) == calibration()


def test_two_runs_write_the_same_file(simulated, tmp_path):
    for name in ("a", "b"):
        calibrate(read_fergi(simulated), seed=3).calibration.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_fingerprint_is_that_of_the_weights():
    def weighing(weight):
        return replace(calibration(), fits=(Fit("pickscore", (Term("pickscore", 20.0, 2.0, weight),)),)).fingerprint()

    assert calibration().fingerprint() == replace(calibration(), command="another", seed=1).fingerprint()
    assert weighing(0.1 + 0.2) == weighing(0.3)  # equal except for the last bit
    assert weighing(0.3) != weighing(0.30001)
    assert calibration().fingerprint() != replace(calibration(), au_source="pyfeat-v2").fingerprint()


def test_action_units_are_no_scorers():
    assert calibration().scorers == ("pickscore",)
    assert Calibration.shipped().scorers == ("image_reward", "pickscore", "hps_v2")


def test_fits_are_found_by_their_terms():
    assert calibration().fit_for(["au4", "pickscore"]).name == "pickscore+au4"
    with pytest.raises(
        FergiRewardError,
        match=r"no weights for the terms hps_v2, au4: choose one of the sets pickscore; pickscore, au4, or",
    ):
        calibration().fit_for(["hps_v2", "au4"])
    with pytest.raises(
        FergiRewardError, match=r"no weights for the terms hps_v2: choose one of the sets pickscore, or"
    ):
        calibration().fit_for(["hps_v2"])


def test_the_shipped_calibration_names_its_command_and_its_data(fergi):
    """That its fits are those of this command: `test_what_fergi_gives`, with every face."""
    shipped = Calibration.shipped()
    assert shipped.command.startswith("fergi-reward calibrate --config configs/calibrate_all_aus.yaml")
    assert len(shipped.fits) == 7 * 4 + 3  # each set of scorers without and with each of three faces, and these alone
    table = read_fergi(fergi).with_reactions()
    assert shipped.dataset == {
        "fingerprint": table.fingerprint(),
        "participants": 33,
        "users": table.users,
        "images": 2217,
        "pairs": len(table.pairs()),
    }
    full = shipped.fit_for(["image_reward", "pickscore", "hps_v2", "au4"])
    assert all(term.weight > 0 for term in full.terms)


def removed(record):
    del record["fits"][0]["terms"][0]["mean"]


FAULTS = {
    "unknown schema": (lambda record: record.update(schema=99), "has schema 99, this version reads 2"),
    "no schema": (lambda record: record.pop("schema"), "has schema None"),
    "other valence": (lambda record: record.update(valence_transform="tanh"), "valence_transform is 'tanh'"),
    "missing key": (lambda record: record.pop("au_source"), "lacks au_source"),
    "unknown key": (lambda record: record.update(extra=1), "has unknown extra"),
    "missing key in a term": (removed, "fit 1, term 1: lacks mean"),
    "nan": (
        lambda record: record["fits"][0]["terms"][0].update(weight=float("nan")),
        "NaN is no JSON number",
    ),
    "infinity": (
        lambda record: record["fits"][0].update(ci95=[0.5, float("inf")]),
        "Infinity is no JSON number",
    ),
    "text": (lambda record: record["fits"][0]["terms"][0].update(std="1"), "std is '1', must be a finite number"),
    "no spread": (lambda record: record["fits"][0]["terms"][0].update(std=0), "std of pickscore is 0"),
    "fits no list": (lambda record: record.update(fits={"a": 1}), "fits is .*, must be a list that is not empty"),
    "no fits": (lambda record: record.update(fits=[]), "fits is .*, must be a list that is not empty"),
    "fit no mapping": (lambda record: record.update(fits=[None]), "fit 1 should be a mapping"),
    "term twice": (lambda record: record["fits"][0].update(terms=record["fits"][0]["terms"] * 2), "given twice"),
    "au4 without decay": (lambda record: record["fits"][1]["terms"][1].update(decay=None), "decay of au4 is None"),
    "scorer with decay": (lambda record: record["fits"][0]["terms"][0].update(decay=1.0), "decay of pickscore is 1.0"),
    "users null": (lambda record: record["dataset"].update(users=None), "users is None, must be a list of texts"),
    "weight true": (lambda record: record["fits"][0]["terms"][0].update(weight=True), "weight is True"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_file_is_refused_by_name(tmp_path, fault):
    path = tmp_path / "c.json"
    calibration().save(path)
    record = json.loads(path.read_text())
    damage, message = FAULTS[fault]
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(FergiRewardError, match=message) as error:
        Calibration.load(path)
    assert str(path) in str(error.value)


def test_what_calibrate_is_asked_for_exists(simulated):
    with pytest.raises(
        FergiRewardError, match=r"no protocol 'paper-v9': did you mean paper-v.\? installed are bradley"
    ):
        calibrate(read_fergi(simulated), "paper-v9")


def test_the_shipped_one_has_a_name_and_a_missing_file_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Calibration.load("shipped") == Calibration.shipped()
    calibration().save("shipped")
    assert Calibration.load("./shipped") == calibration()
    with pytest.raises(FergiRewardError, match=r"no calibration file none: .*`shipped` .*without a calibration, leave"):
        Calibration.load("none")


@pytest.mark.parametrize("content", ["{", "[1]", "[" * 100_000, None])
def test_what_is_no_calibration_is_refused(tmp_path, content):
    path = tmp_path / "c.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FergiRewardError, match=r"c\.json"):
        Calibration.load(path)
