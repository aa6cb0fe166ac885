"""Protocols, benchmarks and backends of other people."""

import json

import numpy as np
import pytest

from fergi_reward import calibrate, read_fergi
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.backends import load_backend
from fergi_reward.reactions.video import VideoFrame
from tests.command_line import invoke


def test_a_protocol_calibrates_from_the_command_line(simulated, tmp_path):
    command = ["calibrate", "--data", str(simulated), "--protocol", "doubled", "--scorers", "pickscore"]
    result = invoke([*command, "--out", str(tmp_path / "out.json")])
    assert result.exit_code == 0, result.output
    ours = calibrate(read_fergi(simulated), scorers=["pickscore"]).calibration
    theirs = Calibration.load(tmp_path / "out.json")
    assert theirs.protocol == "doubled"
    for fit, twice in zip(ours.fits, theirs.fits, strict=True):
        assert [term.weight for term in twice.terms] == pytest.approx([2 * term.weight for term in fit.terms])


def test_a_protocol_that_gives_nothing_or_does_not_take_an_option_is_refused(simulated):
    table = read_fergi(simulated)
    with pytest.raises(
        FergiRewardError, match=r"'no_outcome' \(somebodys-rewards 1.2\) gave a NoneType, must give an Out"
    ):
        calibrate(table, "no_outcome")
    with pytest.raises(FergiRewardError, match="doubled chooses itself what it weighs: leave aus out, got all"):
        calibrate(table, "doubled", scorers=["pickscore"], aus=["all"])
    with pytest.raises(
        FergiRewardError, match=r"protocol 'doubled' \(somebodys-rewards 1.2\) failed: TypeError: .*scorers"
    ):
        calibrate(table, "doubled")


def test_a_benchmark_judges_scorers_from_the_command_line(tmp_path, no_plots):
    command = ["evaluate", "preferences", "--dataset", "greys", "--data", "here", "--scorers", "brightness,darkness"]
    result = invoke([*command, "--device", "cpu", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "report.json").read_text())
    assert {model["name"]: model["accuracy"] for model in record["models"]} == {"brightness": 1.0, "darkness": 0.0}
    assert record["provenance"]["versions"]["scorer brightness"] == "of somebodys-rewards 1.2"


def test_a_backend_measures_frames_and_takes_its_model():
    backend = load_backend("lightness", "a.model")
    (face,) = backend.measure([VideoFrame(0.0, np.full((2, 2, 3), 51, np.uint8))])
    assert (backend.model, face.intensities) == ("a.model", (pytest.approx(0.2),))
    with pytest.raises(
        FergiRewardError, match=r"'blind' \(somebodys-rewards 1.2\) has no source, version, action_units"
    ):
        load_backend("blind")
    with pytest.raises(FergiRewardError, match=r"--model a.model is not for blind, which takes none"):
        load_backend("blind", "a.model")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["calibrate", "--protocol", "doublet"], "there is no protocol 'doublet': did you mean doubled?"),
        (["evaluate", "preferences", "--dataset", "fergy"], "there is no benchmark 'fergy': did you mean fergi?"),
        (["extract", "--videos", "x", "--backend", "light"], "there is no backend 'light': did you mean lightness?"),
    ],
)
def test_a_name_that_nobody_brings_is_one_sentence(command, sentence):
    result = invoke(command)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert sentence in result.output
