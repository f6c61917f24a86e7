from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eta import bootstrap
from eta.calendars.local_time import local_dates
from eta.datasets.base import Dataset
from eta.datasets.scms import ASSUMED_LEAD_DAYS, COLUMNS, FILE, read_scms
from eta.domain.errors import SourceRejected
from eta.journey.examples import Outcomes
from eta.journey.timelines import Timelines
from support.datasets import NOW

Cells = dict[str, object]

#: A line that has everything; Haiti is five hours behind UTC, four in summer.
LINE: Cells = {
    "ID": 1,
    "ASN/DN #": "ASN-1",
    "PO / SO #": "SCMS-7",
    "Country": "Haiti",
    "Shipment Mode": "Air Charter",
    "Vendor": "Made-Up Remedies, Ltd.",
    "PQ First Sent to Client Date": "1/9/12",
    "PO Sent to Vendor Date": "2/29/12",
    "Scheduled Delivery Date": "15-May-12",
    "Delivered to Client Date": "15-May-12",
    "Delivery Recorded Date": "20-May-12",
    "Weight (Kilograms)": "120",
    "Line Item Value": "99.5",
}
UNDATED: Cells = {
    "PQ First Sent to Client Date": "Pre-PQ Process",
    "PO Sent to Vendor Date": "Date Not Captured",
}
QUOTED, ORDERED, SCHEDULED, DELIVERED, RECORDED = (
    "PQ First Sent to Client Date",
    "PO Sent to Vendor Date",
    "Scheduled Delivery Date",
    "Delivered to Client Date",
    "Delivery Recorded Date",
)
WEIGHT = "Weight (Kilograms)"


def line(cells: Cells) -> Cells:
    """The line with some other cells."""
    return {**LINE, **cells}


def read(folder: Path, *rows: Cells) -> Dataset:
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(folder / FILE, index=False)
    return read_scms(folder, now=NOW)


def several(count: int) -> list[Cells]:
    return [
        LINE | {"ID": 10 + number, "ASN/DN #": f"DN-{number}", SCHEDULED: f"{number + 1}-May-12"}
        for number in range(count)
    ]


def scans(dataset: Dataset, shipment_id: str = "ASN-1") -> dict[str, tuple[str, str, bool]]:
    """Event code -> occurred, received (UTC) and whether the latter was assumed."""
    events = dataset.events[dataset.events["shipment_id"] == shipment_id]
    assert events["event_code"].is_unique
    at = {
        name: events[name].dt.strftime("%Y-%m-%d %H:%M") for name in ("occurred_at", "received_at")
    }
    rows = zip(
        at["occurred_at"], at["received_at"], events["is_received_at_assumed"].tolist(), strict=True
    )
    return dict(zip(events["event_code"].astype(str), rows, strict=True))


def test_dates_are_local_noons_and_deliveries_received_when_recorded(
    tmp_path: Path,
) -> None:
    dataset = read(tmp_path, LINE)
    assert scans(dataset) == {
        "order_created": ("2012-01-09 17:00", "2012-01-09 17:00", True),
        "order_approved": ("2012-02-29 17:00", "2012-02-29 17:00", True),
        "delivered": ("2012-05-15 16:00", "2012-05-20 16:00", False),
    }
    shipment = dataset.shipments.iloc[0]
    assert list(shipment[["shipment_id", "order_id", "destination_country", "service_level"]]) == [
        "ASN-1",
        "SCMS-7",
        "HT",
        "air_charter",
    ]
    assert list(shipment[["origin_country", "origin_region", "weight_kg", "price"]]) == [
        "ZZ",
        "Made-Up Remedies, Ltd.",
        120.0,
        99.5,
    ]
    assert shipment["promised_on"] == pd.Timestamp("2012-05-15")
    assert dataset.rejected() == {}


def test_without_a_quote_the_order_to_the_vendor_is_the_order(tmp_path: Path) -> None:
    dataset = read(tmp_path, line({QUOTED: "Date Not Captured"}))
    by_shipment = scans(dataset)
    assert (
        by_shipment["order_created"]
        == by_shipment["order_approved"]
        == ("2012-02-29 17:00", "2012-02-29 17:00", True)
    )
    assert dataset.warnings["order_from_vendor_date"] == 1


@pytest.mark.parametrize("nothing", ["Pre-PQ Process", "Date Not Captured", "N/A - From RDC", ""])
def test_without_quote_or_order_a_shipment_starts_30_days_before_schedule(
    tmp_path: Path, nothing: str
) -> None:
    dataset = read(tmp_path, line({QUOTED: nothing, ORDERED: nothing}))
    assert scans(dataset)["order_created"] == ("2012-04-15 04:00", "2012-04-15 04:00", True)
    assert "order_approved" not in scans(dataset)
    assert dataset.warnings["order_date_assumed"] == 1
    assert dataset.rejected() == {}


def test_a_forecast_30_days_ahead_includes_the_shipment(tmp_path: Path) -> None:
    dataset = read(tmp_path, line(UNDATED))
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    begins = timelines.promised_on - np.timedelta64(ASSUMED_LEAD_DAYS, "D")
    assert (
        local_dates(timelines.received_at[:1], timelines.zone.codes, timelines.zone.names) == begins
    )


def test_the_lines_of_a_shipment_are_one_shipment(tmp_path: Path) -> None:
    other = line({"ID": 2, WEIGHT: "30.5", "Line Item Value": "0.5", SCHEDULED: "17-May-12"})
    dataset = read(tmp_path, LINE, other, line({"ID": 3, "ASN/DN #": "DN-2"}))
    assert len(dataset.shipments) == 2
    first = dataset.shipments.iloc[0]
    assert (first["weight_kg"], first["price"], first["promised_on"]) == (
        150.5,
        100.0,
        pd.Timestamp("2012-05-17"),
    )
    assert dataset.warnings["several_lines"] == dataset.warnings["several_scheduled_dates"] == 1


@pytest.mark.parametrize(
    ("weights", "kilograms", "reasons"),
    [
        (["120", "See ASN-1 (ID#:1)"], 120.0, {}),
        (["See ASN-1 (ID#:2)", "120"], 120.0, {}),
        (["120", "Weight Captured Separately"], None, {}),
        (["Weight Captured Separately", "See ASN-1 (ID#:1)"], None, {}),
        (["120", "See ASN-1 (ID#:99)"], None, {"reference_to_nothing_weight_kilograms": 1}),
        (["120", "See ASN-2 (ID#:1)"], None, {"reference_to_nothing_weight_kilograms": 1}),
        (["120", "See DN-9 (ID#:9)"], None, {}),
        (["120", ""], None, {}),
        (["120", "heavy"], None, {"unusable_weight_kilograms": 1}),
        (["120", "0"], None, {"unusable_weight_kilograms": 1}),
        (["-3", "120"], None, {"unusable_weight_kilograms": 1}),
        (["inf", "120"], None, {"unusable_weight_kilograms": 1}),
        (["2500", "See ASN-1 (ID#:1)"], 2500.0, {}),
    ],
)
def test_a_weight_is_complete_or_missing(
    tmp_path: Path, weights: list[str], kilograms: float | None, reasons: dict[str, int]
) -> None:
    other = line({"ID": 9, "ASN/DN #": "DN-9", WEIGHT: "7"})
    dataset = read(
        tmp_path,
        *(line({"ID": number, WEIGHT: text}) for number, text in enumerate(weights, start=1)),
        other,
    )
    by_shipment = dataset.shipments.set_index("shipment_id")["weight_kg"]
    assert by_shipment["DN-9"] == 7.0
    assert (
        by_shipment["ASN-1"] == kilograms
        if kilograms is not None
        else pd.isna(by_shipment["ASN-1"])
    )
    assert dataset.rejected() == reasons
    assert dataset.warnings["no_weight"] == (kilograms is None)
    assert dataset.warnings["heavier_than_a_parcel"] == (kilograms == 2500.0)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({QUOTED: "13/1/12"}, "unreadable_pq_first_sent_to_client_date"),
        ({QUOTED: "9-Jan-12"}, "unreadable_pq_first_sent_to_client_date"),
        ({ORDERED: "soon"}, "unreadable_po_sent_to_vendor_date"),
        ({RECORDED: "20/5/12"}, "unreadable_delivery_recorded_date"),
        ({DELIVERED: "31-Jun-12"}, "unreadable_delivered_to_client_date"),
        ({SCHEDULED: "May 12"}, "unreadable_scheduled_delivery_date"),
        ({QUOTED: "1/9/02"}, "far_from_the_others_pq_first_sent_to_client_date"),
        ({SCHEDULED: "15-May-21"}, "far_from_the_others_scheduled_delivery_date"),
        ({DELIVERED: "15-May-68"}, "far_from_the_others_delivered_to_client_date"),
        ({QUOTED: "5/16/12"}, "after_delivery_pq_first_sent_to_client_date"),
        ({ORDERED: "5/16/12"}, "after_delivery_po_sent_to_vendor_date"),
        ({"Line Item Value": "much"}, "unusable_line_item_value"),
        ({"Shipment Mode": "Zeppelin"}, "unknown_shipment_mode"),
    ],
)
def test_an_invalid_value_is_rejected_alone(
    tmp_path: Path, cells: dict[str, str], reason: str
) -> None:
    rows = several(4)
    before = read(tmp_path, *rows)
    dataset = read(tmp_path, *rows[:2], {**rows[2], **cells}, rows[3])
    assert dataset.rejected() == {reason: 1}
    assert dataset.quarantine["row"].item() == 2
    assert all(str(value) in dataset.quarantine["content"].item() for value in cells.values())
    assert len(dataset.shipments) == 4
    others = dataset.events[dataset.events["shipment_id"] != "DN-2"].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        others, before.events[before.events["shipment_id"] != "DN-2"].reset_index(drop=True)
    )


@pytest.mark.parametrize(
    ("cells", "reason", "rows_lost"),
    [
        ({"ID": ""}, "no_id", 1),
        ({"ID": 10}, "id_comes_twice", 1),
        ({"ASN/DN #": ""}, "no_asn_dn", 1),
        ({"Country": "Atlantis"}, "unknown_country", 1),
        ({"Country": ""}, "unknown_country", 1),
        (
            {SCHEDULED: "", QUOTED: "Pre-PQ Process", ORDERED: "N/A - From RDC"},
            "no_date_of_order_or_schedule",
            1,
        ),
        ({"ASN/DN #": "DN-1", "Country": "Uganda"}, "lines_disagree_on_country", 2),
        (
            {"ASN/DN #": "DN-1", DELIVERED: "16-May-12"},
            "lines_disagree_on_delivered_to_client_date",
            2,
        ),
    ],
)
def test_a_line_of_no_shipment_is_rejected_and_moves_no_other(
    tmp_path: Path, cells: dict[str, object], reason: str, rows_lost: int
) -> None:
    rows = several(5)
    before = read(tmp_path, *rows)
    dataset = read(tmp_path, *rows[:2], {**rows[2], **cells}, *rows[3:])
    assert dataset.rejected() == {reason: rows_lost}
    expected_ids = {"DN-0", "DN-3", "DN-4"} | ({"DN-1"} if rows_lost == 1 else set())
    assert set(dataset.shipments["shipment_id"]) == expected_ids
    pd.testing.assert_frame_equal(
        dataset.events,
        before.events[before.events["shipment_id"].isin(expected_ids)].reset_index(drop=True),
    )


def test_a_delivery_recorded_before_it_happened_is_counted(tmp_path: Path) -> None:
    dataset = read(tmp_path, line({RECORDED: "14-May-12"}))
    assert scans(dataset)["delivered"] == ("2012-05-15 16:00", "2012-05-14 16:00", False)
    assert dataset.warnings["received_before_occurred"] == 1


def test_an_undelivered_shipment_is_open_and_missing_receipts_are_assumed(
    tmp_path: Path,
) -> None:
    dataset = read(
        tmp_path,
        line({DELIVERED: "", RECORDED: ""}),
        line({"ID": 2, "ASN/DN #": "DN-2", RECORDED: ""}),
    )
    assert set(scans(dataset)) == {"order_created", "order_approved"}
    assert dataset.warnings["not_delivered"] == 1
    assert scans(dataset, "DN-2")["delivered"] == ("2012-05-15 16:00", "2012-05-15 16:00", True)


#: Destinations as the file names them.
COUNTRIES = {
    "Congo, DRC": "CD",
    "Côte d'Ivoire": "CI",
    "Kyrgyzstan": "KG",
    "South Sudan": "SS",
    "Swaziland": "SZ",
    "Vietnam": "VN",
    "Zambia": "ZM",
}


def test_every_country_has_a_zone(tmp_path: Path) -> None:
    rows = [
        line({"ID": number, "ASN/DN #": f"DN-{number}", "Country": name})
        for number, name in enumerate(COUNTRIES)
    ]
    dataset = read(tmp_path, *rows)
    assert dataset.shipments["destination_country"].tolist() == list(COUNTRIES.values())
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    outcomes = Outcomes.at(timelines, timelines.received_at.max())
    # Delivered on the promised day, wherever that is.
    assert (
        local_dates(outcomes.arrived_at, timelines.zone.codes, timelines.zone.names)
        == timelines.promised_on
    ).all()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda content: b"\xef\xbb\xbf" + content, id="byte order mark"),
        pytest.param(lambda content: content.replace(b"\n", b"\r\n"), id="Windows line ends"),
        pytest.param(
            lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r"),
            id="line ends of old Macintoshes",
        ),
        pytest.param(lambda content: content.removesuffix(b"\n"), id="no last line end"),
        pytest.param(lambda content: content.replace(b",Haiti,", b',"Haiti",'), id="quotes"),
        pytest.param(
            lambda content: content.replace(b"ID,", b"Remark,ID,", 1).replace(
                b"\n1", b'\n"two\nlines, and a comma",1'
            ),
            id="a quoted line end",
        ),
        pytest.param(
            lambda content: (
                content.replace(b"\n", b"\r")
                .replace(b"ID,", b"Remark,ID,", 1)
                .replace(b"\r1", b'\r"two\rlines",1')
            ),
            id="and an old one",
        ),
    ],
)
def test_the_format_of_the_file_does_not_matter(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    before = read(tmp_path, *several(5))
    (tmp_path / FILE).write_bytes(change((tmp_path / FILE).read_bytes()))
    after = read_scms(tmp_path / FILE, now=NOW)
    assert after.rejected() == {}
    pd.testing.assert_frame_equal(after.shipments, before.shipments)
    pd.testing.assert_frame_equal(after.events, before.events)


def test_a_line_with_a_wrong_number_of_fields_is_rejected(tmp_path: Path) -> None:
    read(tmp_path, LINE)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes() + b"1,2,3\n")
    assert read_scms(tmp_path, now=NOW).rejected() == {"wrong_number_of_fields": 1}


def test_a_file_without_rows_holds_no_shipments(tmp_path: Path) -> None:
    dataset = read(tmp_path)
    assert (len(dataset.shipments), len(dataset.events)) == (0, 0)


def test_a_missing_file_or_column_or_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceRejected, match=f"{FILE} does not exist"):
        read_scms(tmp_path, now=NOW)
    read(tmp_path, line({"Country": "Côte d'Ivoire"}))
    content = (tmp_path / FILE).read_text(encoding="utf-8")
    (tmp_path / FILE).write_text(content, encoding="latin-1")
    latin = read_scms(tmp_path, now=NOW)
    assert latin.warnings[f"{FILE} is in cp1252 and was read so"] == 1
    assert latin.shipments["destination_country"].tolist() == ["CI"]
    (tmp_path / FILE).write_text(content.replace("Shipment Mode", "something"), encoding="utf-8")
    with pytest.raises(SourceRejected, match=f"{FILE} lacks a column: .*Shipment Mode"):
        read_scms(tmp_path, now=NOW)


def test_every_real_line_is_read_or_counted(eta_data: Path) -> None:
    dataset = bootstrap.SOURCES["scms"](eta_data / "scms", now=NOW)
    assert len(dataset.shipments) == 7_030
    assert dataset.events["event_code"].value_counts().to_dict() == {
        "order_created": 7_030,
        "delivered": 7_030,
        "order_approved": 3_448,
    }
    assert dataset.rejected() == {
        "after_delivery_po_sent_to_vendor_date": 5,
        "after_delivery_pq_first_sent_to_client_date": 7,
        "unusable_weight_kilograms": 1,
    }
    assert dataset.warnings == {
        "lines_weighed_with_another": 2_319,
        "lines_weighed_with_one_of_no_weight": 126,
        "lines_weighed_separately": 1_507,
        "several_scheduled_dates": 10,
        "order_date_assumed": 1_230,
        "order_from_vendor_date": 584,
        "ordered_less_than_30_days_ahead": 138,
        "no_scheduled_date": 0,
        "not_delivered": 0,
        "delivered_before_order": 45,
        "several_lines": 1_450,
        "no_weight": 682,
        "heavier_than_a_parcel": 3_231,
        "received_at_assumed": 10_478,
        "received_before_occurred": 3,
    }
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    outcomes = Outcomes.at(timelines, timelines.received_at.max())
    arrived_on = local_dates(outcomes.arrived_at, timelines.zone.codes, timelines.zone.names)
    assert (arrived_on == timelines.promised_on).mean() == pytest.approx(0.6333, abs=1e-4)
    assert (arrived_on > timelines.promised_on).mean() == pytest.approx(0.1138, abs=1e-4)
