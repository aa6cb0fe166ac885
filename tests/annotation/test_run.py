import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fergi_reward.annotation.learned import Learned, candidates
from fergi_reward.annotation.outcome import Expected, Promised
from fergi_reward.annotation.run import run
from fergi_reward.annotation.signals import term_sets
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.calibration.grid import unsteady_participants
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.extracted import with_scores
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.table import PreferenceTable
from fergi_reward.stats.coverage import coverage_curve
from tests.command_line import invoke

FACE = Fit("pickscore+au4", (Term("pickscore", 1.0, 2.0, 3.0), Term("au4", -0.2, 0.5, 2.0, decay=1.0)))
SCORE = Fit("pickscore", (Term("pickscore", 1.0, 2.0, 4.0),))


def test_a_pair_has_the_log_odds_of_the_fullest_fit_that_both_pictures_allow() -> None:
    images = pd.DataFrame(
        [(1, 1, 5.0, 1.0), (1, 2, 4.0, 0.0), (1, 3, 4.5, np.nan), (1, 4, np.nan, 0.0), (2, 1, 1.0, 0.0)],
        columns=["session", "image", "pickscore", "au4"],
    )
    found = candidates(images, [FACE, SCORE])
    # Image 4 has no score, and the other session has one picture.
    assert found[["better", "worse", "signals"]].to_numpy().tolist() == [
        [2, 1, "pickscore+au4"],
        [1, 3, "pickscore"],
        [3, 2, "pickscore"],
    ]
    # 3 x (4 - 5) / 2 + 2 x (1 - exp(-1)) / 0.5 = 1.0285; 4 x 0.5 / 2 = 1.
    assert found["log_odds"].tolist() == pytest.approx([1.0285, 1.0, 1.0], abs=1e-4)


def made_up(people: int = 12, noise: float = 1.0, seed: int = 0) -> PreferenceTable:
    """Viewers who rank by score and brow, and a noise of their own."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(people):
        for session in range(8):
            scores, brows = rng.normal(size=4), rng.exponential(size=4)
            liking = scores - 2 * (1 - np.exp(-0.4 * brows)) + noise * rng.normal(size=4)
            rank = liking.argsort().argsort() + 1
            rows += [(f"p{user:02}", session, i, int(rank[i]), scores[i], brows[i]) for i in range(4)]
    columns = ["user", "session", "image", "rank", "pickscore", "au4"]
    return PreferenceTable(pd.DataFrame(rows, columns=columns), au_source="test")


def test_nobody_is_annotated_by_what_saw_their_ranks() -> None:
    table = made_up()
    turned = table.images["rank"].where(table.images["user"] != "p03", 5 - table.images["rank"])
    other = replace(table, images=table.images.assign(rank=turned))
    before, after = (run(one, one, Expected(0.51)).annotation.pairs.set_index("user") for one in (table, other))
    pd.testing.assert_frame_equal(before.loc["p03"], after.loc["p03"])
    assert not before.loc["p04"].equals(after.loc["p04"])


def test_confidence_means_what_it_says() -> None:
    outcome = run(made_up(40), made_up(40), Expected(0.501))
    assert outcome.result is not None
    assert outcome.result.reliability is not None
    assert outcome.annotation.candidates == outcome.result.pairs == 40 * 8 * 6
    assert outcome.result.reliability.expected_calibration_error < 0.04
    assert outcome.annotation.expected_accuracy == pytest.approx(outcome.result.accuracy, abs=0.03)


def test_expected_pairs_are_the_surest_ones() -> None:
    table = made_up()
    outcome = run(table, table, Expected(0.85))
    assert outcome.annotation.expected_accuracy == pytest.approx(0.85, abs=0.01)
    every = run(table, table, Expected(0.501)).annotation.pairs
    left = every.merge(outcome.annotation.pairs, how="left", indicator=True)
    assert left["confidence"][left["_merge"] == "left_only"].max() <= outcome.annotation.pairs["confidence"].min()


def test_a_missing_face_leaves_the_scores_and_a_missing_score_leaves_the_face() -> None:
    table = made_up()
    images = table.images.copy()
    images.loc[0, "au4"], images.loc[4, "pickscore"], images.loc[8, ["au4", "pickscore"]] = np.nan, np.nan, np.nan
    holed = replace(table, images=images)
    annotation = run(holed, holed, Expected(0.501)).annotation
    # Three pairs of each of these pictures; the last one's cannot be annotated.
    assert annotation.signals == {"pickscore+au4": 12 * 48 - 9, "pickscore": 3, "au4": 3}
    assert annotation.unknown == 3
    alone = run(holed, holed, Expected(0.501), signals="au4").annotation
    assert (alone.candidates, alone.unknown) == (12 * 48 - 6, 6)


def test_a_promise_is_about_other_people() -> None:
    table = made_up(30)
    with pytest.raises(FergiRewardError, match="name the folder of the others with --reactions"):
        run(table, table, Promised(0.6, 0.9))
    viewers = table.without_users(table.users[:20])
    outcome = run(table, viewers, Promised(0.75, 0.9))
    known = run(table.without_users(viewers.users), viewers, Promised(0.75, 0.9))
    pd.testing.assert_frame_equal(outcome.annotation.pairs, known.annotation.pairs)
    assert outcome.result is not None
    assert outcome.result.accuracy >= 0.75


def test_the_promise_is_kept_on_people_who_were_not_known() -> None:
    broken = accepted = 0
    for seed in range(15):
        table = made_up(24, noise=2.0, seed=seed)
        viewers = table.without_users(table.users[:12])
        try:
            outcome = run(table, viewers, Promised(0.7, 0.8), signals="scorers", scorers=["pickscore"])
        except FergiRewardError:
            continue
        accepted += 1
        broken += outcome.result is not None and outcome.result.accuracy < 0.7
    assert accepted >= 5
    assert broken <= 15 * 0.2


@pytest.mark.parametrize(("signals", "published"), [("au4", (0.740, 0.622, 0.567)), ("scorers", (0.805, 0.731, 0.650))])
def test_on_fergi_the_surest_pairs_are_as_right_as_the_docs_say(
    fergi: Path, signals: str, published: tuple[float, ...]
) -> None:
    table = read_fergi(fergi)
    table = table.without_users(unsteady_participants(table)).with_reactions()
    held_out = Learned(table, term_sets(signals, table, table)[:1], seed=0).held_out()
    _, accuracy = coverage_curve(held_out.margins)
    assert len(accuracy) == 3534
    assert [accuracy[count - 1] for count in (553, 1767, 3534)] == pytest.approx(published, abs=0.0006)


def test_on_fergi_three_quarters_of_more_than_half_of_the_pairs_are_right(fergi: Path) -> None:
    table = read_fergi(fergi)
    outcome = run(table, table, Expected())
    fullest = "image_reward+pickscore+hps_v2+12_aus"
    assert outcome.annotation.signals == {fullest: 3534, "image_reward+pickscore+hps_v2": 1579}
    assert (outcome.annotation.pairs["signals"] == fullest).sum() > 0.55 * 3534
    assert set(outcome.excluded) == {"002", "004", "039"}
    assert outcome.result is not None
    assert outcome.result.reliability is not None
    assert outcome.result.accuracy >= 0.75
    assert outcome.result.reliability.expected_calibration_error < 0.03


def test_tables_must_have_something_in_common() -> None:
    table = made_up()
    faces = replace(table, images=table.images.drop(columns="pickscore"))
    assert run(table, faces, Expected(0.6)).annotation.signals == {"au4": 12 * 48}
    with pytest.raises(FergiRewardError, match=r"signals are all, .* none of the scores image_reward, .* --scores"):
        run(table, faces, Expected(), signals="all")
    with pytest.raises(FergiRewardError, match="the people to annotate have no column pickscore"):
        run(table, faces, Expected(), scorers=["pickscore"])
    scores = replace(table, images=table.images.drop(columns="au4"))
    with pytest.raises(FergiRewardError, match="no action unit in common: take --signals scorers"):
        run(table, scores, Expected(), signals="face")
    with pytest.raises(FergiRewardError, match=r"people who ranked \(--data\) have AU source 'test', got .* 'other'"):
        run(table, replace(table, au_source="other"), Expected())


def listed_pictures(table: PreferenceTable, folder: Path) -> Path:
    """A file per picture, which holds its name, and the table that lists them."""
    listed = table.images[["user", "session", "image"]].astype(str)
    files = [f"{user}_{session}_{image}.jpg" for user, session, image in listed.to_numpy()]
    for name in files:
        (folder / name).write_bytes(name.encode())
    listed.assign(file=files, prompt="a cat").to_csv(folder / "images.csv", index=False)
    return folder / "images.csv"


def test_the_command_writes_pairs_and_a_dataset(simulated: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    images = listed_pictures(read_fergi(simulated), tmp_path)
    options = ["--data", str(simulated), "--out", str(tmp_path / "pairs.jsonl"), "--json"]
    options += ["--images", str(images), "--dataset", str(tmp_path / "dataset"), "--expected-accuracy", "0.51"]
    options += ["--report", str(tmp_path / "report")]
    result = invoke(["annotate", *options])
    assert result.exit_code == 0, result.output
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    told = json.loads(result.stdout)
    assert told["annotated"] == len(pairs) > 0
    assert told["expected_accuracy"] == pytest.approx(np.mean([pair["confidence"] for pair in pairs]))
    assert told["by_own_ranks"]["pairs"] == len(pairs)
    reported = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {name: reported[name] for name in ("annotated", "signals", "by_own_ranks")} == {
        name: told[name] for name in ("annotated", "signals", "by_own_ranks")
    }
    assert "Are the probabilities right?" in (tmp_path / "report" / "report.md").read_text()
    rows = load_dataset(str(tmp_path / "dataset"), cache_dir=str(tmp_path / "cache"))["train"]
    names = ["caption", "jpg_0", "jpg_1", "label_0", "confidence", "user", "signals", "au_source"]
    assert rows.column_names == names
    assert set(rows["label_0"]) == {0.0, 1.0}
    for pair, row in zip(pairs, rows, strict=True):
        preferred = row["jpg_0"] if row["label_0"] else row["jpg_1"]
        assert preferred.decode() == f"{pair['user']}_{pair['session']}_{pair['better']}.jpg"
        assert (row["signals"], row["confidence"]) == (pair["signals"], pair["confidence"])


def test_the_papers_rule_on_the_command_line(simulated: Path, tmp_path: Path) -> None:
    calibration, out = tmp_path / "calibration.json", tmp_path / "pairs.jsonl"
    replace(Calibration.shipped(), au_source="simulated").save(calibration)
    options = ["--signals", "au4", "--rule", "paper", "--calibration", str(calibration), "--out", str(out)]
    result = invoke(["annotate", "--data", str(simulated), *options])
    assert result.exit_code == 0, result.output
    assert f"{len(out.read_text().splitlines())} of " in result.output
    assert "valences further apart than" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "out"], "--images and --dataset go together"),
        (["--images", "nowhere.csv", "--dataset", "out"], "nowhere.csv cannot be read"),
        (["--target-accuracy", "0.5"], "target_accuracy is 0.5, must be above 0.5 and below 1"),
        (["--rule", "paper"], "--rule paper is for --signals au4, got no --signals"),
        (["--rule", "paper", "--signals", "au4", "--target-accuracy", "0.7"], "has a threshold of its own"),
        (["--expected-accuracy", "0.7", "--target-accuracy", "0.7"], "give one of them"),
        (["--confidence", "0.95"], "--confidence is that of a promise: give --target-accuracy too"),
        (["--scores", "scores.csv"], "--scores are of the pictures of --reactions"),
        (["--signals", "nose"], "nose"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(simulated: Path, options: list[str], message: str) -> None:
    result = invoke(["annotate", "--data", str(simulated), *options])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_table_of_pictures_that_lacks_one(tmp_path: Path, simulated: Path) -> None:
    listed = tmp_path / "images.csv"
    listed.write_text("user,session,image,file,prompt\nnobody,1,1,a.png,a cat\n")
    options = ["--data", str(simulated), "--out", str(tmp_path / "pairs.jsonl")]
    options += ["--images", str(listed), "--dataset", str(tmp_path / "dataset"), "--expected-accuracy", "0.51"]
    result = invoke(["annotate", *options])
    assert result.exit_code == 2
    assert "no picture is listed for user" in result.output
    assert (tmp_path / "pairs.jsonl").exists()  # what was found is kept


def test_scores_of_people_to_annotate_come_from_a_table(simulated: Path, tmp_path: Path) -> None:
    table, scores, out = read_fergi(simulated), tmp_path / "scores.csv", tmp_path / "pairs.jsonl"
    written = table.images[["user", "session", "image", "pickscore"]].rename(columns={"pickscore": "own"})
    options = ["--data", str(simulated), "--reactions", str(simulated), "--scores", str(scores), "--out", str(out)]
    written.to_csv(scores, index=False)
    unlike = invoke(["annotate", *options, "--scorers", "own", "--signals", "scorers"])
    assert unlike.exit_code == 2
    assert "that ranked have no column own" in unlike.output
    written.rename(columns={"own": "pickscore"}).to_csv(scores, index=False)
    assert "has the column pickscore, which the reactions have too" in invoke(["annotate", *options]).output
    written.iloc[:1].assign(user="nobody").to_csv(scores, index=False)
    assert (
        "has no score of the images with reactions: it begins with user nobody" in invoke(["annotate", *options]).output
    )


def test_each_picture_gets_its_own_scores(tmp_path: Path) -> None:
    table = made_up(4)
    faces = replace(table, images=table.images.drop(columns="pickscore"))
    scores = table.images[["user", "session", "image", "pickscore"]].sample(frac=1, random_state=0)
    scores.iloc[1:].to_csv(tmp_path / "scores.csv", index=False)
    read = with_scores(faces, tmp_path / "scores.csv").images
    expected = table.images["pickscore"].where(table.images.index != scores.index[0])
    np.testing.assert_allclose(read["pickscore"], expected)
    pd.testing.assert_frame_equal(read[["user", "session", "image"]], table.images[["user", "session", "image"]])


def test_people_who_did_not_rank_share_their_fits() -> None:
    table = made_up(8)
    viewers = table.without_users(table.users[:5])
    ranked = table.without_users(viewers.users)
    together = run(ranked, viewers, Expected(0.501)).annotation.pairs
    for user in viewers.users:
        others = [other for other in viewers.users if other != user]
        alone = run(ranked, viewers.without_users(others), Expected(0.501)).annotation.pairs
        pd.testing.assert_frame_equal(together[together["user"] == user].reset_index(drop=True), alone)
