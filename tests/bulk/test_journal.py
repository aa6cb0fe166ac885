"""The journal keeps each of its files in order, whatever order batches come in."""

from hypothesis import given
from hypothesis import strategies as st

from fergi_reward.bulk.journal import Journal

BATCHES = [list(range(start, start + 3)) for start in range(0, 30, 3)]


@given(order=st.permutations(BATCHES))
def test_batches_in_any_order_are_merged_by_number(order, tmp_path_factory):
    journal = Journal(tmp_path_factory.mktemp("journal"), {})
    with journal.appending(rank=0) as append:
        for batch in order:
            append([(number, {"scores": {"a": number / 2}}) for number in batch])
    assert list(journal.merged()) == [(number, {"scores": {"a": number / 2}}) for number in range(30)]
    assert journal.done() == set(range(30))


def test_as_many_files_as_workers_that_take_turns(tmp_path):
    journal = Journal(tmp_path, {})
    with journal.appending(rank=0) as append:
        for batch in (4, 0, 1, 5, 2, 6, 3, 7):  # one worker has 0 to 3, the other 4 to 7
            append([(batch, {})])
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
