"""A part of `eval/attacks/fuzz.py`: whatever a file holds, it is read or refused."""

from collections import Counter

# Those that are opened fast, and a command; the program itself tries all.
KINDS = ["PNG", "AVIF", "ICNS", "XPM", "PSD", "pt", "old pt", "safetensors", "state", "predictor", "calibration"]
KINDS += ["source map", "hpdv2", "imagerewarddb", "card", "FERGI's lists", "manifest", "recordings"]
KINDS += ["ratings", "judgements CSV", "judgements Parquet", "annotate"]


def test_damaged_inputs_are_read_or_refused_and_nothing_else() -> None:
    from fuzz import run

    outcomes = sum(run(300, KINDS).values(), Counter())
    assert {*outcomes} == {"succeeded", "refused"}


def test_whole_inputs_of_all_kinds_are_read() -> None:
    from fuzz import _folder
    from fuzz_kinds import kinds

    for name, kind in kinds().items():
        if name not in ("SPIDER", "extract"):  # it has no 8-bit picture; there is no video
            with _folder(kind.files) as folder:
                kind.opens(folder)
                if kind.written:
                    kind.written(folder)
