"""eta's own columns are read as written; invalid rows and values are rejected and counted."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eta import bootstrap
from eta.cli import main
from eta.datasets.base import Dataset
from eta.datasets.tabular import read_tabular
from eta.domain.errors import NaiveColumn, SourceRejected
from eta.evaluation.backtest import Refit
from eta.forecast.baselines.simple import SurvivalBaseline
from eta.journey.timelines import Timelines
from eta.service.analysis.backtest import ORACLE, backtest_models, oracle_sources
from eta.service.analysis.simulate_data import simulate_data
from eta.simulation.scenario import DEFAULT
from eta.simulation.simulate import simulate
from support.datasets import NOW

SHIPMENT = {
    "shipment_id": "a",
    "order_id": "o",
    "origin_country": "AT",
    "destination_country": "DE",
    "weight_kg": 1.5,
    "ordered_at": "2026-03-01T10:00:00+01:00",
    "promised_on": "2026-03-07",
}
EVENT = {
    "shipment_id": "a",
    "event_code": "accepted",
    "occurred_at": "2026-03-02T09:00:00Z",
    "received_at": "2026-03-02T09:30:00Z",
}


def dataset(folder: Path, shipments: list[dict[str, Any]], events: list[dict[str, Any]]) -> Dataset:
    pd.DataFrame(shipments).to_csv(folder / "shipments.csv", index=False)
    pd.DataFrame(events).to_csv(folder / "events.csv", index=False)
    return read_tabular(folder, now=NOW)


def digest(read: Dataset) -> str:
    timelines = Timelines.from_frames(read.shipments, read.events)
    return timelines.digest(timelines.received_at.max())


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate_data(folder, DEFAULT, shipments=1500)
    return folder


def test_parquet_and_csv_give_the_same_dataset(simulated: Path, tmp_path: Path) -> None:
    for name in ("shipments", "events"):
        pd.read_parquet(simulated / f"{name}.parquet").to_csv(tmp_path / f"{name}.csv", index=False)
    as_parquet, as_csv = read_tabular(simulated, now=NOW), read_tabular(tmp_path, now=NOW)
    assert as_parquet.zone == as_csv.zone == "UTC"
    assert as_parquet.rejected() == as_csv.rejected() == {}
    assert as_parquet.warnings == as_csv.warnings
    assert digest(as_parquet) == digest(as_csv)


def test_simulated_frames_are_read_back(simulated: Path) -> None:
    world = simulate(shipments=1500)
    written, straight = (
        read_tabular(simulated, now=NOW),
        Timelines.from_frames(world.shipments, world.events),
    )
    assert digest(written) == straight.digest(straight.received_at.max())
    assert written.warnings["received_before_occurred"] > 0
    assert written.warnings["unmapped_event_codes"] == 0


def test_one_row_of_each_kind_is_enough(tmp_path: Path) -> None:
    read = dataset(tmp_path, [SHIPMENT], [EVENT])
    assert read.rejected() == {}
    # The order itself becomes a scan, known at once.
    assert read.warnings["order_created_from_ordered_at"] == 1
    ordered = read.events[read.events["event_code"].eq("order_created")]
    assert ordered["received_at"].tolist() == [pd.Timestamp("2026-03-01T09:00:00Z")]
    assert Timelines.from_frames(read.shipments, read.events).scans.counts.tolist() == [2]


@pytest.mark.parametrize("field", ["occurred_at", "received_at"])
def test_a_time_without_an_offset_is_rejected_by_its_field(tmp_path: Path, field: str) -> None:
    read = dataset(tmp_path, [SHIPMENT], [EVENT, EVENT | {field: "2026-03-02T11:00:00"}])
    assert read.rejected() == {f"naive_{field}": 1}
    assert read.events["event_code"].tolist() == ["accepted", "order_created"]


@pytest.mark.parametrize(
    ("file", "field"),
    [("shipments", "ordered_at"), ("events", "occurred_at"), ("events", "received_at")],
)
def test_a_file_of_times_without_offsets_is_rejected_by_its_field(
    tmp_path: Path, file: str, field: str
) -> None:
    naive = {field: "2026-03-02 11:00:00"}
    with pytest.raises(
        NaiveColumn,
        match=f"^{field}: no time of this column of {file}[.]csv has an offset from UTC,"
        " such as 2026-03-02 11:00:00; write it as 2018-05-15T08:00:00-03:00$",
    ):
        dataset(
            tmp_path,
            [SHIPMENT | (naive if file == "shipments" else {})],
            [EVENT | (naive if file == "events" else {})],
        )


def test_a_parquet_column_without_a_zone_is_rejected_by_its_name(tmp_path: Path) -> None:
    pd.DataFrame([SHIPMENT]).to_parquet(tmp_path / "shipments.parquet")
    times = {
        name: pd.to_datetime([EVENT[name]], utc=True).tz_localize(None)
        for name in ("occurred_at", "received_at")
    }
    pd.DataFrame([EVENT]).assign(**times).to_parquet(tmp_path / "events.parquet")
    with pytest.raises(NaiveColumn, match=r"^occurred_at: .* events\.parquet .* 2026-\d\d-\d\dT"):
        read_tabular(tmp_path, now=NOW)


@pytest.mark.parametrize("country", ["GB", "GBR", "gb", "UK", "United Kingdom", " Great Britain "])
def test_a_country_is_read_however_it_is_written(tmp_path: Path, country: str) -> None:
    read = dataset(tmp_path, [SHIPMENT | {"destination_country": country}], [EVENT])
    assert read.rejected() == {}
    assert read.shipments["destination_country"].tolist() == ["GB"]


PLACE = {"destination_country": "Spain"}


@pytest.mark.parametrize(
    ("region", "postcode", "expected", "rejected"),
    [
        ("ES-B", "8001", ("CT", "08001"), {}),
        ("Barcelona", "08001", ("CT", "08001"), {}),
        ("b", "08 001", ("CT", "08001"), {}),
        (None, "08001", (None, "08001"), {}),
        ("Cataluna", "28", ("CT", "28"), {}),
        ("Atlantis", "ABC", (None, None), {"unknown": 1, "impossible": 1}),
        ("FR-75", "53001", (None, None), {"unknown": 1, "impossible": 1}),
    ],
)
def test_regions_and_postcodes_have_one_form(
    tmp_path: Path,
    region: str | None,
    postcode: str,
    expected: tuple[str | None, str | None],
    rejected: dict[str, int],
) -> None:
    place = PLACE | {"destination_region": region, "destination_postcode": postcode}
    read = dataset(tmp_path, [SHIPMENT | place], [EVENT])
    row = read.shipments.iloc[0].astype(object)
    assert tuple(row[["destination_region", "destination_postcode"]].where(row.notna(), None)) == (
        expected
    )
    names = {"unknown": "destination_region", "impossible": "destination_postcode"}
    assert read.rejected() == {
        f"{reason}_{names[reason]}": count for reason, count in rejected.items()
    }
    assert read.warnings["destination_postcode_lost_zeros"] == (postcode == "8001")


def test_a_postcode_alone_has_the_region_of_a_stated_one(tmp_path: Path) -> None:
    places: list[dict[str, Any]] = [
        {"destination_region": "Wien", "destination_postcode": None},
        {"destination_region": None, "destination_postcode": "A-1010"},
        {"destination_region": "AT-9", "destination_postcode": "1010"},
    ]
    rows = [
        SHIPMENT | place | {"shipment_id": f"s{number}", "destination_country": "AUT"}
        for number, place in enumerate(places)
    ]
    read = dataset(tmp_path, rows, [EVENT | {"shipment_id": "s0"}])
    timelines = Timelines.from_frames(read.shipments, read.events)
    assert timelines.texts["destination"].texts().tolist() == ["AT-9"] * 3


def test_reasons_name_a_limited_number_of_values(tmp_path: Path) -> None:
    rows = [
        SHIPMENT | {"shipment_id": f"s{number}", "origin_country": f"Q{number}"}
        for number in range(100, 130)
    ]
    read = dataset(tmp_path, [SHIPMENT, *rows], [EVENT])
    assert len(read.rejected()) == 21
    assert read.rejected()["unknown_origin_country"] == 10


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shipment_id": None}, "no_shipment_id"),
        ({}, "shipment_id_comes_twice"),
        ({"shipment_id": "b", "origin_country": "Austra"}, "unknown_origin_country: Austra"),
        ({"shipment_id": "b", "origin_country": "SU"}, "unknown_origin_country: SU"),
        ({"shipment_id": "b", "destination_country": "DX"}, "unknown_destination_country: DX"),
        ({"shipment_id": "b", "destination_country": None}, "no_destination_country"),
    ],
)
def test_an_invalid_shipment_is_rejected(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    read = dataset(tmp_path, [SHIPMENT, SHIPMENT | change], [EVENT])
    assert read.rejected() == {reason: 1}
    assert read.quarantine[["file", "row"]].values.tolist() == [["shipments.csv", 1]]
    assert read.shipments["shipment_id"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("text", "weight_kg"),
    [("9,65", 9.65), ("0,750", 0.75), (" 12,5 ", 12.5), ("1,2500", 1.25), ("1.500", 1.5)],
)
def test_a_comma_that_cannot_separate_thousands_is_a_decimal_sign(
    tmp_path: Path, text: str, weight_kg: float
) -> None:
    read = dataset(tmp_path, [SHIPMENT | {"weight_kg": text}], [EVENT])
    assert read.shipments["weight_kg"].tolist() == [weight_kg]
    assert not read.rejected()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weight_kg": "heavy"}, "unreadable_weight_kg"),
        ({"weight_kg": 0}, "impossible_weight_kg"),
        ({"weight_kg": 1001}, "impossible_weight_kg"),
        ({"weight_kg": "1,500"}, "unreadable_weight_kg"),
        ({"weight_kg": "1.234,5"}, "unreadable_weight_kg"),
        ({"weight_kg": "1,5,5"}, "unreadable_weight_kg"),
        ({"price": -1}, "impossible_price"),
        ({"origin_latitude": 91}, "impossible_origin_latitude"),
        ({"package_count": 0}, "impossible_package_count"),
        ({"promised_on": "07.03.2026"}, "unreadable_promised_on"),
        ({"has_several_origins": "perhaps"}, "unreadable_has_several_origins"),
        ({"ordered_at": "yesterday"}, "unreadable_ordered_at"),
    ],
)
def test_an_invalid_value_is_rejected_and_its_shipment_accepted(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    read = dataset(
        tmp_path,
        [SHIPMENT, SHIPMENT | {"shipment_id": "b"} | change],
        [EVENT, EVENT | {"shipment_id": "b"}],
    )
    assert read.rejected() == {reason: 1}
    assert read.shipments["shipment_id"].tolist() == ["a", "b"]
    assert len(Timelines.from_frames(read.shipments, read.events)) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shipment_id": "nobody"}, "event_of_no_shipment"),
        ({"shipment_id": None}, "event_of_no_shipment"),
        ({"occurred_at": None}, "no_occurred_at"),
        ({"occurred_at": "soon"}, "unreadable_occurred_at"),
        ({"received_at": "soon"}, "unreadable_received_at"),
    ],
)
def test_an_invalid_event_is_rejected_once(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    read = dataset(tmp_path, [SHIPMENT], [EVENT, EVENT | change])
    assert read.rejected() == {reason: 1}
    assert len(read.events) == 2


def test_an_unknown_code_becomes_info_and_stays_a_separate_event(
    tmp_path: Path,
) -> None:
    read = dataset(
        tmp_path,
        [SHIPMENT],
        [EVENT, EVENT | {"event_code": "beamed_up"}, EVENT | {"event_code": "beamed_down"}],
    )
    assert read.warnings["unmapped_event_codes"] == 2
    assert read.events["event_code"].tolist()[:3] == ["accepted", "info", "info"]
    assert Timelines.from_frames(read.shipments, read.events).scans.counts.tolist() == [4]


def test_a_missing_time_of_receipt_is_assumed_and_counted(tmp_path: Path) -> None:
    read = dataset(
        tmp_path, [SHIPMENT], [EVENT, EVENT | {"event_code": "delivered", "received_at": None}]
    )
    assert read.warnings["received_at_assumed"] == 1
    delivered = read.events[read.events["event_code"].eq("delivered")].iloc[0]
    assert delivered["received_at"] == delivered["occurred_at"]
    assert delivered["is_received_at_assumed"]


def test_a_file_without_times_of_receipt_is_read_and_marked(tmp_path: Path) -> None:
    events = [EVENT, EVENT | {"event_code": "delivered", "occurred_at": "2026-03-04T09:00:00Z"}]
    without = [{name: event[name] for name in list(EVENT)[:3]} for event in events]
    read = dataset(tmp_path, [SHIPMENT], without)
    assert read.rejected() == {}
    assert read.warnings["received_at_assumed"] == 2
    assert read.events["received_at"].equals(read.events["occurred_at"])
    assert read.events["is_received_at_assumed"].all()


@pytest.mark.parametrize(
    ("received_at", "is_plausible"),
    [
        ("2000-01-01T00:00:00Z", True),
        ("1999-12-31T23:59:59Z", False),
        ("2026-12-03T12:00:00Z", True),
        ("2026-12-03T12:00:01Z", False),
        ("2027-03-02T09:30:00Z", False),
        ("0001-01-01T00:00:00Z", False),
        ("9999-12-31T23:59:59Z", False),
    ],
)
def test_a_receipt_lies_between_2000_and_two_days_ahead(
    tmp_path: Path, received_at: str, is_plausible: bool
) -> None:
    times = {"occurred_at": received_at, "received_at": received_at}
    read = dataset(tmp_path, [SHIPMENT], [EVENT, EVENT | times | {"event_code": "delivered"}])
    assert read.rejected() == ({} if is_plausible else {"implausible_received_at": 1})
    without_receipt = times | {"received_at": None, "event_code": "delivered"}
    read = dataset(tmp_path, [SHIPMENT], [EVENT, EVENT | without_receipt])
    assert read.rejected() == ({} if is_plausible else {"implausible_occurred_at": 1})


@pytest.mark.parametrize(
    ("occurred_at", "is_plausible"),
    [
        ("2025-01-26T09:30:00Z", True),
        ("2025-01-26T09:29:59Z", False),
        ("2026-03-04T09:30:00Z", True),
        ("2026-03-04T09:30:01Z", False),
        ("1990-12-31T00:00:00Z", False),
    ],
)
def test_an_event_happened_near_its_receipt(
    tmp_path: Path, occurred_at: str, is_plausible: bool
) -> None:
    event = EVENT | {"event_code": "delivered", "occurred_at": occurred_at}
    read = dataset(tmp_path, [SHIPMENT], [EVENT, event])
    assert read.rejected() == ({} if is_plausible else {"implausible_occurred_at": 1})


@pytest.mark.parametrize("ordered_at", ["1999-12-31T23:00:00Z", "2026-12-04T00:00:00Z"])
def test_an_order_at_an_implausible_time_costs_its_row(tmp_path: Path, ordered_at: str) -> None:
    shipments = [SHIPMENT, SHIPMENT | {"shipment_id": "b", "ordered_at": ordered_at}]
    read = dataset(tmp_path, shipments, [EVENT, EVENT | {"shipment_id": "b"}])
    assert read.shipments["shipment_id"].tolist() == ["a"]
    assert read.rejected() == {"event_of_no_shipment": 1, "implausible_ordered_at": 1}
    assert ordered_at in read.examples()["implausible_ordered_at"]


def test_scans_reported_twice_are_duplicates(tmp_path: Path) -> None:
    later = EVENT | {"received_at": "2026-03-02T10:30:00Z"}
    elsewhere = EVENT | {"place": "Graz"}
    read = dataset(tmp_path, [SHIPMENT], [later, EVENT, EVENT, elsewhere, later])
    counts = read.rows["events.csv"]
    assert (counts.read, counts.accepted, counts.duplicate, counts.rejected) == (5, 2, 3, 0)
    first = read.events[read.events["event_code"].eq("accepted") & read.events["place"].isna()]
    assert first["received_at"].tolist() == [pd.Timestamp("2026-03-02T09:30:00Z")]


def test_a_faulty_row_does_not_make_a_sound_one_a_duplicate(tmp_path: Path) -> None:
    faulty = SHIPMENT | {"origin_country": None}
    read = dataset(tmp_path, [faulty, SHIPMENT], [EVENT])
    assert read.rejected() == {"no_origin_country": 1}
    assert read.rows["shipments.csv"].accepted == 1
    # The row that is received first is faulty in another way than the second.
    early = EVENT | {"received_at": "1990-01-01T00:00:00Z"}
    read = dataset(tmp_path, [SHIPMENT], [early, EVENT])
    assert read.rows["events.csv"].accepted == 1


def test_unmapped_codes_are_counted_by_code_among_accepted_rows(tmp_path: Path) -> None:
    scans = [EVENT | {"event_code": code} for code in ("Accepted", "DELIVERED", "DELIVERED")]
    moved = EVENT | {"event_code": "DELIVERED", "occurred_at": "2026-03-02T09:01:00Z"}
    read = dataset(tmp_path, [SHIPMENT], [*scans, moved, EVENT | {"event_code": None}])
    assert read.unmapped_codes == {"DELIVERED": 2, "Accepted": 1, "": 1}
    assert read.warnings["unmapped_event_codes"] == 4


def test_an_unknown_column_gives_a_warning(tmp_path: Path) -> None:
    read = dataset(tmp_path, [SHIPMENT | {"colour": "red"}], [EVENT])
    assert [warning for warning in read.warnings if "colour" in warning]


def test_a_missing_column_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceRejected, match=r"shipments\.parquet"):
        read_tabular(tmp_path, now=NOW)
    with pytest.raises(SourceRejected, match="occurred_at"):
        dataset(
            tmp_path,
            [SHIPMENT],
            [{name: value for name, value in EVENT.items() if name != "occurred_at"}],
        )
    pd.DataFrame([SHIPMENT]).to_parquet(tmp_path / "shipments.parquet")
    with pytest.raises(SourceRejected, match="both"):
        read_tabular(tmp_path, now=NOW)


def test_a_file_that_is_no_parquet_is_rejected(tmp_path: Path) -> None:
    for name in ("shipments", "events"):
        (tmp_path / f"{name}.parquet").write_bytes(b"not at all")
    with pytest.raises(SourceRejected, match=r"shipments\.parquet"):
        read_tabular(tmp_path, now=NOW)


def test_the_first_source_of_the_command_line_is_tabular() -> None:
    assert next(iter(bootstrap.SOURCES)) == "tabular"


def test_the_oracle_is_evaluated_and_figures_are_marked_as_simulated(
    simulated: Path,
) -> None:
    read = read_tabular(simulated, now=NOW)
    timelines = Timelines.from_frames(read.shipments, read.events)
    result = backtest_models(
        timelines,
        {"B4": SurvivalBaseline},
        source="tabular",
        start=datetime(2025, 6, 1, tzinfo=UTC),
        end=datetime(2025, 9, 1, tzinfo=UTC),
        refit=Refit.NEVER,
        curve_sources=oracle_sources(simulated, timelines),
    )
    assert result["data"]["simulated"] is True
    for moment in ("purchase", "in_flight"):
        score = {
            row["model"]: row["crps_days"] for row in result["rows"] if row["moment"] == moment
        }
        assert score[ORACLE] < 0.8 * score["B4"]


def test_without_the_truth_there_is_no_oracle(simulated: Path, tmp_path: Path) -> None:
    read = dataset(tmp_path, [SHIPMENT], [EVENT])
    timelines = Timelines.from_frames(read.shipments, read.events)
    assert oracle_sources(tmp_path, timelines) == {}
    with pytest.raises(SourceRejected, match="truth_journeys"):
        oracle_sources(simulated, timelines)


@contextlib.contextmanager
def ends_well() -> Iterator[None]:
    try:
        yield
    except SystemExit as end:
        assert end.code == 0


def test_the_command_line_writes_the_same_folder_twice(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with ends_well():
            main(
                [
                    "simulate",
                    str(tmp_path / name),
                    "--shipments",
                    "200",
                    "--seed",
                    "7",
                    "--json",
                    str(tmp_path / f"{name}.json"),
                ]
            )
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert files == [
        "events.parquet",
        "scenario.json",
        "shipments.parquet",
        "truth_hubs.parquet",
        "truth_journeys.parquet",
        "truth_weather.parquet",
    ]
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    figures = json.loads((tmp_path / "first.json").read_text(encoding="utf-8"))
    assert figures == json.loads((tmp_path / "first" / "scenario.json").read_text(encoding="utf-8"))
    assert (
        figures["shipments"],
        figures["seed"],
        figures["scenario"]["version"],
        figures["simulated"],
    ) == (200, 7, DEFAULT.version, True)
