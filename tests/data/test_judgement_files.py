"""Tables of judgements of every kind: each layout is read to pairs written by hand, and what is unclear is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgement_files.options import JudgementOptions
from fergi_reward.data.judgement_files.read import judgements_in, read_judgements, with_scores

PREFERENCES = Path(__file__).parents[3] / "shared" / "preferences"


def options(**named):
    return JudgementOptions(judgements="table", **named)


def read(columns, **named):
    return judgements_in(pd.DataFrame(columns), options(**named))


def pairs(found):
    """Who won against whom, by name, and ties as a set."""
    images, judged = found.judgements.pictures["image"].astype(str).tolist(), found.judgements.pairs
    sides = [(images[a], images[b]) for a, b in zip(judged["better"], judged["worse"], strict=True)]
    return sorted(
        ("=".join(sorted(both)) if tied else ">".join(both)) for both, tied in zip(sides, judged["tied"], strict=True)
    )


RATED = {"prompt": ["p", "p", "p"], "image": ["a", "b", "c"], "rating": [3, 1, 1], "clip": [1, 2, 3]}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "jsonl", "mapping.json"])
def test_every_format_reads_to_the_same_pairs(tmp_path, suffix):
    table, path = pd.DataFrame(RATED), tmp_path / f"table.{suffix}"
    write = {
        "csv": lambda: table.to_csv(path, index=False),
        "parquet": lambda: table.to_parquet(path),
        "json": lambda: table.to_json(path, orient="records"),
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
        "mapping.json": lambda: path.write_text(
            json.dumps({str(n): row for n, row in enumerate(table.to_dict("records"))})
        ),
    }
    write[suffix]()
    found = read_judgements(path, options())
    assert pairs(found) == ["a>b", "a>c", "b=c"]
    assert (found.kind, found.numeric) == ("ratings", ["clip"])
    assert "rating = rating" in found.sentence()
    assert "higher is better" in found.sentence()


def test_a_folder_is_its_one_table_or_the_shards_of_one(tmp_path):
    table = pd.DataFrame(RATED)
    (tmp_path / "data").mkdir()
    table[:2].to_parquet(tmp_path / "data" / "train-00000-of-00002.parquet")
    table[2:].to_parquet(tmp_path / "data" / "train-00001-of-00002.parquet")
    assert pairs(read_judgements(tmp_path, options())) == ["a>b", "a>c", "b=c"]
    (tmp_path / "data" / "train-00000-of-00002.parquet").rename(tmp_path / "first.parquet")
    with pytest.raises(FergiRewardError, match="1 of the 2 shards that their names count"):
        read_judgements(tmp_path / "data", options())
    (tmp_path / "first.parquet").rename(tmp_path / "data" / "train-00000-of-00002.parquet")
    table.to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    with pytest.raises(FergiRewardError, match=r"holds 2 tables.*name one of them"):
        read_judgements(tmp_path, options())


def test_a_dataset_that_was_saved_to_disk_is_read_without_its_pictures(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {name: values for name, values in RATED.items()} | {"jpg": [b"1", b"2", b"3"]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    found = read_judgements(tmp_path / "saved", options())
    assert pairs(found) == ["a>b", "a>c", "b=c"]
    assert "jpg" not in found.judgements.pictures


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.txt", "a", "its name must end in"),
        ("t.csv", "prompt,image,rating\n", "header and no row"),
        ("t.csv", "prompt,image,image,rating\np,a,a,1\n", "the column image is given twice"),
        ("t.json", "[]", "has no rows"),
        ("t.json", "[1]", "list of records"),
        ("t.json", "{", "cannot be read as JSON"),
        ("t.jsonl", '{"prompt": "p"}\n{"prompt"', "line 2 is not JSON"),
        ("t.parquet", "PAR1", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(FergiRewardError, match=message):
        read_judgements(tmp_path / name, options())


def test_a_rank_of_1_is_the_best():
    found = read({"Prompt": ["p", "p"], "file_name": ["a", "b"], "rank": [1, 2]})
    assert pairs(found) == ["a>b"]
    assert "lower is better" in found.sentence()


def test_names_of_columns_are_known_in_other_words_and_can_be_given():
    found = read({"caption": ["p", "p"], "image_path": ["a", "b"], "mos": [1, 2]})
    assert found.columns == {"rating": "mos", "prompt": "caption", "image": "image_path"}
    found = read({"prompt": ["p", "p"], "File": ["a", "b"], "stars": [1, 2]})
    assert found.columns == {"rating": "stars", "prompt": "prompt", "image": "File"}
    given = read({"q": ["p", "p"], "i": ["a", "b"], "v": [1, 2], "rating": [2, 1]}, prompt="q", image="i", rating="v")
    assert pairs(given) == ["b>a"]


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        (RATED | {"caption": ["p", "q", "r"]}, {}, "prompt and caption could both be the prompt: name one by --prompt"),
        (RATED | {"rank": [1, 2, 3]}, {}, "rating .higher is better. and rank .lower is better.*--rating or --rank"),
        (
            {"prompt": ["p"], "image": ["a"], "score": [1]},
            {},
            r"the table has no rating \(a column rating, .* or another by --rating\), the columns are",
        ),
        ({"image": ["a"], "points": [1]}, {}, r"no prompt .* and no rating .*; without prompts, add a column prompt"),
        (RATED, {"rating": "points"}, "there is no column --rating points: the columns are prompt"),
        (RATED, {"kind": "pairs"}, "no two columns name the pictures of a pair"),
        (RATED, {"kind": "rankings"}, "the table has no images"),
        (RATED | {"prompt": ["p", " ", "p"]}, {}, "row 2 has no prompt"),
        (RATED | {"rating": [1, "good", 2]}, {}, "rating of image b is 'good'"),
        (RATED | {"rating": [1, np.inf, 2]}, {}, r"rating of image b is .*inf"),
        (RATED | {"image": ["a", "a", "c"]}, {}, "image a of prompt 'p' is rated twice"),
    ],
)
def test_what_is_unclear_or_wrong_in_ratings_is_refused(columns, named, message):
    with pytest.raises(FergiRewardError, match=message):
        read(columns, **named)


def test_both_a_rating_and_a_rank_are_read_where_one_is_named():
    both = RATED | {"rank": [3, 2, 1]}
    assert pairs(read(both, kind="ranks")) == pairs(read(both, rank="rank")) == ["b>a", "c>a", "c>b"]
    assert pairs(read(both, kind="ratings")) == ["a>b", "a>c", "b=c"]


def test_rows_without_a_reaction_are_left_out_and_counted():
    table = {"user": list("rrrsss"), "prompt": "p", "image": list("abcabc"), "rating": [3, 2, 1, 1, 2, 3]}
    faces = {"au4": ["0", "1", " ", "2", None, "0.5"], "au12": ["0", "1", "1", "2", "1", "1"]}
    found = read(pd.DataFrame(table | faces), aus=["AU4", "AU12"], au_source="mine")
    assert found.judgements.without_reaction == 2 and "2 rows without a reaction" in found.sentence()
    assert sorted(pairs(found)) == ["a>b", "c>a"]
    with pytest.raises(FergiRewardError, match="no row has au4"):
        read(pd.DataFrame(table | {"au4": ""}), aus=["au4"], au_source="mine")
    with pytest.raises(FergiRewardError, match="au4 is 'x' for image a"):
        read(pd.DataFrame(table | {"au4": list("x12345")}), aus=["au4"], au_source="mine").judgements.scores(["au4"])


def test_raters_are_compared_with_themselves_and_left_out_where_there_are_three():
    table = {
        "prompt": ["p"] * 6,
        "image": ["a", "b"] * 3,
        "user_id": ["r", "r", "s", "s", "t", "t"],
        "rating": [1, 2, 2, 1, 7, 9],
    }
    found = read(table)
    assert pairs(found) == ["a>b", "b>a", "b>a"]
    assert (found.judgements.unit, found.judgements.groups.tolist()) == ("rater", ["r", "s", "t"])
    two = read({name: values[:4] for name, values in table.items()})
    assert (two.judgements.unit, two.judgements.groups.tolist()) == ("prompt", ["p"])


def test_two_rankings_of_one_prompt_are_not_mixed_as_in_imagerewarddb_on_the_hub():
    found = read(
        {
            "prompt": ["p"] * 4,
            "prompt_id": ["1", "1", "2", "2"],
            "image_path": ["a", "b", "c", "d"],
            "rank": [1, 2, 2, 1],
            "overall_rating": [7, 5, 3, 4],
        }
    )
    assert pairs(found) == ["a>b", "d>c"]
    assert (found.kind, found.judgements.unit, found.judgements.groups.tolist()) == ("ranks", "prompt", ["p"])


def test_ranks_of_viewers_tables_are_not_turned_around_in_silence():
    table = {"prompt": ["p"] * 2, "user": ["u"] * 2, "session": ["1"] * 2, "image": ["a", "b"], "rank": [1, 2]}
    with pytest.raises(FergiRewardError, match="where a high rank is good: name it by --rating rank"):
        read(table)
    assert pairs(read(table, rating="rank")) == ["b>a"]
    assert pairs(read(table, rank="rank")) == ["a>b"]


def test_a_group_can_be_named_and_needs_three_values():
    table = {"prompt": list("ppqqrr"), "image": list("ababab"), "rank": [1, 2] * 3, "topic": list("xxyyzz")}
    found = read(table, group="topic")
    assert (found.judgements.unit, found.judgements.groups.tolist()) == ("group", ["x", "y", "z"])
    assert read(table | {"prompt": list("xxyyzz")}, group="prompt").judgements.groups.tolist() == ["x", "y", "z"]
    with pytest.raises(FergiRewardError, match="--group topic has 2 different values"):
        read(table | {"topic": list("xxyyyy")}, group="topic")


def test_pairs_across_groups_are_counted_and_refused_where_there_are_no_others():
    table = {"prompt": ["p"] * 4 + ["q"] * 2, "image": [*"abcdef"], "rating": [1, 2, 3, 4, 1, 2]}
    # Two of the six pairs of p are in one group, and the pair of q.
    found = read({**table, "fold": ["x", "x", "y", "y", "z", "z"]}, group="fold")
    assert pairs(found) == ["b>a", "d>c", "f>e"]
    assert "not compared: 4 pairs of pictures in two groups" in found.sentence()
    with pytest.raises(FergiRewardError, match="each picture of a prompt has another fold"):
        read({**table, "fold": ["x", "y", "z", "v", "x", "y"]}, group="fold")


@pytest.mark.parametrize(
    "ranking",
    [
        {"generations": [["a", "b", "c"]], "ranking": [[1, 3, 3]]},  # ImageReward's test.json
        {"image_path": [["a", "b", "c"]], "rank": [[1, 3, 3]], "raw_annotations": [[[1, 2, 3]]]},  # HPD v2, test
        {"image_path": [["a", "b", "c"]], "human_preference": [[1, 0, 0]]},  # HPD v2, train
    ],
)
def test_rankings_are_all_their_pairs(ranking):
    found = read({"prompt": ["p"], **ranking})
    assert (found.kind, pairs(found)) == ("rankings", ["a>b", "a>c", "b=c"])


def test_rankings_of_one_prompt_stay_apart_but_are_left_out_together_with_their_scores():
    found = read(
        {"prompt": ["p", "p"], "images": [["a", "b"], ["b", "c"]], "rank": [[1, 2]] * 2, "clip": [[1, 2], [2, 3]]}
    )
    assert pairs(found) == ["a>b", "b>c"]
    assert found.judgements.unit == "prompt"
    assert found.judgements.scores(["clip"]).ravel().tolist() == [1, 2, 3]


def test_a_ranking_has_a_rank_for_each_picture():
    with pytest.raises(FergiRewardError, match="ranking 2 has 2 pictures in images and 3 in rank"):
        read({"prompt": ["p", "p"], "images": [["a", "b"]] * 2, "rank": [[1, 2], [1, 2, 3]]})


def pickapic(**changes):
    return {
        "caption": ["p", "p", "p", "q"],
        "image_0_uid": ["a", "a", "b", "e"],
        "image_1_uid": ["b", "c", "c", "f"],
        "label_0": [1.0, 0.5, 0.0, 0.0],
        "label_1": [0.0, 0.5, 1.0, 0.0],
        "has_label": [True, True, True, False],
        "clip_0": [1.0, 1.0, 2.0, 5.0],
        "clip_1": [2.0, 3.0, 3.0, 6.0],
    } | changes


def test_pairs_in_the_columns_of_pick_a_pic():
    found = read(pickapic())
    assert pairs(found) == ["a=c", "a>b", "c>b"]
    assert found.left_out == {"without a judgement": 1}
    scores = dict(zip(found.judgements.pictures["image"], found.judgements.scores(["clip"]).ravel(), strict=True))
    assert scores == {"a": 1, "b": 2, "c": 3, "e": 5, "f": 6}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_1": [1.0, 0.5, 1.0, 0.0]}, "row 1 has label_0 1.0, label_1 1.0, must be"),
        ({"label_0": [1.0, 0.7, 0.0, 0.0], "label_1": [0.0, 0.3, 1.0, 0.0]}, "row 2 has label_0 0.7"),
        ({"label_0": [1.0, np.nan, 0.0, 0.0]}, "row 2 has label_0 nan"),
        ({"has_label": [True, "perhaps", True, False]}, "has_label is 'perhaps'"),
        ({"has_label": [False] * 4}, "none of the 4 pairs can be used: 4 without a judgement"),
        ({"image_1_uid": ["b", "", "c", "f"]}, "row 2 of 4 has no image_1_uid"),
        ({"caption": ["p", None, "p", "q"]}, "row 2 of 4 has no prompt"),
        ({"image_0": ["a"] * 4, "image_1": ["b"] * 4}, "could be image_0,image_1 or image_0_uid,image_1_uid"),
    ],
)
def test_what_is_wrong_in_pairs_is_refused(changes, message):
    with pytest.raises(FergiRewardError, match=message):
        read(pickapic(**changes))


def test_a_winner_and_a_loser_with_scores_of_each():
    found = read(
        {"prompt": ["p", "p"], "winner": ["a", "c"], "loser": ["b", "b"], "clip_winner": [3, 4], "clip_loser": [2, 2]}
    )
    assert (found.kind, pairs(found)) == ("pairs", ["a>b", "c>b"])
    assert found.judgements.scores(["clip"]).ravel().tolist() == [3, 4, 2]


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        (("image_0", "image_1"), [0, 1, "tie"]),
        (("image_0", "image_1"), [0.0, 1.0, 0.5]),
        (("image_1", "image_2"), ["1", "2", "both"]),
        (("image_a", "image_b"), ["a", "B", "equal"]),
        (("left_image", "right_image"), ["left", "right", "tie"]),
        (("image_a", "image_b"), ["x", "y", "tie"]),  # the pictures' own names
    ],
)
def test_a_preference_names_a_side_or_a_picture_or_a_tie(sides, said):
    found = read({"prompt": ["p", "q", "r"], sides[0]: ["x"] * 3, sides[1]: ["y"] * 3, "preference": said})
    judged = found.judgements.pairs
    images = found.judgements.pictures["image"].to_numpy()
    assert images[judged["better"][:2]].tolist() == ["x", "y"]
    assert judged["tied"].tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"image_0": ["x"] * 4, "image_1": ["y"] * 4, "preference": [1, 1, 0, "tie"]},
            "preference 0 means that image_0 is preferred (1 row), preference 1 that image_1 is (2 rows), with 1 tie",
        ),
        (
            {"image_1": ["x"] * 4, "image_2": ["y"] * 4, "preference": ["1", "image_2", "2", "1"]},
            "preference 1 means that image_1 is preferred (2 rows), preference image_2 that image_2 is (2 rows)",
        ),
        (
            {"image_a": ["x"] * 4, "image_b": ["y"] * 4, "preference": ["x", "x", "x", ""]},
            "the name of image_a in preference means that image_a is preferred (3 rows), the name of image_b in",
        ),
        (
            {"image_0": ["x"] * 4, "image_1": ["y"] * 4, "label_0": [1, 0, 1, 1]},
            "label_0 1 means that image_0 is preferred (3 rows), label_0 0 that image_1 is (1 row), with 0 ties",
        ),
        ({"winner": ["x"] * 4, "loser": ["y"] * 4}, "winner is preferred in each row"),
    ],
)
def test_the_sentence_on_pairs_says_which_value_means_which_picture_and_how_often(columns, sentence):
    assert sentence in read({"prompt": list("pqrs")} | columns).sentence()


@pytest.mark.parametrize(("sides", "value"), [(("image_0", "image_1"), 1), (("image_1", "image_2"), "1")])
def test_a_number_that_is_the_same_in_all_rows_names_no_side(sides, value):
    table = {"prompt": ["p", "q", "r"], sides[0]: ["x"] * 3, sides[1]: ["y"] * 3, "preference": [value, value, "tie"]}
    with pytest.raises(FergiRewardError, match=r"preference is 1 in all 2 rows that name a side.* by --preference"):
        read(table)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_0": "x", "image_1": "y", "label_0": 1, "preference": 1}, "label_0 and preference could each say"),
        ({"chosen": "x", "rejected": "y", "choice": "y"}, "chosen,rejected and choice could each say"),
    ],
)
def test_two_columns_that_say_who_won_are_refused(columns, message):
    with pytest.raises(FergiRewardError, match=message):
        read({"prompt": list("pq")} | {name: [value] * 2 for name, value in columns.items()})


def test_ratings_that_nobody_gave_to_two_pictures_of_a_prompt_make_no_pairs():
    with pytest.raises(FergiRewardError, match="no two pictures of one prompt were judged by one rater"):
        read({"prompt": list("pqr"), "image": list("abc"), "rating": [1, 2, 3]})


def test_a_preference_for_neither_of_the_two_is_refused():
    with pytest.raises(
        FergiRewardError, match=r"preference of row 2 is 'z', must be one of 0 \(image_0\), 1 \(image_1\), tie"
    ):
        read({"prompt": ["p"] * 2, "image_0": ["x"] * 2, "image_1": ["y"] * 2, "preference": [0, "z"]})


def test_a_preference_that_is_one_side_and_the_name_of_the_other_picture_is_refused():
    with pytest.raises(FergiRewardError, match="preference of row 1 is '1', must be one of"):
        read({"prompt": ["p"], "image_0": ["1"], "image_1": ["0"], "preference": [1]})


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        (RATED, {"weight": "clip"}, "--weight clip has no use in a table of ratings"),
        (RATED, {"kind": "ratings", "preference": "clip"}, "--preference clip has no use"),
        (
            RATED | {"rank": [1, 2, 3]},
            {"kind": "ranks", "rating": "rating"},
            "--rating rating has no use in a table of ranks",
        ),
        (pickapic(), {"rating": "clip_0"}, "--rating clip_0 has no use in a table of pairs"),
    ],
)
def test_a_column_that_is_named_and_not_used_is_refused(columns, named, message):
    with pytest.raises(FergiRewardError, match=message):
        read(columns, **named)


@pytest.mark.parametrize("role", ["prompt", "image"])
@pytest.mark.parametrize("cell", [["a"], {"a": 1}])
def test_a_list_or_a_mapping_among_texts_is_refused(role, cell):
    with pytest.raises(FergiRewardError, match=f"{role}, the {role}, has a list or a mapping in some rows"):
        read(RATED | {role: ["p", "q", cell]})


def test_what_a_table_has_in_other_columns_hinders_nothing(tmp_path):
    table = pd.DataFrame(RATED | {"more": [{"a": 1}, None, [1, 2]]}, index=[7, 7, 3])
    assert pairs(judgements_in(table, options())) == ["a>b", "a>c", "b=c"]
    table.drop(columns="more").astype({"prompt": "category", "image": "category"}).set_index("image").to_parquet(
        tmp_path / "t.parquet"
    )
    assert pairs(read_judgements(tmp_path / "t.parquet", options())) == ["a>b", "a>c", "b=c"]


def test_rankings_may_be_empty_and_have_numbers_as_ranks():
    found = read({"prompt": ["p", "q"], "images": [None, ["a", "b"]], "rank": [None, [2, 1]]})
    assert pairs(found) == ["b>a"]
    with pytest.raises(FergiRewardError, match="rank of image a is 'first', must be a finite number"):
        read({"prompt": ["p"], "images": [["a", "b"]], "rank": [["first", "second"]]})


def test_repeated_and_empty_judgements_are_counted_once_and_contradictions_stay():
    found = read(
        {
            "prompt": ["p"] * 6,
            "image_0": ["a", "a", "b", "a", "a", "a"],
            "image_1": ["b", "b", "a", "b", "a", "b"],
            "preference": ["a", "a", "a", "b", "a", None],
            "rater": ["r"] * 6,
        }
    )
    assert pairs(found) == ["a>b", "b>a"]
    assert found.left_out == {
        "without a judgement": 1,
        "of an image with itself": 1,
        "that repeat the same rater's judgement": 2,
    }


@pytest.mark.parametrize("weight", [0, -1, np.nan, "many", np.inf])
def test_weights_are_above_0(weight):
    table = {"prompt": ["p"] * 2, "winner": ["a", "c"], "loser": ["b", "b"], "count": [3, weight]}
    with pytest.raises(FergiRewardError, match=r"count of row 2 is .* must be a number above 0"):
        read(table)
    assert read(table | {"count": [3, 2]}).judgements.pairs["weight"].tolist() == [3, 2]


def test_the_order_of_rows_changes_nothing():
    table = pd.DataFrame(pickapic())
    shuffled = judgements_in(table.sample(frac=1, random_state=1).reset_index(drop=True), options())
    assert pairs(shuffled) == pairs(judgements_in(table, options()))


def test_no_pairs_within_a_group_are_said_to_be_none_within_it():
    table = {
        "prompt": ["p"] * 4,
        "image": list("aabb"),
        "user": ["r"] * 4,
        "model": list("mmnn"),
        "rating": [1, 1, 2, 2],
    }
    with pytest.raises(FergiRewardError, match="one prompt were judged by one user within one model, so there are no"):
        read(table, group="model")


def test_scores_of_a_second_table_are_joined_by_prompt_and_image():
    judgements = read({"prompt": ["p", "p", "q", "q"], "image": ["1", "2", "1", "2"], "rank": [1, 2, 2, 1]}).judgements
    scores = pd.DataFrame({"prompt": ["q", "q", "p", "p"], "image": [1, 2, 1, 2], "clip": [3, 4, 1, 2]})
    assert with_scores(judgements, scores, "scores.csv")[0].scores(["clip"]).ravel().tolist() == [1, 2, 3, 4]
    with pytest.raises(FergiRewardError, match="different scores of image 1"):
        with_scores(judgements, pd.concat([scores, scores.assign(clip=0)]), "scores.csv")
    with pytest.raises(
        FergiRewardError, match="both have the column rank, with '1' and '2' for image 2: delete it in one"
    ):
        with_scores(judgements, scores.assign(rank=1), "scores.csv")
    joined, known = with_scores(judgements, scores.assign(rank=["2.0", "1", "1", "2"]).iloc[1:], "scores.csv")
    assert joined.pictures.columns.tolist() == ["prompt", "image", "rank", "clip"]
    assert known.tolist() == [True, True, False, True]
    with pytest.raises(FergiRewardError, match="no column image"):
        with_scores(judgements, scores.drop(columns="image"), "scores.csv")


def test_a_column_has_one_role_and_belongs_to_a_table():
    with pytest.raises(FergiRewardError, match="--prompt and --image are both the column x"):
        options(prompt="x", image="x")
    with pytest.raises(FergiRewardError, match="--rating is for --judgements; --kind is for --judgements"):
        JudgementOptions(rating="x", kind="ratings")


def test_published_files_are_read_as_they_are():
    place = PREFERENCES / "imagereward_test.json"
    if not place.is_file():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no judgements of others in {place}")
    found = read_judgements(place, options())
    assert (found.kind, len(found.judgements.pairs), found.judgements.ties) == ("rankings", 7230, 831)
    rated = read_judgements(PREFERENCES / "tifa160_annotations_with_scores.json", options())
    assert (rated.kind, len(rated.judgements.pairs), rated.judgements.ties) == ("ratings", 1600, 564)


def test_a_rating_that_is_given_again_counts_once_and_two_different_ones_are_refused():
    table = {"prompt": ["p"] * 4, "image": ["a", ".\\a", "b", "b"], "user": ["r"] * 4, "rating": [2, 2, 1, 1]}
    found = read(table)
    assert pairs(found) == ["a>b"]
    assert "left out: 2 rows with a rating that the picture has already, the first of a" in found.sentence()
    with pytest.raises(FergiRewardError, match=r"image a of prompt 'p' is rated twice by r, 2 and 9 \(2 such pictures"):
        read(table | {"rating": [2, 9, 1, 3]})
    with pytest.raises(FergiRewardError, match="if several people rated it, name their column as rater"):
        read({name: table[name] for name in ("prompt", "image")} | {"rating": [2, 3, 1, 1]})
    grouped = {"prompt": ["p"] * 4, "image": list("aabc"), "rating": [2, 3, 1, 1], "day": list("uuvw")}
    with pytest.raises(FergiRewardError, match=r"is rated twice by r, u \(1\), 2 and 3"):
        read(grouped | {"user": ["r"] * 4}, group="day")
    faces = table | {"au4": [0, 1, 0, 1]}
    with pytest.raises(FergiRewardError, match="is rated twice"):  # by which face is it weighed?
        read(faces, aus=["au4"], au_source="mine")


def test_one_picture_in_several_spellings_is_one_picture():
    scores = pd.DataFrame({"image": ["pics/a.png", "./pics//b.png", "pics/c.png/"], "clip": [1.0, 2.0, 3.0]})
    rated = read({"prompt": ["p"] * 3, "image": ["./pics/a.png", "pics/b.png", "pics//c.png"], "rating": [1, 2, 3]})
    paired = read(
        {
            "prompt": ["p"] * 2,
            "image_0": ["./pics/b.png", "pics/c.png"],
            "image_1": ["pics/a.png", "./pics/b.png"],
            "winner": ["pics/b.png", "./pics/c.png"],
        }
    )
    for found, names in ((rated, "abc"), (paired, "bca")):
        joined, known = with_scores(found.judgements, scores, "scores.csv")
        assert known.all()
        assert joined.pictures["image"].tolist() == [f"pics/{name}.png" for name in names]
        assert joined.scores(["clip"]).ravel().tolist() == ["_abc".index(name) for name in names]


@pytest.mark.parametrize(("lacks", "lost"), [([], 0), ([5], 2), ([0, 3], 4), ([0, 1, 3, 4], 6)])
def test_pictures_without_scores_are_counted_and_refused_where_most_pairs_are_lost(tmp_path, lacks, lost):
    table = pd.DataFrame({"prompt": list("pppqqq"), "image": [*"abcdef"], "rating": [1, 2, 3] * 2})
    table.to_csv(tmp_path / "judged.csv", index=False)
    scores = pd.DataFrame({"prompt": list("pppqqq"), "image": [*"abcdef"], "clip": range(6)}).drop(index=lacks)
    scores.to_csv(tmp_path / "scores.csv", index=False)
    asked = options(scores=tmp_path / "scores.csv")
    sentence = f"scores.csv has no scores of {len(lacks)} judged picture"
    if 2 * lost > 6:
        with pytest.raises(FergiRewardError, match=f"{sentence}s, such as a of prompt 'p': {lost} of 6 pairs would be"):
            read_judgements(tmp_path / "judged.csv", asked)
        return
    found = read_judgements(tmp_path / "judged.csv", asked)
    assert len(found.judgements.pairs) == 6 - lost and found.judgements.scores(["clip"]).shape == (6 - len(lacks), 1)
    assert [sentence in remark for remark in found.remarks] == [True] * bool(lost)


def test_groups_are_called_by_what_they_are():
    table = {"prompt": list("ppqqrr"), "image": list("ababab"), "rank": [1, 2] * 3, "user": list("ststst")[::-1]}
    sides = {"prompt": list("pqr"), "winner": list("ace"), "loser": list("bdf"), "user": list("stu")}
    of = {"prompt": ("prompt", "prompt"), "topic": ("group", "topic"), "user": ("rater", "rater")}
    for column, (unit, name) in of.items():
        rows = table | {"topic": list("xxyyzz"), "user": list("ssttuu")}
        for found in (read(rows, group=column), read(sides | {"topic": list("xyz")}, group=column)):
            assert (found.judgements.unit, found.judgements.group_name) == (unit, name)
