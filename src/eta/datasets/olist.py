"""Reader of the file layout of the "Brazilian E-Commerce Public Dataset by Olist".

Its timestamps are wall-clock times without a zone; the source declares ``America/Sao_Paulo``. It
has no times of receipt: ``received_at`` is assumed to be ``occurred_at``, and marked so.
``order_status`` has no timestamp at all: it ends the wait for cancelled orders at the end of the
data and has no effect before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from eta.calendars.local_time import declared_zone_to_utc
from eta.datasets.base import NO_ROW, Dataset, Quarantine, is_implausible
from eta.datasets.csv_files import read_csv
from eta.domain.shipment import MAX_WEIGHT_KG
from eta.domain.vocabulary import EventCode

ZONE = "America/Sao_Paulo"

#: The timestamps of an order, and the event of each.
EVENT_OF_TIMESTAMP: Mapping[str, EventCode] = MappingProxyType(
    {
        "order_purchase_timestamp": EventCode.ORDER_CREATED,
        "order_approved_at": EventCode.ORDER_APPROVED,
        "order_delivered_carrier_date": EventCode.ACCEPTED,
        "order_delivered_customer_date": EventCode.DELIVERED,
    }
)

#: Statuses that end the wait for an arrival, at the end of the data.
ABANDONED_STATUSES = frozenset({"canceled", "unavailable"})
_PURCHASE, _PROMISE = "order_purchase_timestamp", "order_estimated_delivery_date"
_ORDERS, _ITEMS, _PRODUCTS = (
    "olist_orders_dataset.csv",
    "olist_order_items_dataset.csv",
    "olist_products_dataset.csv",
)
_CUSTOMERS, _SELLERS, _PLACES = (
    "olist_customers_dataset.csv",
    "olist_sellers_dataset.csv",
    "olist_geolocation_dataset.csv",
)

#: The lowest weight in grams and size in centimetres.
_MIN_SIZE = 0.001

#: A timestamp further than this after the purchase, or before it, is rejected.
_LATEST, _EARLIEST = pd.Timedelta(days=400), pd.Timedelta(days=-2)
_SIZES = ("product_weight_g", "product_length_cm", "product_height_cm", "product_width_cm")


def read_olist(folder: Path, *, now: datetime) -> Dataset:
    """Reads a folder with the six files of orders, items, products, customers, sellers and places.

    Raises:
        SourceRejected: if a file is absent or lacks a column.
    """
    quarantine = Quarantine()
    columns = ["order_id", "customer_id", "order_status", *EVENT_OF_TIMESTAMP, _PROMISE]
    orders = read_csv(folder / _ORDERS, columns, quarantine)
    orders = _with_purchase(orders, now, quarantine)
    orders = _unique(orders, "order_id", _ORDERS, quarantine).reset_index(drop=True)
    orders = _parse_times(orders, now, quarantine)
    shipments = _shipments(folder, orders, quarantine)
    events, warnings = _events(orders)
    warnings |= _shipment_warnings(shipments) | quarantine.warnings
    rejected, counts = quarantine.frame(), quarantine.rows()
    return Dataset("olist", ZONE, shipments, events, rejected, warnings, counts)


def _shipments(folder: Path, orders: pd.DataFrame, quarantine: Quarantine) -> pd.DataFrame:
    """One row an order, with its parcel and both ends."""
    places = _centroids(folder, quarantine)
    parcels = _parcels(folder, orders, quarantine)
    sellers = _ends(folder / _SELLERS, "seller", places, quarantine).add_prefix("origin_")
    customers = _ends(folder / _CUSTOMERS, "customer", places, quarantine)
    customers = customers.add_prefix("destination_")
    shipments = orders[["order_id", "customer_id", "ordered_at", "promised_on"]]
    shipments = shipments.merge(parcels, on="order_id", how="left")
    shipments = shipments.merge(sellers, left_on="seller_id", right_on="origin_id", how="left")
    shipments = shipments.merge(
        customers, left_on="customer_id", right_on="destination_id", how="left"
    )
    shipments = shipments.assign(
        shipment_id=orders["order_id"].to_numpy(), carrier=None, service_level=None
    )
    shipments = shipments.astype({"has_several_origins": "boolean"})
    return shipments.fillna({"has_several_origins": False})


def _shipment_warnings(shipments: pd.DataFrame) -> dict[str, int]:
    """The peculiarities of accepted shipments, with their counts."""
    latitudes = shipments[["origin_latitude", "destination_latitude"]]
    peculiar = {
        "several_origins": shipments["has_several_origins"],
        "no_items": shipments["seller_id"].isna(),
        "no_weight": shipments["weight_kg"].isna(),
        "no_distance": latitudes.isna().any(axis=1),
    }
    return {name: int(flags.sum()) for name, flags in peculiar.items()}


def _unique(frame: pd.DataFrame, key: str, file: str, quarantine: Quarantine) -> pd.DataFrame:
    """The rows with a key that no earlier row has; the others are rejected."""
    reasons = {f"no_{key}": frame[key].isna(), f"{key}_comes_twice": frame[key].duplicated()}
    return quarantine.reject_rows(file, frame, reasons)


def _parse_times(orders: pd.DataFrame, now: datetime, quarantine: Quarantine) -> pd.DataFrame:
    """Parses timestamps as wall-clock times, and adds ``ordered_at`` and ``promised_on``.

    Unreadable timestamps, those far from the purchase, and those before 2000 or in the future are
    rejected and missing.
    """
    orders = orders.copy()
    for timestamp in (*EVENT_OF_TIMESTAMP, _PROMISE):
        parsed = _parse(orders[timestamp])
        is_unreadable = parsed.isna() & orders[timestamp].notna()
        unreadable = orders.loc[is_unreadable, ["order_id", timestamp]]
        quarantine.reject_values(_ORDERS, f"unreadable_{timestamp}", unreadable)
        orders[timestamp] = parsed
    orders = _plausible(orders, now, quarantine)
    quarantine.count_accepted(_ORDERS, len(orders))
    promised_on = orders[_PROMISE].dt.normalize()
    return orders.assign(ordered_at=_to_utc(orders[_PURCHASE]), promised_on=promised_on)


def _plausible(orders: pd.DataFrame, now: datetime, quarantine: Quarantine) -> pd.DataFrame:
    """The orders without timestamps far from the purchase, before 2000 or in the future."""
    for timestamp in EVENT_OF_TIMESTAMP:
        since_purchase = orders[timestamp] - orders[_PURCHASE]
        is_far = orders[timestamp].notna() & ~since_purchase.between(_EARLIEST, _LATEST)
        is_impossible = ~is_far & is_implausible(_to_utc(orders[timestamp]), now)
        for problem, flags in (("far_from_purchase", is_far), ("implausible", is_impossible)):
            values = orders.loc[flags, ["order_id", timestamp]]
            quarantine.reject_values(_ORDERS, f"{problem}_{timestamp}", values)
        orders[timestamp] = orders[timestamp].where(~(is_far | is_impossible))
    return orders


def _with_purchase(orders: pd.DataFrame, now: datetime, quarantine: Quarantine) -> pd.DataFrame:
    """The orders with a plausible time of purchase; the others are rejected."""
    purchase = _parse(orders[_PURCHASE])
    reasons = {
        "no_purchase_time": orders[_PURCHASE].isna(),
        f"unreadable_{_PURCHASE}": purchase.isna(),
        f"implausible_{_PURCHASE}": is_implausible(_to_utc(purchase), now),
    }
    valid = quarantine.reject_rows(_ORDERS, orders[["order_id", _PURCHASE]], reasons)
    return orders.loc[valid.index]


def _parse(texts: pd.Series) -> pd.Series:
    parsed = pd.to_datetime(texts, format="%Y-%m-%d %H:%M:%S", errors="coerce")
    return parsed.astype("datetime64[us]")


def _to_utc(wall: pd.Series) -> pd.Series:
    return declared_zone_to_utc(wall, ZONE)[0]


def _centroids(folder: Path, quarantine: Quarantine) -> pd.DataFrame:
    """The median point of each postcode prefix, because some of its points are far off."""
    key = "geolocation_zip_code_prefix"
    axes = {"geolocation_lat": "latitude", "geolocation_lng": "longitude"}
    bounds = {"geolocation_lat": 90.0, "geolocation_lng": 180.0}
    points = read_csv(folder / _PLACES, [key, *axes], quarantine)
    reasons = {f"no_{key}": points[key].isna()}
    numbers = {}
    for column, bound in bounds.items():
        number = pd.to_numeric(points[column], errors="coerce").astype("float64")
        numbers[column] = number
        reasons[f"unusable_{column}"] = ~number.between(-bound, bound)
    points = quarantine.reject_rows(_PLACES, points.assign(**numbers), reasons)
    quarantine.count_accepted(_PLACES, len(points))
    centroids = points.groupby(key)[list(axes)].median()
    return centroids.rename(columns=axes)


def _numbers(
    frame: pd.DataFrame,
    column: str,
    file: str,
    quarantine: Quarantine,
    *,
    minimum: float,
    maximum: float = sys.float_info.max,
) -> pd.Series:
    """A column as numbers; values that are no number or out of range are rejected and missing."""
    numbers = pd.to_numeric(frame[column], errors="coerce").astype("float64")
    is_valid = numbers.between(minimum, maximum)
    quarantine.reject_values(file, f"unusable_{column}", frame[frame[column].notna() & ~is_valid])
    return numbers.where(is_valid)


def _ends(path: Path, who: str, places: pd.DataFrame, quarantine: Quarantine) -> pd.DataFrame:
    """Sellers or customers, with country, region and the point of their postcode prefix."""
    names = {f"{who}_id": "id", f"{who}_zip_code_prefix": "postcode", f"{who}_state": "region"}
    ends = read_csv(path, list(names), quarantine)
    ends = _unique(ends, f"{who}_id", path.name, quarantine)
    quarantine.count_accepted(path.name, len(ends))
    ends = ends.rename(columns=names).assign(country="BR")
    return ends.merge(places, left_on="postcode", right_index=True, how="left")


def _parcels(folder: Path, orders: pd.DataFrame, quarantine: Quarantine) -> pd.DataFrame:
    """One row an order: seller of the first item, summed weight and price, stacked sizes.

    A weight or size that one item lacks is missing for the whole parcel.
    """
    items = _items(folder, orders, quarantine)
    grouped = items.groupby("order_id", sort=True)
    is_complete = grouped[list(_SIZES)].count().eq(grouped.size(), axis=0)
    weight_kg = grouped["product_weight_g"].sum() / 1000.0
    weight_kg = weight_kg.where(is_complete["product_weight_g"])
    is_too_heavy = weight_kg > MAX_WEIGHT_KG
    rejected = weight_kg[is_too_heavy].reset_index()
    rejected = rejected.set_axis([NO_ROW] * len(rejected))
    quarantine.reject_values(_ITEMS, "weight_above_limit", rejected)
    sellers = grouped["seller_id"]
    price = grouped["price"].sum(min_count=1)
    length_cm = grouped["product_length_cm"].max()
    width_cm = grouped["product_width_cm"].max()
    height_cm = grouped["product_height_cm"].sum()
    columns = {
        "seller_id": sellers.first(),
        "has_several_origins": sellers.nunique() > 1,
        "weight_kg": weight_kg.where(~is_too_heavy),
        "length_cm": length_cm.where(is_complete["product_length_cm"]),
        "width_cm": width_cm.where(is_complete["product_width_cm"]),
        "height_cm": height_cm.where(is_complete["product_height_cm"]),
        "price": price,
        "package_count": 1,
    }
    return pd.DataFrame(columns).reset_index()


def _items(folder: Path, orders: pd.DataFrame, quarantine: Quarantine) -> pd.DataFrame:
    """The items of orders in their order, with the weight and the sizes of their products."""
    columns = ["order_id", "order_item_id", "product_id", "seller_id", "price"]
    items = read_csv(folder / _ITEMS, columns, quarantine)
    is_foreign = ~items["order_id"].isin(orders["order_id"])
    items = quarantine.reject_rows(_ITEMS, items, {"item_of_no_order": is_foreign})
    quarantine.count_accepted(_ITEMS, len(items))
    products = read_csv(folder / _PRODUCTS, ["product_id", *_SIZES], quarantine)
    products = _unique(products, "product_id", _PRODUCTS, quarantine)
    quarantine.count_accepted(_PRODUCTS, len(products))
    for column in _SIZES:
        products[column] = _numbers(products, column, _PRODUCTS, quarantine, minimum=_MIN_SIZE)
    items["price"] = _numbers(items, "price", _ITEMS, quarantine, minimum=0.0)
    items["order_item_id"] = _numbers(items, "order_item_id", _ITEMS, quarantine, minimum=1.0)
    items = items.merge(products, on="product_id", how="left")
    return items.sort_values(["order_id", "order_item_id"], kind="stable")


def _events(orders: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The events of all orders, and their peculiarities with counts."""
    parts, warnings = [], {}
    for timestamp, code in EVENT_OF_TIMESTAMP.items():
        recorded = orders[orders[timestamp].notna()]
        at, is_ambiguous = declared_zone_to_utc(recorded[timestamp], ZONE)
        warnings[f"ambiguous_{timestamp}"] = int(is_ambiguous.sum())
        columns = {
            "shipment_id": recorded["order_id"],
            "event_code": code.value,
            "occurred_at": at,
            "raw_code": timestamp,
        }
        parts.append(pd.DataFrame(columns))
    events = pd.concat(parts, ignore_index=True)
    handed_over = orders["order_delivered_carrier_date"]
    delivered = orders["order_delivered_customer_date"]
    cancellations = _cancellations(orders, events["occurred_at"].max())
    events = pd.concat([events, cancellations], ignore_index=True)
    warnings["received_at_assumed"] = len(events)
    warnings["abandoned_at_end_of_data"] = len(cancellations)
    is_handover_early = handed_over < orders["order_approved_at"]
    warnings["handover_before_approval"] = int(is_handover_early.sum())
    is_delivery_early = delivered < handed_over
    warnings["delivery_before_handover"] = int(is_delivery_early.sum())
    events = events.assign(
        received_at=events["occurred_at"], is_received_at_assumed=True, place=None
    )
    return events, warnings


def _cancellations(orders: pd.DataFrame, data_through: pd.Timestamp) -> pd.DataFrame:
    """The events that end the wait for abandoned orders, at the end of the data."""
    has_status = orders["order_status"].isin(ABANDONED_STATUSES)
    is_undelivered = orders["order_delivered_customer_date"].isna()
    abandoned = orders[is_undelivered & has_status]
    raw_code = "order_status=" + abandoned["order_status"]
    columns = {
        "shipment_id": abandoned["order_id"],
        "event_code": EventCode.CANCELLED.value,
        "occurred_at": data_through,
        "raw_code": raw_code,
    }
    return pd.DataFrame(columns)
