"""Categoricals and segments."""

import numpy as np
import pandas as pd
import pytest

from eta.journey.categories import MISSING, Categorical, derive, group_rows, lookup
from eta.journey.segments import Segments

#: Rows 0-1, none, 2-4, none.
RUNS = Segments.from_counts(np.array([2, 0, 3, 0]))


@pytest.mark.parametrize(
    "texts",
    [["b", None, "a", "", "b"], pd.Series(["b", np.nan, "a", "", "b"], dtype=object)],
    ids=["a list", "a column"],
)
def test_categories_are_codes_into_sorted_names(
    texts: list[str | None] | pd.Series,
) -> None:
    labels = Categorical.from_texts(texts)
    assert labels.names == ("a", "b")
    assert labels.codes.tolist() == [1, MISSING, 0, MISSING, 1]
    assert labels.texts().tolist() == ["b", None, "a", None, "b"]
    assert len(labels) == 5


@pytest.mark.parametrize("texts", [[], [None, ""]])
def test_categoricals_without_texts_have_no_names(texts: list[str | None]) -> None:
    labels = Categorical.from_texts(texts)
    assert labels.names == ()
    assert labels.texts().tolist() == [None] * len(texts)


def test_taken_rows_retain_names_that_no_longer_occur() -> None:
    taken = Categorical.from_texts(["a", None, "b"]).take(np.array([2, 1, 2]))
    assert taken.texts().tolist() == ["b", None, "b"]
    assert taken.names == ("a", "b")


def test_texts_without_a_number_get_the_missing_value() -> None:
    assert Categorical.from_texts(["a", "b", None]).translate(
        {"a": 1.5, "c": 9.0}, missing=-7.0
    ).tolist() == [
        1.5,
        -7.0,
        -7.0,
    ]
    assert Categorical.from_texts([None]).translate({"a": 1.5}, missing=-7.0).tolist() == [-7.0]


@pytest.mark.parametrize("count", [0, 3, 5_000])
def test_lookups_agree_for_few_and_many_texts(count: int) -> None:
    texts = [("a", None, "b", "c")[number % 4] for number in range(count)]
    values = lookup(
        (Categorical.from_texts(texts), Categorical.from_texts(texts[::-1])),
        ({"a": 1.5, "b": 2.5}, {"c": 3.5}),
        (-7.0, -8.0),
    )
    first, second = {"a": 1.5, "b": 2.5}, {"c": 3.5}
    assert values.tolist() == [
        [first.get(str(text), -7.0) for text in texts],
        [second.get(str(text), -8.0) for text in texts[::-1]],
    ]


def pairs(left: str | None, right: str | None) -> tuple[str | None, str | None]:
    return (f"{left}-{right}" if left and right else None), left or right


@pytest.mark.parametrize(
    ("left", "right", "joined", "either"),
    [
        (["BR", "BR", "AT"], ["SP", "RJ", "9"], ["BR-SP", "BR-RJ", "AT-9"], ["BR", "BR", "AT"]),
        (
            ["BR", None, "AT", None],
            ["SP", "RJ", None, None],
            ["BR-SP", None, None, None],
            ["BR", "RJ", "AT", None],
        ),
        ([None, None], ["SP", "RJ"], [None, None], ["SP", "RJ"]),
        ([], [], [], []),
        (["a", "a-b"], ["b-c", "c"], ["a-b-c", "a-b-c"], ["a", "a-b"]),
    ],
    ids=["both known", "some missing", "left unknown", "nothing", "two ways to one text"],
)
def test_derived_texts_follow_from_their_row(
    left: list[str | None],
    right: list[str | None],
    joined: list[str | None],
    either: list[str | None],
) -> None:
    columns = derive(
        [Categorical.from_texts(left), Categorical.from_texts(right)], pairs, ("joined", "either")
    )
    assert {name: labels.texts().tolist() for name, labels in columns.items()} == {
        "joined": joined,
        "either": either,
    }
    assert list(columns["joined"].names) == sorted({text for text in joined if text})


def test_each_combination_is_derived_once() -> None:
    calls: list[str | None] = []

    def once(text: str | None) -> tuple[str | None]:
        calls.append(text)
        return (text,)

    derive([Categorical.from_texts(["b", None, "a", "b", None, "b"])], once, ("same",))
    assert calls == ["b", None, "a"]


def test_combinations_are_numbered_as_they_first_occur() -> None:
    random = np.random.default_rng(1)
    for rows in (1, 7, 300, 5_000):
        codes = random.integers(-1, 9, (3, rows)).astype(np.int32)
        group, first = group_rows(
            [Categorical(row_codes, tuple("abcdefghi")) for row_codes in codes]
        )
        seen: dict[tuple[int, ...], int] = {}
        assert group.tolist() == [
            seen.setdefault(tuple(row), len(seen)) for row in codes.T.tolist()
        ]
        assert [tuple(row) for row in codes.T[first].tolist()] == list(seen)


def test_segments_have_counts_and_rows_have_owners() -> None:
    assert RUNS.counts.tolist() == [2, 0, 3, 0]
    assert RUNS.owner().tolist() == [0, 0, 2, 2, 2]


@pytest.mark.parametrize("counts", [[], [0], [0, 0]])
def test_segments_without_rows_are_empty(counts: list[int]) -> None:
    runs = Segments.from_counts(np.array(counts, dtype=np.int64))
    assert runs.counts.tolist() == counts
    assert runs.owner().tolist() == []
