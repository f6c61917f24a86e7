"""Labels and Segments: the two ways in which many rows are kept as few."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from eta.journey.columns import MISSING, Labels
from eta.journey.segments import NOWHERE, Segments, pick_times

#: Rows 0-1, none, 2-4, none.
RUNS = Segments.of_counts(np.array([2, 0, 3, 0]))


@pytest.mark.parametrize("texts", [["b", None, "a", "", "b"], pd.Series(["b", np.nan, "a", "", "b"], dtype=object)], ids=["a list", "a column"])
def test_labels_are_codes_into_sorted_names_and_empty_texts_are_missing(texts: list[str | None] | pd.Series) -> None:
    labels = Labels.of(texts)
    assert labels.names == ("a", "b")
    assert labels.codes.tolist() == [1, MISSING, 0, MISSING, 1]
    assert labels.texts().tolist() == ["b", None, "a", None, "b"]
    assert len(labels) == 5


@pytest.mark.parametrize("texts", [[], [None, ""]])
def test_labels_without_any_text_have_no_names(texts: list[str | None]) -> None:
    labels = Labels.of(texts)
    assert labels.names == ()
    assert labels.texts().tolist() == [None] * len(texts)


def test_taken_labels_keep_names_that_no_longer_occur() -> None:
    taken = Labels.of(["a", None, "b"]).take(np.array([2, 1, 2]))
    assert taken.texts().tolist() == ["b", None, "b"]
    assert taken.names == ("a", "b")


def test_a_text_without_a_number_gets_that_of_a_missing_one() -> None:
    assert Labels.of(["a", "b", None]).translate({"a": 1.5, "c": 9.0}, missing=-7.0).tolist() == [1.5, -7.0, -7.0]
    assert Labels.of([None]).translate({"a": 1.5}, missing=-7.0).tolist() == [-7.0]


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [
        (["BR", "BR", "AT"], ["SP", "RJ", "9"], ["BR-SP", "BR-RJ", "AT-9"]),
        (["BR", None, "AT", None], ["SP", "RJ", None, None], ["BR-SP", None, None, None]),
        (["BR", "AT"], [None, None], [None, None]),
        ([None, None], ["SP", "RJ"], [None, None]),
        ([], [], []),
        (["a", "a-b"], ["b-c", "c"], ["a-b-c", "a-b-c"]),
    ],
    ids=["both known", "some missing", "right unknown", "left unknown", "nothing", "two ways to one text"],
)
def test_joined_texts_are_missing_where_either_is(left: list[str | None], right: list[str | None], joined: list[str | None]) -> None:
    labels = Labels.of(left).joined(Labels.of(right), "-")
    assert labels.texts().tolist() == joined
    assert list(labels.names) == sorted({text for text in joined if text})


def test_runs_know_their_lengths_and_rows_their_run() -> None:
    assert RUNS.counts.tolist() == [2, 0, 3, 0]
    assert RUNS.owner().tolist() == [0, 0, 2, 2, 2]


@pytest.mark.parametrize("values", [np.array([1, 2, 3, 4, 5]), np.array([True, False, True, True, False])])
def test_the_total_of_an_empty_run_is_nothing(values: NDArray[np.int64]) -> None:
    assert RUNS.total(values).tolist() == [sum(values[:2]), 0, sum(values[2:]), 0]


@pytest.mark.parametrize(
    ("mask", "first", "last"),
    [
        ([1, 1, 1, 1, 1], [0, NOWHERE, 2, NOWHERE], [1, NOWHERE, 4, NOWHERE]),
        ([0, 1, 0, 1, 0], [1, NOWHERE, 3, NOWHERE], [1, NOWHERE, 3, NOWHERE]),
        ([0, 0, 0, 0, 1], [NOWHERE, NOWHERE, 4, NOWHERE], [NOWHERE, NOWHERE, 4, NOWHERE]),
        ([1, 0, 0, 0, 0], [0, NOWHERE, NOWHERE, NOWHERE], [0, NOWHERE, NOWHERE, NOWHERE]),
        ([0, 0, 0, 0, 0], [NOWHERE] * 4, [NOWHERE] * 4),
    ],
)
def test_first_and_last_rows_are_looked_for_within_each_run_alone(mask: list[int], first: list[int], last: list[int]) -> None:
    assert RUNS.first_where(np.array(mask, dtype=bool)).tolist() == first
    assert RUNS.last_where(np.array(mask, dtype=bool)).tolist() == last


@pytest.mark.parametrize("counts", [[], [0], [0, 0]])
def test_runs_without_rows_hold_nothing(counts: list[int]) -> None:
    runs, nothing = Segments.of_counts(np.array(counts, dtype=np.int64)), np.zeros(0, dtype=bool)
    assert runs.total(nothing).tolist() == [0] * len(counts)
    assert runs.first_where(nothing).tolist() == [NOWHERE] * len(counts)
    assert runs.last_where(nothing).tolist() == [NOWHERE] * len(counts)
    assert runs.owner().tolist() == []


def test_any_runs_agree_with_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        runs = Segments.of_counts(rng.integers(0, 4, rng.integers(1, 8)))
        mask = rng.random(runs.starts[-1]) < 0.4
        rows = [[row for row in range(start, end) if mask[row]] for start, end in zip(runs.starts[:-1], runs.starts[1:], strict=True)]
        assert runs.first_where(mask).tolist() == [min(own, default=NOWHERE) for own in rows]
        assert runs.last_where(mask).tolist() == [max(own, default=NOWHERE) for own in rows]
        assert runs.total(mask).tolist() == [len(own) for own in rows]


def test_nowhere_has_no_time() -> None:
    times = np.array(["2018-01-01", "2018-01-02"], dtype="datetime64[us]")
    picked = pick_times(times, np.array([1, NOWHERE, 0]))
    assert np.array_equal(picked, np.array(["2018-01-02", "NaT", "2018-01-01"], dtype="datetime64[us]"), equal_nan=True)


def test_a_missing_text_is_taken_from_elsewhere() -> None:
    texts = Labels.of(["b", None, None, "a"]).or_else(Labels.of(["x", "a", None, "y"]))
    assert texts.texts().tolist() == ["b", "a", None, "a"]
    assert list(texts.names) == sorted(texts.names)
