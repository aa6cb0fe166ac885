"""What `fergi-reward export` writes, read and added up as each host does it, orders images as the calibration does."""

import json
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
import yaml

from fergi_reward.adapters.host_options import host_reward
from fergi_reward.calibration.by_hand import by_hand
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.export.host import host_weights
from fergi_reward.export.hosts import HOSTS
from fergi_reward.export.options import HostName
from fergi_reward.reward import CombinedReward
from tests.command_line import invoke

ROWS, GROUP = 1000, 8
# How the hosts make their rewards of the scores that their models give, as far as that is not the score itself.
# PickScore: logits / 26 (flow_grpo/pickscore_scorer.py, flow_factory/rewards/pick_score.py, verl_omni's
# pickscore_reward.py, reward_service/scorers/pickscore.py). CLIP: logits, which are 100 cosines, / 30 (flow_grpo's
# clip_scorer.py, reward_service/scorers/clip.py).
OF_HOST = {
    "flow_grpo": {"pickscore": lambda x: x / 26, "clipscore": lambda x: 100 * x / 30},
    "flow-factory": {"pickscore": lambda x: x / 26},
    "verl-omni": {"pickscore": lambda x: x / 26},
    "unirl": {"pickscore": lambda x: x / 26, "clip": lambda x: 100 * x / 30},
}
# By what hosts call them, where that is not the term.
TERMS = {"imagereward": "image_reward", "clipscore": "clip", "hps_v2_1": "hps_v2.1"}
TERMS |= {"hpsv2_score": "hps_v2.1", "hpsv2": "hps_v2.1"}
MOMENTS = {
    "image_reward": (0.12, 1.06, 0.3),
    "pickscore": (20.8, 1.17, 0.6),
    "hps_v2.1": (0.27, 0.03, 0.4),
    "clip": (0.29, 0.03, -0.2),
    "aesthetic": (5.2, 0.5, 0.1),
}


@pytest.fixture
def five(tmp_path):
    """The file of a calibration of five scorers, one of which counts against an image."""
    moments = {name: (mean, std) for name, (mean, std, _) in MOMENTS.items()}
    path = tmp_path / "five.json"
    by_hand({name: weight for name, (*_, weight) in MOMENTS.items()}, moments).save(path)
    return path


def exported(host, *more):
    result = invoke(["export", "--for", host, *more])
    assert result.exit_code == 0, result.output
    return result.stdout


def random_scores(fit, seed=0):
    draws = np.random.default_rng(seed)
    return {term.name: draws.normal(term.mean, 2 * term.std, ROWS) for term in fit.terms}


def totals(fit, scores):
    return sum(term.weight * (scores[term.name] - term.mean) / term.std for term in fit.terms)


def rewards(host, name, scores):
    """What the host has for the images."""
    term = name if name in scores else TERMS[name] if TERMS[name] in scores else "hps_v2"
    return OF_HOST.get(host, {}).get(name, lambda x: x)(scores[term])


# Each reads the text as its host reads it, and adds up as that does.


def flow_grpo(text, scores):
    """flow_grpo/rewards.py, multi_score."""
    config = SimpleNamespace()
    exec(text, {"config": config})
    sums = [0.0] * ROWS
    for name, weight in config.reward_fn.items():
        sums = [one + weight * score for one, score in zip(sums, rewards("flow_grpo", name, scores), strict=True)]
    return np.array(sums)


def flow_factory(text, scores):
    """advantage_processor.py, compute_weighted_sum."""
    read = yaml.safe_load(text)
    assert read["train"] == {"advantage_aggregation": "sum"}
    sums = np.zeros(ROWS)
    for reward in read["rewards"]:
        sums += rewards("flow-factory", reward["name"], scores) * reward["weight"]
    return sums


def verl_omni(text, scores):
    """reward_loop/reward_manager/multi.py, MultiVisualRewardManager."""
    functions = yaml.safe_load(text)["reward"]["reward_functions"]
    assert all(entry["required"] is True for entry in functions.values())
    assert sum(float(entry["weight"]) for entry in functions.values()) > 0
    return sum(float(entry["weight"]) * rewards("verl-omni", key, scores) for key, entry in functions.items())


def unirl(text, scores):
    """unirl/reward/remote.py, RemoteRewardBackend._aggregate_scores."""
    config = yaml.safe_load(text)["reward"]["backend"]["config"]
    assert config["aggregation_method"] == "weighted_sum"
    weights = [config["reward_weights"][name] for name in config["required_rewards"]]
    columns = [rewards("unirl", name, scores) for name in config["required_rewards"]]
    assert sum(weights) > 0
    return sum(weight * column for weight, column in zip(weights, columns, strict=True)) / sum(weights)


def trl(text, scores):
    """trl/trainer/grpo_trainer.py, multi_objective_aggregation sum_then_normalize; there in float32."""
    args, functions = trl_arguments(text)
    assert args["multi_objective_aggregation"] == "sum_then_normalize"
    rows = torch.tensor(np.stack([rewards("trl", name, scores) for name in functions], axis=1))
    return (rows * torch.tensor(args["reward_weights"], dtype=torch.float64)).nansum(dim=1).numpy()


def trl_arguments(text):
    """The arguments of the trainer, and the scorers whose functions it is given."""
    code = text.replace("from trl import GRPOConfig", "")
    code = code.replace('PromptReward(pipeline, load_scorer(name, device="cuda"))', "SimpleNamespace()")
    names = {"GRPOConfig": dict, "SimpleNamespace": SimpleNamespace}
    exec(code, names)
    return names["args"], [function.__name__ for function in names["reward_funcs"]]


def python(text, scores):
    names: dict[str, object] = {}
    exec(text, names)
    return names["total"](scores)


ADDED = {"flow_grpo": flow_grpo, "flow-factory": flow_factory, "verl-omni": verl_omni}
ADDED |= {"unirl": unirl, "trl": trl, "python": python}


def test_there_is_an_arithmetic_for_each_host():
    assert (*ADDED,) == (*HOSTS,) == get_args(HostName)


@pytest.mark.parametrize("host", ADDED)
def test_the_shipped_weights_order_a_thousand_rows_as_the_reward_does(host):
    calibration = Calibration.shipped()
    fit = calibration.fit_for(["image_reward", "pickscore", "hps_v2"])
    scores = random_scores(fit)
    found = ADDED[host](exported(host), scores)
    assert (np.argsort(found) == np.argsort(totals(fit, scores))).all()

    ids = list(map(str, range(ROWS)))
    reward = CombinedReward(["image_reward", "pickscore", "hps_v2"], calibration)
    ours = reward.combine({name: torch.tensor(column) for name, column in scores.items()}, ids, ids).total.numpy()
    scale = np.polyfit(found, ours, 1)
    assert scale[0] > 0 and np.abs(np.polyval(scale, found) - ours).max() < 1e-5


@pytest.mark.parametrize("host", ADDED)
def test_so_do_those_of_five_scorers_on_the_scales_of_each_host(host, five):
    fit = Calibration.load(five).fits[0]
    scores = random_scores(fit, seed=1)
    found = ADDED[host](exported(host, "--calibration", five), scores)
    assert (np.argsort(found) == np.argsort(totals(fit, scores))).all()


@pytest.mark.parametrize("host", ["flow_grpo", "flow-factory", "verl-omni", "trl"])
def test_the_offset_makes_the_sum_the_total(host, five):
    record = json.loads(exported(host, "--calibration", five, "--json"))
    fit = Calibration.load(five).fits[0]
    scores = random_scores(fit, seed=2)
    found = ADDED[host](record["text"], scores) + record["offset"]
    assert np.abs(found - totals(fit, scores)).max() < 1e-6
    assert record["fingerprint"] == Calibration.load(five).fingerprint()
    assert record["fingerprint"][:16] in record["text"]


def gdpo(columns, weights, groups):
    """advantage_processor.py, compute_gdpo; TRL's normalize_then_sum differs by 1e-4 added to the deviations."""
    combined = np.zeros(ROWS)
    for column, weight in zip(columns, weights, strict=True):
        for group in np.unique(groups):
            of_it = column[groups == group]
            combined[groups == group] += weight * (of_it - of_it.mean()) / max(of_it.std(), 1e-6)
    return (combined - combined.mean()) / max(combined.std(), 1e-6)


def by_group(host, calibration):
    """The weights that the host multiplies standardised rewards by, and the names of these."""
    text = exported(host, "--calibration", calibration, "--by-group")
    if host == "trl":
        args, names = trl_arguments(text)
        assert args["multi_objective_aggregation"] == "normalize_then_sum"
        return args["reward_weights"], names
    read = yaml.safe_load(text)
    assert read["train"]["advantage_aggregation"] == "gdpo"
    return [reward["weight"] for reward in read["rewards"]], [reward["name"] for reward in read["rewards"]]


@pytest.mark.parametrize("host", ["flow-factory", "trl"])
def test_by_group_keeps_the_order_where_the_spreads_have_the_proportions_of_the_fit_and_only_there(host, five):
    weights, names = by_group(host, five)
    fit = Calibration.load(five).fits[0]
    groups, draws = np.arange(ROWS) // GROUP, np.random.default_rng(3)
    proportions = {term.name: np.empty(ROWS) for term in fit.terms}
    for group in np.unique(groups):
        spread = draws.uniform(0.2, 3)  # the group's own, the same for all scorers
        for term in fit.terms:
            column = draws.normal(size=GROUP)
            column = (column - column.mean()) / column.std()
            proportions[term.name][groups == group] = term.mean + spread * term.std * column
    other = proportions | {"pickscore": proportions["pickscore"] + 40 * (proportions["pickscore"] - 20.8)}
    kept = []
    for scores in (proportions, other):
        found = gdpo([rewards(host, name, scores) for name in names], weights, groups)
        wanted = totals(fit, scores)
        kept.append([(np.argsort(found[groups == g]) == np.argsort(wanted[groups == g])).all() for g in set(groups)])
    assert all(kept[0])
    assert not all(kept[1])


@pytest.mark.parametrize("host", ADDED)
def test_the_face_is_left_out_and_that_is_said(host):
    text = exported(host)
    assert "face" in text and "au4" not in text.lower()


def test_a_fit_is_chosen_by_name(five):
    assert "pickscore" in exported("python", "--fit", "pickscore") and "hps" not in exported(
        "python", "--fit", "pickscore"
    )
    with_face = next(fit.name for fit in Calibration.shipped().fits if fit.units)
    for name, why in ((with_face, "which no host measures"), ("nobody", "has no fit 'nobody'")):
        result = invoke(["export", "--for", "python", "--fit", name])
        assert result.exit_code == 2 and why in result.stderr and "choose one of image_reward, " in result.stderr


def test_weights_by_hand_are_those_of_raw_scores():
    scores = {"pickscore": np.arange(3.0), "hps_v2.1": np.ones(3)}
    text = exported("python", "--weights", "pickscore=0.5,hps_v2.1=2")
    assert python(text, scores).tolist() == [2.0, 2.5, 3.0]


def test_version_2_0_of_hps_is_not_taken_for_the_host_s_2_1():
    """flow_grpo and verl-omni have version 2.1 alone."""
    text = exported("flow_grpo")
    assert '"hps_v2": hps_v2,' in text and "hpsv2_score" not in text and 'load_scorer("hps_v2", device=device)' in text
    functions = yaml.safe_load(exported("verl-omni"))["reward"]["reward_functions"]
    assert functions["hps_v2"]["weights"] == {"hps_v2": 1.0}
    assert "hps_version: v2.0" in exported("unirl")


def test_what_a_host_lacks_is_an_adapter_that_gives_the_raw_score_of_one_scorer():
    entries = yaml.safe_load(exported("flow-factory"))["rewards"]
    adapter = "fergi_reward.adapters.flow_factory.PointwiseReward"
    assert [entry["reward_model"] for entry in entries] == [adapter, "pickscore", adapter]
    functions = yaml.safe_load(exported("verl-omni"))["reward"]["reward_functions"]
    assert "weights" not in functions["pickscore"]
    for entry, name in [(entries[0], "image_reward"), (entries[2], "hps_v2"), (functions["hps_v2"], "hps_v2")]:
        reward = host_reward({"weights": entry["weights"], "device": "cpu"})
        assert reward.names == [name]
        assert reward.combine({name: torch.tensor([0.25])}, ["a"]).total.tolist() == [0.25]
    assert functions["image_reward"]["path"] == "pkg://fergi_reward.adapters.verl_omni"
    assert callable(getattr(import_module("fergi_reward.adapters.verl_omni"), functions["image_reward"]["name"]))


def foreign(tmp_path, *names):
    path = tmp_path / "foreign.json"
    terms = tuple(Term(name, 1.0, 0.5, 0.3) for name in names)
    Calibration("bradley-terry", "none", (Fit("+".join(names), terms),), {}, "0", "", 0).save(path)
    return path


@pytest.mark.parametrize("host", ADDED)
def test_a_strange_scorer_passes_through_and_nothing_loads_it(host, tmp_path):
    text = exported(host, "--calibration", foreign(tmp_path, "clipscore_vitb32", "pickscore"))
    assert "clipscore_vitb32 is no scorer of fergi_reward" in text
    assert 'load_scorer("clipscore_vitb32"' not in text and 'drawn("clipscore' not in text


@pytest.mark.parametrize("host", ADDED)
def test_a_hostile_calibration_runs_nothing(host, tmp_path):
    names = ('x": 1}\n__import__("os")', "${oc.env:HOME}", "a\u2028b")
    for name in names:
        result = invoke(["export", "--for", host, "--calibration", foreign(tmp_path, name)])
        assert result.exit_code == 2 and "that no configuration can hold" in result.stderr
    quoted = 'it"s #1: {é} \\'
    text = exported(host, "--calibration", foreign(tmp_path, quoted))
    if host in ("flow-factory", "verl-omni", "unirl"):
        assert yaml.safe_load(text)
    else:
        compile(text, host, "exec")


def test_a_name_of_a_fit_begins_no_line(tmp_path):
    path = tmp_path / "c.json"
    fit = Fit("a\nimport os", (Term("pickscore", 1.0, 1.0, 1.0),))
    Calibration("bradley-terry", "none", (fit,), {}, "0", "", 0).save(path)
    assert "\nimport os" not in exported("python", "--calibration", path)


@pytest.mark.parametrize("host", ["verl-omni", "unirl"])
def test_weights_whose_sum_a_host_takes_for_none_are_refused(host):
    result = invoke(["export", "--for", host, "--weights", "pickscore=0.01,image_reward=-1"])
    assert result.exit_code == 2 and "add up to" in result.stderr


def test_two_rewards_of_one_name_are_refused(five):
    terms = (Term("hps_v2", 0.0, 1.0, 1.0), Term("hps_v2.1", 0.0, 1.0, 1.0))
    with pytest.raises(Exception, match="two terms of both are called hpsv2 in unirl"):
        host_weights(HOSTS["unirl"], Fit("both", terms))


def test_small_numbers_are_floats_in_every_yaml(tmp_path):
    """YAML 1.1 takes 1e-07 for a text."""
    text = exported("flow-factory", "--weights", "image_reward=0.0000001,pickscore=1000000")
    assert [reward["weight"] for reward in yaml.safe_load(text)["rewards"]] == [1e-7, 2.6e7]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--for", "nemo"], "for is 'nemo', must be one of flow_grpo"),
        ([], "--for is missing"),
        (["--for", "python", "--by-group"], "by_group is for flow-factory and trl"),
        (["--for", "python", "--calibration", "none.json"], "none.json"),
        (["--for", "python", "--weights", "pickscore=1", "--fit", "a"], "leave it out"),
        (["--for", "python", "--weights", "pickscore=1", "--calibration", "shipped"], "give one of them"),
    ],
)
def test_mistakes_are_one_sentence(words, why):
    result = invoke(["export", *words])
    assert result.exit_code == 2 and why in result.stderr


def test_it_is_written_to_a_file_which_the_calibration_is_not(five, tmp_path):
    out = tmp_path / "rewards.yaml"
    invoke(["export", "--for", "flow-factory", "--calibration", five, "--out", out])
    assert len(yaml.safe_load(out.read_text())["rewards"]) == 5
    assert invoke(["export", "--for", "python", "--calibration", five, "--out", five]).exit_code == 2


def test_the_page_shows_what_is_printed():
    """Apart from the fingerprint, which changes with the fits that have a face."""
    page = (Path(__file__).parents[2] / "docs" / "EXPORT.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:python|yaml)\n(.*?)^```$", page, re.M | re.S)
    for host, shown in zip(HOSTS, blocks, strict=True):
        printed = exported(host) if host == "flow_grpo" else exported(host).split("\n\n", 1)[1]
        assert comparable(shown) == comparable(printed)


def comparable(text):
    lines = re.sub("calibration [0-9a-f]{16}", "", text).splitlines()
    return [line for line in lines if not line.startswith("# written by")]
