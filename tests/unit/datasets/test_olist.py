from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from eta.datasets.base import Dataset
from eta.datasets.olist import EVENT_OF_TIMESTAMP, ZONE, read_olist
from eta.domain.errors import SourceRejected
from eta.domain.vocabulary import EventCode
from support.datasets import NOW
from support.olist_files import (
    CUSTOMERS,
    FILES,
    ITEMS,
    ORDERS,
    PLACES,
    PRODUCTS,
    PURCHASED,
    SELLERS,
    STATUS_OF_TIMESTAMP,
    read,
    write_olist,
)

Cells = Mapping[str, object]

#: Faults that cost a whole order; the others cost a value or a line of another file.
COST_AN_ORDER = {
    "wrong_number_of_fields",
    "no_order_id",
    "order_id_comes_twice",
    "no_purchase_time",
    "unreadable_order_purchase_timestamp",
}

#: The small data hold a product that weighs nothing.
WEIGHTLESS = {"unusable_product_weight_g": 1}

SMALL: dict[str, list[Cells]] = {
    ORDERS: [
        {
            "order_id": "o1",
            "customer_id": "c1",
            "order_status": "delivered",
            PURCHASED: "2018-03-01 10:00:00",
            "order_approved_at": "2018-03-01 12:30:00",
            "order_delivered_carrier_date": "2018-03-03 09:00:00",
            "order_delivered_customer_date": "2018-03-10 18:45:10",
            "order_estimated_delivery_date": "2018-03-20 00:00:00",
        },
        {
            "order_id": "o2",
            "customer_id": "c2",
            "order_status": "created",
            PURCHASED: "2018-03-02 08:00:00",
            "order_approved_at": "",
            "order_delivered_carrier_date": "",
            "order_delivered_customer_date": "",
            "order_estimated_delivery_date": "2018-03-23 00:00:00",
        },
    ],
    ITEMS: [
        {
            "order_id": "o1",
            "order_item_id": 1,
            "product_id": "p1",
            "seller_id": "s1",
            "shipping_limit_date": "",
            "price": 10.5,
            "freight_value": 1,
        },
        {
            "order_id": "o2",
            "order_item_id": 1,
            "product_id": "p1",
            "seller_id": "s1",
            "shipping_limit_date": "",
            "price": 20,
            "freight_value": 1,
        },
    ],
    PRODUCTS: [
        {
            "product_id": "p1",
            "product_weight_g": 1500,
            "product_length_cm": 30,
            "product_height_cm": 10,
            "product_width_cm": 20,
        },
        {
            "product_id": "p2",
            "product_weight_g": 250,
            "product_length_cm": 16,
            "product_height_cm": 5,
            "product_width_cm": 40,
        },
        {
            "product_id": "weightless",
            "product_weight_g": "",
            "product_length_cm": 16,
            "product_height_cm": 5,
            "product_width_cm": 11,
        },
        {
            "product_id": "zero",
            "product_weight_g": 0,
            "product_length_cm": 16,
            "product_height_cm": 5,
            "product_width_cm": 11,
        },
        {
            "product_id": "anvil",
            "product_weight_g": 1_000_001,
            "product_length_cm": 16,
            "product_height_cm": 5,
            "product_width_cm": 11,
        },
    ],
    CUSTOMERS: [
        {"customer_id": "c1", "customer_zip_code_prefix": "01001", "customer_state": "SP"},
        {"customer_id": "c2", "customer_zip_code_prefix": "69005", "customer_state": "AM"},
    ],
    SELLERS: [
        {"seller_id": "s1", "seller_zip_code_prefix": "30110", "seller_state": "MG"},
        {"seller_id": "s2", "seller_zip_code_prefix": "01001", "seller_state": "SP"},
    ],
    PLACES: [
        {
            "geolocation_zip_code_prefix": "01001",
            "geolocation_lat": -23.5,
            "geolocation_lng": -46.6,
        },
        {
            "geolocation_zip_code_prefix": "30110",
            "geolocation_lat": -19.9,
            "geolocation_lng": -43.9,
        },
        {"geolocation_zip_code_prefix": "69005", "geolocation_lat": -3.1, "geolocation_lng": -60.0},
    ],
}


def small(folder: Path, **changes: list[Cells]) -> Dataset:
    """The dataset of two orders; ``changes`` replace files, by the middle of their names."""
    for name, rows in SMALL.items():
        pd.DataFrame(changes.get(name.split("_")[-2], rows)).to_csv(folder / name, index=False)
    return read_olist(folder, now=NOW)


def order(number: int = 0, **cells: object) -> Cells:
    return {**SMALL[ORDERS][number], **cells}


def items(*lines: tuple[object, str, str], order_id: str = "o1") -> list[Cells]:
    return [
        {
            **SMALL[ITEMS][0],
            "order_id": order_id,
            "order_item_id": number,
            "product_id": product,
            "seller_id": seller,
        }
        for number, product, seller in lines
    ]


def parcel(dataset: Dataset, order_id: str = "o1") -> pd.Series:
    return next(row for _, row in dataset.shipments.iterrows() if row["shipment_id"] == order_id)


def scans(dataset: Dataset, order_id: str = "o1") -> dict[str, str]:
    """Event code -> moment in UTC, of one order."""
    events = dataset.events[dataset.events["shipment_id"] == order_id]
    assert events["event_code"].is_unique
    return dict(
        zip(
            events["event_code"].astype(str),
            events["occurred_at"].dt.tz_convert("UTC").dt.strftime("%Y-%m-%d %H:%M:%S"),
            strict=True,
        )
    )


def edit(folder: Path, file: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Changes the lines of a file; line 0 names the columns."""
    (folder / file).write_bytes(b"\n".join(change((folder / file).read_bytes().split(b"\n"))))


def replaced(
    number: int, line: bytes | Callable[[bytes], bytes]
) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [
        *lines[:number],
        line(lines[number]) if callable(line) else line,
        *lines[number + 1 :],
    ]


def field(number: int, value: bytes) -> Callable[[bytes], bytes]:
    def change(line: bytes) -> bytes:
        fields = line.split(b",")
        fields[number] = value
        return b",".join(fields)

    return change


@pytest.fixture(scope="module")
def unspoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_olist(tmp_path_factory.mktemp("unspoilt"), orders=40)


@pytest.fixture(scope="module")
def before(unspoilt: Path) -> Dataset:
    """What the importer makes of forty orders before a test spoils them."""
    return read_olist(unspoilt, now=NOW)


@pytest.fixture
def forty(unspoilt: Path, tmp_path: Path) -> Path:
    """The files of forty orders, to be spoilt."""
    return shutil.copytree(unspoilt, tmp_path / "forty")


def test_the_timestamps_of_an_order_are_events_in_the_declared_zone(tmp_path: Path) -> None:
    dataset = small(tmp_path)
    assert dataset.zone == ZONE
    assert scans(dataset) == {
        "order_created": "2018-03-01 13:00:00",
        "order_approved": "2018-03-01 15:30:00",
        "accepted": "2018-03-03 12:00:00",
        "delivered": "2018-03-10 21:45:10",
    }
    assert scans(dataset, "o2") == {"order_created": "2018-03-02 11:00:00"}


def test_every_receipt_is_assumed_at_the_time_of_the_event(
    tmp_path: Path,
) -> None:
    events = small(tmp_path).events
    assert events["received_at"].equals(events["occurred_at"])
    assert events["is_received_at_assumed"].all()


@pytest.mark.parametrize(
    ("wall", "utc"),
    [
        ("2018-01-31 23:59:59", "2018-02-01 01:59:59"),  # summer, two hours behind
        ("2018-02-17 22:59:59", "2018-02-18 00:59:59"),
        ("2018-02-18 00:00:00", "2018-02-18 03:00:00"),
    ],
)
def test_summer_time_differs_from_winter_time(tmp_path: Path, wall: str, utc: str) -> None:
    dataset = small(tmp_path, orders=[order(1, **{PURCHASED: wall})])
    assert scans(dataset, "o2")["order_created"] == utc
    assert dataset.warnings[f"ambiguous_{PURCHASED}"] == 0


@pytest.mark.parametrize(
    ("wall", "utc"),
    [
        ("2018-02-17 23:30:00", "2018-02-18 01:30:00"),  # comes twice: the first
        (
            "2017-10-15 00:30:00",
            "2017-10-15 03:00:00",
        ),  # never came: the first moment after the gap
    ],
)
def test_an_ambiguous_or_skipped_local_time_is_accepted_and_counted(
    tmp_path: Path, wall: str, utc: str
) -> None:
    dataset = small(tmp_path, orders=[order(), order(1, **{PURCHASED: wall})])
    assert scans(dataset, "o2")["order_created"] == utc
    assert parcel(dataset, "o2")["ordered_at"] == pd.Timestamp(utc, tz="UTC")
    assert dataset.warnings[f"ambiguous_{PURCHASED}"] == 1
    assert dataset.rejected() == WEIGHTLESS


def test_the_promise_is_a_date(tmp_path: Path) -> None:
    dataset = small(
        tmp_path,
        orders=[
            order(order_estimated_delivery_date="2018-03-20 17:00:00"),
            order(1, order_estimated_delivery_date=""),
        ],
    )
    assert parcel(dataset)["promised_on"] == pd.Timestamp("2018-03-20")
    assert pd.isna(parcel(dataset, "o2")["promised_on"])


def test_a_parcel_goes_from_its_seller_to_its_customer(tmp_path: Path) -> None:
    shipment = parcel(small(tmp_path), "o2")
    assert list(
        shipment[
            [
                "origin_country",
                "origin_region",
                "origin_postcode",
                "origin_latitude",
                "origin_longitude",
            ]
        ]
    ) == ["BR", "MG", "30110", -19.9, -43.9]
    assert list(
        shipment[
            [
                "destination_country",
                "destination_region",
                "destination_postcode",
                "destination_latitude",
            ]
        ]
    ) == ["BR", "AM", "69005", -3.1]
    assert not shipment["has_several_origins"]


def test_an_order_of_several_sellers_leaves_from_the_first_items_seller(
    tmp_path: Path,
) -> None:
    # The number of the item decides, as a number, and not the place of its line.
    dataset = small(
        tmp_path,
        items=[
            *items((10, "p1", "s1"), (2, "p2", "s2")),
            *items((1, "p1", "s1"), (2, "p2", "s1"), order_id="o2"),
        ],
    )
    assert parcel(dataset)["origin_region"] == "SP"
    assert parcel(dataset)["has_several_origins"]
    assert not parcel(dataset, "o2")["has_several_origins"]
    assert dataset.warnings["several_origins"] == 1
    assert len(dataset.shipments) == 2


def test_the_items_of_an_order_are_stacked_into_one_parcel(tmp_path: Path) -> None:
    shipment = parcel(
        small(tmp_path, items=items((1, "p1", "s1"), (2, "p1", "s1"), (3, "p2", "s1")))
    )
    assert shipment["weight_kg"] == pytest.approx(3.25)
    assert list(shipment[["length_cm", "width_cm", "height_cm"]]) == [30, 40, 25]
    assert shipment["price"] == pytest.approx(31.5)


@pytest.mark.parametrize("product", ["weightless", "zero", "unknown"])
def test_a_weight_that_one_item_lacks_is_missing_for_the_parcel(
    tmp_path: Path, product: str
) -> None:
    dataset = small(
        tmp_path,
        items=[*items((1, "p1", "s1"), (2, product, "s1")), *items((1, "p1", "s1"), order_id="o2")],
    )
    assert pd.isna(parcel(dataset)["weight_kg"])
    assert parcel(dataset, "o2")["weight_kg"] == 1.5
    assert dataset.warnings["no_weight"] == 1


def test_an_impossible_weight_is_rejected_and_the_parcel_accepted(tmp_path: Path) -> None:
    dataset = small(tmp_path, items=items((1, "anvil", "s1")))
    assert pd.isna(parcel(dataset)["weight_kg"])
    assert dataset.rejected() == {"weight_above_limit": 1} | WEIGHTLESS


def test_an_order_without_items_is_accepted_without_an_origin(tmp_path: Path) -> None:
    dataset = small(tmp_path, items=items((1, "p1", "s1")))
    shipment = parcel(dataset, "o2")
    assert shipment[["origin_region", "weight_kg", "price"]].isna().all()
    assert shipment["destination_region"] == "AM"
    assert not shipment["has_several_origins"]
    assert dataset.warnings["no_items"] == 1


@pytest.mark.parametrize("status", ["canceled", "unavailable"])
def test_an_abandoned_order_ends_at_the_end_of_the_data(tmp_path: Path, status: str) -> None:
    dataset = small(tmp_path, orders=[order(), order(1, order_status=status)])
    assert scans(dataset, "o2") == {
        "order_created": "2018-03-02 11:00:00",
        "cancelled": scans(dataset)["delivered"],
    }
    assert dataset.warnings["abandoned_at_end_of_data"] == 1


@pytest.mark.parametrize(
    "cells",
    [
        {"order_status": "canceled", "order_delivered_customer_date": "2018-03-09 00:00:00"},
        *(
            {"order_status": status}
            for status in ("shipped", "invoiced", "processing", "delivered", "", "Canceled ")
        ),
    ],
)
def test_no_other_or_delivered_order_is_abandoned(tmp_path: Path, cells: dict[str, str]) -> None:
    dataset = small(tmp_path, orders=[order(), order(1, **cells)])
    assert EventCode.CANCELLED not in set(dataset.events["event_code"])
    assert dataset.warnings["abandoned_at_end_of_data"] == 0


def test_a_place_is_the_median_of_its_points(tmp_path: Path) -> None:
    points = [(-23.50, -46.60), (-23.52, -46.64), (48.85, 2.35)]  # the last one is in Paris
    rows: list[Cells] = [
        {"geolocation_zip_code_prefix": "01001", "geolocation_lat": lat, "geolocation_lng": lng}
        for lat, lng in points
    ]
    shipment = parcel(small(tmp_path, geolocation=rows))
    assert list(shipment[["destination_latitude", "destination_longitude"]]) == [-23.50, -46.60]
    assert pd.isna(shipment["origin_latitude"])


@pytest.mark.parametrize(
    "point", [("", "-46.0"), ("x", "-46.0"), ("-23.5", "y"), ("-91.0", "-46.0"), ("-23.5", "181.0")]
)
def test_an_impossible_point_moves_no_place(tmp_path: Path, point: tuple[str, str]) -> None:
    rows = [
        *SMALL[PLACES],
        {
            "geolocation_zip_code_prefix": "01001",
            "geolocation_lat": point[0],
            "geolocation_lng": point[1],
        },
    ]
    assert parcel(small(tmp_path, geolocation=rows))["destination_latitude"] == -23.5


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(forty: Path, file: str) -> None:
    (forty / file).unlink()
    with pytest.raises(SourceRejected, match=f"{re.escape(str(forty / file))} does not exist"):
        read_olist(forty, now=NOW)


@pytest.mark.parametrize(
    ("file", "column"),
    [
        (ORDERS, "order_id"),
        (ORDERS, "order_approved_at"),
        (ITEMS, "seller_id"),
        (PRODUCTS, "product_weight_g"),
        (CUSTOMERS, "customer_state"),
        (SELLERS, "seller_zip_code_prefix"),
        (PLACES, "geolocation_lat"),
    ],
)
def test_a_missing_column_is_named_with_its_file(forty: Path, file: str, column: str) -> None:
    edit(
        forty,
        file,
        replaced(0, lambda header: header.replace(column.encode(), b"something_else", 1)),
    )
    with pytest.raises(SourceRejected, match=f"{re.escape(file)}.*{column}"):
        read_olist(forty, now=NOW)


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"order_id\n\xff\xfe"])
def test_an_invalid_csv_file_is_named(forty: Path, content: bytes) -> None:
    (forty / ORDERS).write_bytes(content)
    with pytest.raises(SourceRejected, match=re.escape(ORDERS)):
        read_olist(forty, now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda content: b"\xef\xbb\xbf" + content, id="byte order mark"),
        pytest.param(lambda content: content.replace(b"\n", b"\r\n"), id="Windows line ends"),
        pytest.param(lambda content: content.replace(b"\n", b"\n\n"), id="blank lines"),
        pytest.param(lambda content: content.replace(b'"', b""), id="no quotes"),
        pytest.param(lambda content: content.removesuffix(b"\n"), id="no last line end"),
    ],
)
def test_the_format_of_the_files_does_not_matter(
    forty: Path, before: Dataset, change: Callable[[bytes], bytes]
) -> None:
    for path in forty.iterdir():
        path.write_bytes(change(path.read_bytes()))
    after = read_olist(forty, now=NOW)
    pd.testing.assert_frame_equal(after.shipments, before.shipments)
    pd.testing.assert_frame_equal(after.events, before.events)
    assert after.rejected() == {}


@pytest.mark.parametrize(
    ("timestamp", "value"),
    [
        *(
            (timestamp, b"yesterday")
            for timestamp in (*EVENT_OF_TIMESTAMP, "order_estimated_delivery_date")
        ),
        *(
            ("order_approved_at", value)
            for value in (
                b"2018-02-30 10:00:00",
                b"2018-03-01",
                b"1519862400",
                b"2018-03-01T10:00:00-03:00",
            )
        ),
    ],
)
def test_an_unreadable_timestamp_is_rejected_verbatim_and_alone(
    forty: Path, before: Dataset, timestamp: str, value: bytes
) -> None:
    edit(
        forty,
        ORDERS,
        replaced(3, field(list(read(forty / ORDERS).columns).index(timestamp), value)),
    )
    dataset = read_olist(forty, now=NOW)
    spoilt = read(forty / ORDERS)["order_id"][2]
    quarantined = dataset.quarantine[dataset.quarantine["reason"] == f"unreadable_{timestamp}"]
    assert list(quarantined["file"]) == [ORDERS]
    assert quarantined["content"].item() == f"{spoilt},{value.decode()}"
    lost = {EVENT_OF_TIMESTAMP[timestamp]} if timestamp in EVENT_OF_TIMESTAMP else set()
    if timestamp == PURCHASED:
        assert spoilt not in set(dataset.shipments["shipment_id"])
    else:
        assert set(scans(before, spoilt)) - set(scans(dataset, spoilt)) == {
            code.value for code in lost
        }
    others = before.events[before.events["shipment_id"] != spoilt].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        dataset.events[dataset.events["shipment_id"] != spoilt].reset_index(drop=True), others
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            lambda lines: [*lines[:4], lines[3], *lines[4:]], "order_id_comes_twice", id="twice"
        ),
        pytest.param(replaced(3, field(0, b'""')), "no_order_id", id="no id"),
        pytest.param(replaced(3, field(3, b"")), "no_purchase_time", id="no purchase time"),
        pytest.param(
            replaced(3, field(3, b"noon")),
            "unreadable_order_purchase_timestamp",
            id="unreadable purchase time",
        ),
        pytest.param(replaced(3, b"too,few"), "wrong_number_of_fields", id="too few fields"),
        pytest.param(
            replaced(3, lambda line: line + b",,"), "wrong_number_of_fields", id="too many fields"
        ),
        pytest.param(
            replaced(3, lambda line: line.replace(b",", b'"', 1)),
            "wrong_number_of_fields",
            id="a stray quote",
        ),
    ],
)
def test_an_invalid_order_is_counted_by_reason_and_the_rest_survive(
    forty: Path, before: Dataset, change: Callable[[list[bytes]], list[bytes]], reason: str
) -> None:
    edit(forty, ORDERS, change)
    rows_in_file = len((forty / ORDERS).read_bytes().splitlines()) - 1
    dataset = read_olist(forty, now=NOW)
    assert dataset.rejected()[reason] == 1
    assert len(dataset.shipments) + 1 == rows_in_file
    imported_ids = set(dataset.shipments["shipment_id"])
    assert len(imported_ids) == len(dataset.shipments)
    assert imported_ids <= set(before.shipments["shipment_id"])
    pd.testing.assert_frame_equal(
        dataset.events,
        before.events[before.events["shipment_id"].isin(imported_ids)].reset_index(drop=True),
    )


def test_the_first_of_two_rows_of_one_order_counts(forty: Path, before: Dataset) -> None:
    edit(
        forty, ORDERS, lambda lines: [*lines[:-1], field(3, b"2018-01-01 00:00:00")(lines[1]), b""]
    )
    dataset = read_olist(forty, now=NOW)
    assert dataset.rejected() == {"order_id_comes_twice": 1}
    pd.testing.assert_frame_equal(dataset.events, before.events)
    assert "2018-01-01 00:00:00" in dataset.quarantine["content"].item()


@pytest.mark.parametrize(
    ("file", "key"), [(PRODUCTS, "product_id"), (CUSTOMERS, "customer_id"), (SELLERS, "seller_id")]
)
def test_a_repeated_row_multiplies_no_parcel(
    forty: Path, before: Dataset, file: str, key: str
) -> None:
    edit(forty, file, lambda lines: [*lines[:-1], lines[1], b""])
    dataset = read_olist(forty, now=NOW)
    pd.testing.assert_frame_equal(dataset.shipments, before.shipments)
    assert dataset.rejected() == {f"{key}_comes_twice": 1}


@pytest.mark.parametrize("file", FILES)
def test_a_line_with_a_wrong_number_of_fields_is_rejected_verbatim(
    forty: Path, before: Dataset, file: str
) -> None:
    edit(forty, file, lambda lines: [*lines[:2], b"half a line", *lines[2:]])
    dataset = read_olist(forty, now=NOW)
    assert dataset.rejected() == {"wrong_number_of_fields": 1}
    assert dataset.quarantine[["file", "content"]].values.tolist() == [[file, "half a line"]]
    pd.testing.assert_frame_equal(dataset.shipments, before.shipments)
    pd.testing.assert_frame_equal(dataset.events, before.events)


def test_an_item_of_no_order_is_counted(forty: Path) -> None:
    edit(forty, ITEMS, replaced(1, field(0, b'"nobody"')))
    assert read_olist(forty, now=NOW).rejected() == {"item_of_no_order": 1}


def test_no_order_is_lost_silently_in_a_damaged_file(forty: Path) -> None:
    edit(
        forty,
        ORDERS,
        lambda lines: [*lines[:6], b"x", lines[5], *lines[6:-1], b"", b",,,,,,,", b""],
    )
    for number, change in {
        8: field(0, b""),
        9: field(3, b""),
        10: field(3, b"x"),
        11: field(6, b"x"),
        12: lambda line: line + b",",
    }.items():
        edit(forty, ORDERS, replaced(number, change))
    rows_in_file = sum(1 for line in (forty / ORDERS).read_bytes().splitlines() if line) - 1
    dataset = read_olist(forty, now=NOW)
    costly = dataset.quarantine[
        (dataset.quarantine["file"] == ORDERS) & dataset.quarantine["reason"].isin(COST_AN_ORDER)
    ]
    assert len(costly) == 7
    assert len(dataset.shipments) + len(costly) == rows_in_file


def test_generated_orders_have_the_peculiarities_of_real_ones(orders: Path) -> None:
    dataset = read_olist(orders, now=NOW)
    assert len(dataset.shipments) == 600
    assert dataset.rejected() == {}
    assert all(
        dataset.warnings[warning]
        for warning in ("several_origins", "no_items", "no_weight", "abandoned_at_end_of_data")
    )
    assert dataset.shipments["destination_region"].nunique() == 7
    assert set(STATUS_OF_TIMESTAMP) == set(EVENT_OF_TIMESTAMP)


def test_every_real_order_is_read_or_rejected(eta_data: Path) -> None:
    dataset = read_olist(eta_data / "olist", now=NOW)
    assert dataset.rejected() == {}
    assert set(dataset.shipments["shipment_id"]) == set(
        read(eta_data / "olist" / ORDERS)["order_id"]
    )
    assert len(dataset.shipments) == 31_839
    assert dataset.warnings["several_origins"] == 374


@pytest.mark.parametrize(
    "timestamp", ["9999-01-01 00:00:00", "2019-12-31 00:00:00", "2001-01-01 00:00:00"]
)
def test_a_timestamp_far_from_the_purchase_is_rejected_alone(
    tmp_path: Path, timestamp: str
) -> None:
    dataset = small(tmp_path, orders=[order(), order(1, order_delivered_customer_date=timestamp)])
    assert "delivered" not in scans(dataset, "o2")
    assert dataset.rejected()["far_from_purchase_order_delivered_customer_date"] == 1


@pytest.mark.parametrize("price", ["inf", "-1", "much"])
def test_an_invalid_price_is_rejected_alone(tmp_path: Path, price: str) -> None:
    dataset = small(tmp_path, items=[{**item, "price": price} for item in items((1, "p1", "s1"))])
    assert pd.isna(parcel(dataset)["price"])
    assert dataset.rejected()["unusable_price"] == 1
