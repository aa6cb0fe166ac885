import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fergi_reward.annotation.pairs import annotate, checked
from fergi_reward.annotation.rules import Rule, guaranteed_rule
from fergi_reward.annotation.run import Promised, run
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.calibration.grid import unsteady_participants
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import read_fergi
from tests.command_line import invoke

FIT = Fit("au4", (Term("au4", mean=-0.2, std=0.5, weight=2.0, decay=1.0),))


def test_a_pair_is_annotated_where_valences_differ_enough() -> None:
    images = pd.DataFrame(
        [("a", 1, 1, 0.0), ("a", 1, 2, 1.0), ("a", 1, 3, 1.1), ("a", 1, 4, np.nan), ("a", 2, 1, 5.0)],
        columns=["user", "session", "image", "au4"],
    )
    annotation = annotate(images, {"a": Rule(decay=1.0, threshold=0.6)}, FIT)
    # exp(0) - exp(-1) = 0.632, exp(0) - exp(-1.1) = 0.667, exp(-1) - exp(-1.1) = 0.035; other sessions do not meet.
    assert annotation.pairs[["better", "worse"]].to_numpy().tolist() == [[1, 2], [1, 3]]
    assert annotation.pairs["difference"].tolist() == pytest.approx([0.6321, 0.6671], abs=1e-4)
    # The log-odds are weight * difference / std.
    assert annotation.pairs["confidence"].tolist() == pytest.approx([1 / (1 + np.exp(-4 * 0.6321)), 0.9351], abs=1e-4)
    assert (annotation.candidates, annotation.coverage) == (3, 2 / 3)
    ranked = images.assign(rank=[3, 1, 4, 2, 1])
    assert checked(annotation, ranked).correct.tolist() == [True, False]


def test_on_fergi_the_papers_rule_gives_the_published_pairs(fergi: Path) -> None:
    table = read_fergi(fergi)
    outcome = run(table, table, Calibration.shipped())
    assert outcome.result is not None
    assert (outcome.result.correct, outcome.result.pairs, outcome.annotation.candidates) == (414, 553, 3534)
    assert set(outcome.excluded) == {"002", "004", "039"}


def test_the_promise_is_kept_on_other_participants_of_fergi(fergi: Path) -> None:
    table = read_fergi(fergi)
    table = table.without_users(unsteady_participants(table)).with_reactions()
    rng = np.random.default_rng(0)
    broken, splits, annotated = 0, 40, 0
    for _ in range(splits):
        ranked = rng.permutation(table.users)[:15].tolist()
        others = table.without_users(ranked)
        try:
            rule = guaranteed_rule(table.without_users(others.users), 0.65, 0.9, len(others.users))
        except FergiRewardError:
            continue
        annotation = annotate(others.images, dict.fromkeys(others.users, rule), FIT)
        broken += checked(annotation, others.images).correct.mean() < 0.65
        annotated += 1
    assert annotated >= splits / 2
    assert broken <= splits / 10


def test_sources_and_people_must_fit(simulated: Path) -> None:
    table = read_fergi(simulated)
    calibration = Calibration.shipped()
    with pytest.raises(
        FergiRewardError, match=r"fitted on AU source 'fergi-ir50', .* people to annotate from 'simulated'.*map-source"
    ):
        run(table, table, calibration)
    calibration = replace(calibration, au_source="simulated")
    with pytest.raises(FergiRewardError, match="name the folder of the others with --reactions"):
        run(table, table, calibration, Promised(0.6, 0.9))


def test_nobody_is_annotated_by_a_rule_that_saw_their_ranks(simulated: Path) -> None:
    table = read_fergi(simulated)
    calibration = replace(Calibration.shipped(), au_source="simulated")
    user = table.users[0]
    turned = table.images["rank"].where(table.images["user"] != user, 6 - table.images["rank"])
    other = replace(table, images=table.images.assign(rank=turned))
    before, after = (run(one, one, calibration) for one in (table, other))
    assert before.rules[user] == after.rules[user]
    assert before.rules != after.rules


def test_the_command_writes_pairs_and_a_dataset(simulated: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    calibration = tmp_path / "calibration.json"
    replace(Calibration.shipped(), au_source="simulated").save(calibration)
    images = read_fergi(simulated).images
    listed = images[["user", "session", "image"]].assign(
        file=[
            f"{user}_{session}_{image}.jpg" for user, session, image in images[["user", "session", "image"]].to_numpy()
        ]
    )
    for name in listed["file"]:
        (tmp_path / name).write_bytes(name.encode())
    listed.assign(prompt="a cat").to_csv(tmp_path / "images.csv", index=False)
    options = ["--data", str(simulated), "--calibration", str(calibration), "--out", str(tmp_path / "pairs.jsonl")]
    options += ["--images", str(tmp_path / "images.csv"), "--dataset", str(tmp_path / "dataset")]
    result = invoke(["annotate", *options])
    assert result.exit_code == 0, result.output
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert f"{len(pairs)} of " in result.output
    rows = load_dataset(str(tmp_path / "dataset"), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows.column_names == ["caption", "jpg_0", "jpg_1", "label_0", "confidence", "user", "au_source"]
    assert set(rows["label_0"]) == {0.0, 1.0}
    for pair, row in zip(pairs, rows, strict=True):
        preferred = row["jpg_0"] if row["label_0"] else row["jpg_1"]
        assert preferred.decode() == f"{pair['user']}_{pair['session']}_{pair['better']}.jpg"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "out"], "--images and --dataset go together"),
        (["--images", "nowhere.csv", "--dataset", "out"], "nowhere.csv cannot be read"),
        (["--target-accuracy", "0.5"], "target_accuracy is 0.5, must be above 0.5 and below 1"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(simulated: Path, options: list[str], message: str) -> None:
    result = invoke(["annotate", "--data", str(simulated), *options])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_table_of_pictures_that_lacks_one(tmp_path: Path, simulated: Path) -> None:
    calibration, listed = tmp_path / "calibration.json", tmp_path / "images.csv"
    replace(Calibration.shipped(), au_source="simulated").save(calibration)
    listed.write_text("user,session,image,file,prompt\nnobody,1,1,a.png,a cat\n")
    options = ["--data", str(simulated), "--calibration", str(calibration), "--out", str(tmp_path / "pairs.jsonl")]
    options += ["--images", str(listed), "--dataset", str(tmp_path / "dataset")]
    result = invoke(["annotate", *options])
    assert result.exit_code == 2
    assert "no picture is listed for user" in result.output
    assert (tmp_path / "pairs.jsonl").exists()  # what was found is kept
