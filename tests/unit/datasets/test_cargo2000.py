from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eta import bootstrap
from eta.datasets.base import Dataset
from eta.datasets.cargo2000 import COLUMNS, FILE, LEGS, ROWS_A_DAY, read_cargo2000
from eta.domain.errors import SourceRejected
from eta.journey.examples import Outcomes
from eta.journey.snapshots import PURCHASE, evaluation_snapshots, training_snapshots
from eta.journey.timelines import Timelines
from support.datasets import NOW

Leg = Mapping[str, int]

#: A leg of one flight: four steps of planned and effective minutes.
INBOUND: Leg = {
    "legid": 11,
    "rcs_p": 100,
    "rcs_e": 90,
    "dep_1_p": 60,
    "dep_1_e": 70,
    "dep_1_place": 501,
    "rcf_1_p": 200,
    "rcf_1_e": 180,
    "rcf_1_place": 700,
    "dlv_p": 300,
    "dlv_e": 60,
    "hops": 1,
}
#: Planned 1,440 minutes, took 1,500.
OUTBOUND: Leg = {
    "legid": 31,
    "rcs_p": 200,
    "rcs_e": 250,
    "dep_1_p": 90,
    "dep_1_e": 80,
    "dep_1_place": 700,
    "rcf_1_p": 350,
    "rcf_1_e": 370,
    "rcf_1_place": 902,
    "dlv_p": 800,
    "dlv_e": 800,
    "hops": 1,
}
#: What a second flight adds to a leg.
SECOND: Leg = {
    "dep_2_p": 40,
    "dep_2_e": 50,
    "dep_2_place": 902,
    "rcf_2_p": 60,
    "rcf_2_e": 70,
    "rcf_2_place": 903,
    "hops": 2,
}


def chain(outbound: Leg = OUTBOUND, *inbound: Leg, **cells: object) -> dict[str, object]:
    """One row of the file; without inbound legs it has one."""
    inbound = inbound or (INBOUND,)
    legs = {**dict(zip(LEGS, inbound, strict=False)), "o": outbound}
    row: dict[str, object] = dict.fromkeys(COLUMNS, 0)
    row |= {
        f"{leg}_{name}": value
        for leg, cells_of_leg in legs.items()
        for name, value in cells_of_leg.items()
    }
    return row | {"legs": len(inbound)} | cells


def read(folder: Path, *rows: Mapping[str, object]) -> Dataset:
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(folder / FILE, index=False)
    return read_cargo2000(folder, now=NOW)


def numbered(count: int) -> list[dict[str, object]]:
    """Chains whose outbound legs are planned longer and longer."""
    return [
        chain(
            {**OUTBOUND, "legid": 100 + number, "dlv_p": 800 + 37 * number},
            {**INBOUND, "legid": 5000 + number},
        )
        for number in range(count)
    ]


def scans(dataset: Dataset, shipment_id: str = "31") -> pd.DataFrame:
    events = dataset.events[dataset.events["shipment_id"] == shipment_id]
    return events.set_index(events["raw_code"].fillna("booking"))


def moment(dataset: Dataset, code: str, column: str = "occurred_at") -> pd.Timestamp:
    """A time of one scan, in UTC without a zone."""
    return pd.Timestamp(str(scans(dataset).loc[code, column])).tz_localize(None)


def minutes_after_booking(dataset: Dataset, shipment_id: str = "31") -> dict[str, int]:
    at = scans(dataset, shipment_id)["occurred_at"]
    return {
        str(code): round((when - at["booking"]).total_seconds() / 60) for code, when in at.items()
    }


def test_the_outbound_leg_is_the_shipment_and_each_step_an_event(tmp_path: Path) -> None:
    dataset = read(tmp_path, chain())
    outbound = scans(dataset).filter(regex="^(booking|o_)", axis=0)
    assert dict(zip(outbound.index, outbound["event_code"], strict=True)) == {
        "booking": "order_created",
        "o_rcs": "accepted",
        "o_dep_1": "linehaul_departed",
        "o_rcf_1": "arrived_at_delivery_depot",
        "o_dlv": "delivered",
    }
    passed = minutes_after_booking(dataset)
    assert {code: passed[code] for code in outbound.index} == {
        "booking": 0,
        "o_rcs": 250,
        "o_dep_1": 330,
        "o_rcf_1": 700,
        "o_dlv": 1500,
    }
    assert dict(outbound["place"].dropna()) == {"o_dep_1": "700", "o_rcf_1": "902"}


def test_only_the_last_flight_arrives_at_the_airport_of_delivery(tmp_path: Path) -> None:
    dataset = read(tmp_path, chain({**OUTBOUND, **SECOND}))
    codes = scans(dataset)["event_code"]
    assert (codes["o_rcf_1"], codes["o_rcf_2"]) == ("linehaul_arrived", "arrived_at_delivery_depot")
    assert dataset.shipments["destination_region"].item() == "903"
    assert dataset.shipments["service_level"].item() == "one_transfer"


def test_inbound_legs_end_and_are_received_at_the_booking(tmp_path: Path) -> None:
    slow = {**INBOUND, "legid": 12, "dlv_e": 160}
    dataset = read(tmp_path, chain(OUTBOUND, INBOUND, slow))
    passed = minutes_after_booking(dataset)
    assert {code: at for code, at in passed.items() if code.startswith("i1")} == {
        "i1_rcs": -410,
        "i1_dep_1": -340,
        "i1_rcf_1": -160,
        "i1_dlv": -100,
    }
    assert passed["i2_dlv"] == 0
    inbound = scans(dataset).filter(regex="^i", axis=0)
    assert set(inbound["event_code"]) == {"info"}
    assert (
        inbound["received_at"].dt.tz_localize(None) == moment(dataset, "booking", "received_at")
    ).all()
    assert dataset.shipments[["package_count", "has_several_origins"]].to_numpy().tolist() == [
        [2, True]
    ]


def test_an_inbound_delivery_is_no_arrival_and_nothing_precedes_booking(
    tmp_path: Path,
) -> None:
    dataset = read(tmp_path, chain())
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    booked_at = np.datetime64(moment(dataset, "booking", "received_at"), "us")
    outcomes = Outcomes.at(timelines, booked_at)
    assert np.isnat(outcomes.arrived_at).all()
    training = training_snapshots(timelines, timelines.received_at.max())
    assert training.pairs.as_of.min() == booked_at
    assert training.moment[np.argmin(training.pairs.as_of)] == PURCHASE
    judged = evaluation_snapshots(
        timelines, np.datetime64("2000-01-01"), np.datetime64("2002-01-01")
    )
    # The hand-over is the check-in of the outbound leg, not that of an inbound one.
    assert judged.features.numbers["handling_days"][
        list(judged.moment).index("handover")
    ] == pytest.approx(250 / 1440)


@pytest.mark.parametrize(
    ("effective", "is_late"), [(800 - 60, False), (800 - 59, True), (800, True), (1, False)]
)
def test_late_by_the_promised_day_is_a_minute_longer_than_planned(
    tmp_path: Path, effective: int, is_late: bool
) -> None:
    dataset = read(tmp_path, chain({**OUTBOUND, "dlv_e": effective}))
    assert (
        moment(dataset, "o_dlv").normalize() > dataset.shipments["promised_on"].iloc[0]
    ) == is_late


def test_rows_are_in_order_of_days_and_plans_end_before_midnight(
    tmp_path: Path,
) -> None:
    dataset = read(tmp_path, *numbered(2 * ROWS_A_DAY + 1))
    booked = dataset.shipments["ordered_at"]
    first = booked.dt.normalize() - pd.Timestamp("2001-01-01", tz="UTC")
    assert list(first.dt.days) == [0] * ROWS_A_DAY + [1] * ROWS_A_DAY + [2]
    planned = pd.Series([1440 + 37 * number for number in range(len(booked))])
    planned_end = booked + pd.to_timedelta(planned, unit="min")
    assert (planned_end.dt.strftime("%H:%M") == "23:59").all()
    assert (
        planned_end.dt.tz_localize(None).dt.normalize() == dataset.shipments["promised_on"]
    ).all()
    assert dataset.warnings["synthetic_times"] == len(dataset.events)
    assert dataset.events["is_received_at_assumed"].all()


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"o_rcs_e": "soon"}, "no_whole_number"),
        ({"o_rcs_e": "-5"}, "no_whole_number"),
        ({"i1_dlv_p": "1.5"}, "no_whole_number"),
        ({"o_dep_1_place": "FRA"}, "no_whole_number"),
        ({"o_legid": 0}, "no_o_legid"),
        ({"o_legid": 100}, "o_legid_comes_twice"),
        ({"legs": 2}, "legs_are_not_those_counted"),
        ({"i2_legid": 77}, "legs_are_not_those_counted"),
        ({"o_hops": 2}, "milestones_are_not_those_of_the_hops"),
        ({"o_hops": 4}, "milestones_are_not_those_of_the_hops"),
        ({"o_dlv_e": 0}, "milestones_are_not_those_of_the_hops"),
        ({"o_dlv_p": "?"}, "milestones_are_not_those_of_the_hops"),
        ({"i1_rcf_1_place": 0}, "milestones_are_not_those_of_the_hops"),
        ({"i3_dep_1_e": 5}, "milestones_are_not_those_of_the_hops"),
        ({"o_dlv_e": 1_100_000}, "longer_than_two_years"),
    ],
)
def test_an_invalid_row_is_rejected_and_moves_no_other(
    tmp_path: Path, cells: dict[str, object], reason: str
) -> None:
    rows = numbered(5)
    before = read(tmp_path, *rows)
    dataset = read(tmp_path, *rows[:3], {**rows[3], **cells}, rows[4])
    assert dataset.rejected() == {reason: 1}
    assert list(dataset.quarantine["row"]) == [3]
    expected = before.events[before.events["shipment_id"] != "103"].reset_index(drop=True)
    pd.testing.assert_frame_equal(dataset.events, expected)


def test_an_unreadable_value_is_named_by_its_column(tmp_path: Path) -> None:
    dataset = read(tmp_path, chain(o_rcs_e="soon", i1_hops="x"))
    assert dataset.quarantine["content"].tolist() == ["31,i1_hops=x o_rcs_e=soon"]
    assert len(dataset.shipments) == 0


@pytest.mark.parametrize("absent", ["", "?", "0"])
def test_an_absent_step_can_be_written_in_three_ways(tmp_path: Path, absent: str) -> None:
    row = chain()
    before = read(tmp_path, row)
    pd.testing.assert_frame_equal(
        read(
            tmp_path, {name: absent if value == 0 else value for name, value in row.items()}
        ).events,
        before.events,
    )


def test_a_route_with_a_gap_is_accepted_and_counted(tmp_path: Path) -> None:
    dataset = read(
        tmp_path, chain({**OUTBOUND, **SECOND, "dep_2_place": 999}, {**INBOUND, "rcf_1_place": 701})
    )
    assert dataset.rejected() == {}
    assert dataset.warnings["legs_that_change_airport_between_flights"] == 1
    assert dataset.warnings["inbound_legs_that_end_elsewhere"] == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda content: b"\xef\xbb\xbf" + content, id="byte order mark"),
        pytest.param(lambda content: content.replace(b"\n", b"\r\n"), id="Windows line ends"),
        pytest.param(
            lambda content: content.replace(b"\n", b"\r"), id="line ends of old Macintoshes"
        ),
        pytest.param(
            lambda content: (
                content.replace(b",", b'","').replace(b"\n", b'"\n"').join([b'"', b""])[:-1]
            ),
            id="quotes",
        ),
        pytest.param(lambda content: content.removesuffix(b"\n"), id="no last line end"),
        pytest.param(
            lambda content: content.replace(b"legs\n", b'legs,"a\nremark"\n', 1).replace(
                b",1\n", b',1,"two\nlines"\n'
            ),
            id="a column more",
        ),
    ],
)
def test_the_format_of_the_file_does_not_matter(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    before = read(tmp_path, *numbered(30))
    (tmp_path / FILE).write_bytes(change((tmp_path / FILE).read_bytes()))
    after = read_cargo2000(tmp_path / FILE, now=NOW)
    assert after.rejected() == {}
    pd.testing.assert_frame_equal(after.shipments, before.shipments)
    pd.testing.assert_frame_equal(after.events, before.events)


def test_a_line_with_a_wrong_number_of_fields_is_rejected(tmp_path: Path) -> None:
    read(tmp_path, chain())
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes() + b"1,2,3\n")
    assert read_cargo2000(tmp_path, now=NOW).rejected() == {"wrong_number_of_fields": 1}


def test_a_file_without_rows_holds_no_shipments(tmp_path: Path) -> None:
    dataset = read(tmp_path)
    assert (len(dataset.shipments), len(dataset.events)) == (0, 0)


def test_a_missing_file_or_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceRejected, match=f"{FILE} does not exist"):
        read_cargo2000(tmp_path, now=NOW)
    read(tmp_path, chain())
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text().replace("o_rcf_2_e", "something"))
    with pytest.raises(SourceRejected, match=f"{FILE} lacks a column: .*o_rcf_2_e"):
        read_cargo2000(tmp_path, now=NOW)


def test_every_real_chain_is_read(eta_data: Path) -> None:
    dataset = bootstrap.SOURCES["cargo2000"](eta_data / "cargo2000", now=NOW)
    assert dataset.rejected() == {}
    assert len(dataset.shipments) == 3_942
    milestones = dataset.events[dataset.events["raw_code"].notna()]
    assert len(milestones) == 56_082
    assert (
        len(
            milestones.assign(leg=milestones["raw_code"].str.partition("_")[0]).drop_duplicates(
                ["shipment_id", "leg"]
            )
        )
        == 11_874
    )
    assert dataset.events["event_code"].value_counts().to_dict() == {
        "info": 36_572,
        "linehaul_departed": 5_813,
        "order_created": 3_942,
        "accepted": 3_942,
        "arrived_at_delivery_depot": 3_942,
        "delivered": 3_942,
        "linehaul_arrived": 1_871,
    }
    assert dataset.warnings == {
        "synthetic_times": 60_024,
        "received_at_assumed": 60_024,
        "inbound_milestones_as_info": 36_572,
        "several_inbound_legs": 2_624,
        "legs_that_change_airport_between_flights": 3,
        "inbound_legs_that_end_elsewhere": 0,
    }
    delivered = dataset.events[dataset.events["event_code"] == "delivered"].merge(
        dataset.shipments, on="shipment_id"
    )
    late = delivered["occurred_at"].dt.tz_localize(None).dt.normalize() > delivered["promised_on"]
    assert late.mean() == pytest.approx(0.2803, abs=1e-4)
    assert late.tail(len(late) // 4 + 1).mean() == pytest.approx(0.3306, abs=1e-4)
