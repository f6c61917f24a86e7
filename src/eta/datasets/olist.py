"""Importer of the file layout of the "Brazilian E-Commerce Public Dataset by Olist".

Its time stamps are wall-clock times without a zone; the source declares ``America/Sao_Paulo``. It
does not say when a stamp became known: ``received_at`` is assumed to be ``occurred_at``, and marked
so. ``order_status`` has no time stamp at all: it ends the wait for orders that were cancelled at
the end of the data and says nothing about any moment before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from eta.calendars.local_time import declared_zone_to_utc
from eta.datasets.base import NO_ROW, Dataset, Quarantine, read_csv
from eta.domain.shipment import MAX_WEIGHT_KG
from eta.domain.vocabulary import EventCode

ZONE = "America/Sao_Paulo"

#: The stamps of an order and the scans they stand for.
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

#: Of grams and centimetres.
_MIN_SIZE = 0.001

#: A stamp so long after the purchase, or before it, is a wrong one.
_LATEST, _EARLIEST = pd.Timedelta(days=400), pd.Timedelta(days=-2)
_SIZES = ("product_weight_g", "product_length_cm", "product_height_cm", "product_width_cm")


def read_olist(folder: Path) -> Dataset:
    """Reads a folder with the six files of orders, items, products, customers, sellers and places.

    Raises:
        SourceRejected: if a file is absent or lacks a column.
    """
    quarantine = Quarantine()
    orders = _unique(
        read_csv(
            folder / _ORDERS,
            ["order_id", "customer_id", "order_status", *EVENT_OF_TIMESTAMP, _PROMISE],
            quarantine,
        ),
        "order_id",
        _ORDERS,
        quarantine,
    )
    orders = _parse_times(orders, quarantine)
    places = _centroids(folder, quarantine)
    parcels = _parcels(folder, orders, quarantine)
    shipments = (
        orders[["order_id", "customer_id", "ordered_at", "promised_on"]]
        .merge(parcels, on="order_id", how="left")
        .merge(
            _ends(folder / _SELLERS, "seller", places, quarantine).add_prefix("origin_"),
            left_on="seller_id",
            right_on="origin_id",
            how="left",
        )
        .merge(
            _ends(folder / _CUSTOMERS, "customer", places, quarantine).add_prefix("destination_"),
            left_on="customer_id",
            right_on="destination_id",
            how="left",
        )
        .assign(shipment_id=orders["order_id"].to_numpy(), carrier=None, service_level=None)
        .astype({"has_several_origins": "boolean"})
        .fillna({"has_several_origins": False})
    )
    events, warnings = _events(orders)
    warnings |= {
        "several_origins": int(shipments["has_several_origins"].sum()),
        "no_items": int(shipments["seller_id"].isna().sum()),
        "no_weight": int(shipments["weight_kg"].isna().sum()),
        "no_distance": int(
            (shipments["origin_latitude"].isna() | shipments["destination_latitude"].isna()).sum()
        ),
    }
    return Dataset("olist", ZONE, shipments, events, quarantine.frame(), warnings)


def _unique(frame: pd.DataFrame, key: str, file: str, quarantine: Quarantine) -> pd.DataFrame:
    quarantine.add(file, f"no_{key}", frame[frame[key].isna()])
    again = frame[key].notna() & frame[key].duplicated()
    quarantine.add(file, f"{key}_comes_twice", frame[again])
    return frame[frame[key].notna() & ~again]


def _parse_times(orders: pd.DataFrame, quarantine: Quarantine) -> pd.DataFrame:
    """Adds ``promised_on``, and turns stamps into wall-clock times; unreadable ones are put aside and left out."""
    quarantine.add(_ORDERS, "no_purchase_time", orders.loc[orders[_PURCHASE].isna(), ["order_id"]])
    orders = orders.copy()
    for timestamp in (*EVENT_OF_TIMESTAMP, _PROMISE):
        parsed = pd.to_datetime(
            orders[timestamp], format="%Y-%m-%d %H:%M:%S", errors="coerce"
        ).astype("datetime64[us]")
        quarantine.add(
            _ORDERS,
            f"unreadable_{timestamp}",
            orders.loc[parsed.isna() & orders[timestamp].notna(), ["order_id", timestamp]],
        )
        orders[timestamp] = parsed
    orders = orders[orders[_PURCHASE].notna()]
    for timestamp in EVENT_OF_TIMESTAMP:
        is_wrong = orders[timestamp].notna() & ~(orders[timestamp] - orders[_PURCHASE]).between(
            _EARLIEST, _LATEST
        )
        quarantine.add(
            _ORDERS, f"far_from_purchase_{timestamp}", orders.loc[is_wrong, ["order_id", timestamp]]
        )
        orders[timestamp] = orders[timestamp].where(~is_wrong)
    orders = orders.reset_index(drop=True)
    return orders.assign(
        ordered_at=declared_zone_to_utc(orders[_PURCHASE], ZONE)[0],
        promised_on=orders[_PROMISE].dt.normalize(),
    )


def _centroids(folder: Path, quarantine: Quarantine) -> pd.DataFrame:
    """The median point of each postcode prefix: the public file has many points a prefix, some far off."""
    axes, key = (
        {"geolocation_lat": "latitude", "geolocation_lng": "longitude"},
        "geolocation_zip_code_prefix",
    )
    points = read_csv(folder / _PLACES, [key, *axes], quarantine)
    quarantine.add(_PLACES, f"no_{key}", points[points[key].isna()])
    for column, bound in zip(axes, (90.0, 180.0), strict=True):
        points[column] = _numbers(
            points, column, _PLACES, quarantine, minimum=-bound, maximum=bound
        )
    return points.dropna().groupby(key)[list(axes)].median().rename(columns=axes)


def _numbers(
    frame: pd.DataFrame,
    column: str,
    file: str,
    quarantine: Quarantine,
    *,
    minimum: float,
    maximum: float = sys.float_info.max,
) -> pd.Series:
    """A column as numbers; what is none, or is out of range, is put aside and missing."""
    numbers = pd.to_numeric(frame[column], errors="coerce").astype("float64")
    good = numbers.between(minimum, maximum)
    quarantine.add(file, f"unusable_{column}", frame[frame[column].notna() & ~good])
    return numbers.where(good)


def _ends(path: Path, who: str, places: pd.DataFrame, quarantine: Quarantine) -> pd.DataFrame:
    names = {f"{who}_id": "id", f"{who}_zip_code_prefix": "postcode", f"{who}_state": "region"}
    ends = _unique(
        read_csv(path, list(names), quarantine), f"{who}_id", path.name, quarantine
    ).rename(columns=names)
    return ends.assign(country="BR").merge(places, left_on="postcode", right_index=True, how="left")


def _parcels(folder: Path, orders: pd.DataFrame, quarantine: Quarantine) -> pd.DataFrame:
    """One row an order: seller of the first item, summed weight and price, the sizes of the items stacked.

    A weight or size that one item lacks is missing for the whole parcel.
    """
    items = read_csv(
        folder / _ITEMS,
        ["order_id", "order_item_id", "product_id", "seller_id", "price"],
        quarantine,
    )
    has_order = items["order_id"].isin(orders["order_id"])
    quarantine.add(_ITEMS, "item_of_no_order", items[~has_order])
    products = _unique(
        read_csv(folder / _PRODUCTS, ["product_id", *_SIZES], quarantine),
        "product_id",
        _PRODUCTS,
        quarantine,
    )
    for column in _SIZES:
        products[column] = _numbers(products, column, _PRODUCTS, quarantine, minimum=_MIN_SIZE)
    items["price"] = _numbers(items, "price", _ITEMS, quarantine, minimum=0.0)
    items["order_item_id"] = _numbers(items, "order_item_id", _ITEMS, quarantine, minimum=1.0)
    items = items[has_order].merge(products, on="product_id", how="left")
    items = items.sort_values(["order_id", "order_item_id"], kind="stable")
    grouped = items.groupby("order_id", sort=True)
    whole = grouped[list(_SIZES)].count().eq(grouped.size(), axis=0)
    weight_kg = (grouped["product_weight_g"].sum() / 1000.0).where(whole["product_weight_g"])
    too_heavy = weight_kg > MAX_WEIGHT_KG
    quarantine.add(
        _ITEMS,
        "weight_above_limit",
        weight_kg[too_heavy].reset_index().set_axis([NO_ROW] * int(too_heavy.sum())),
    )
    return pd.DataFrame(
        {
            "seller_id": grouped["seller_id"].first(),
            "has_several_origins": grouped["seller_id"].nunique() > 1,
            "weight_kg": weight_kg.where(~too_heavy),
            "length_cm": grouped["product_length_cm"].max().where(whole["product_length_cm"]),
            "width_cm": grouped["product_width_cm"].max().where(whole["product_width_cm"]),
            "height_cm": grouped["product_height_cm"].sum().where(whole["product_height_cm"]),
            "price": grouped["price"].sum(min_count=1),
            "package_count": 1,
        }
    ).reset_index()


def _events(orders: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    parts, warnings = [], {}
    for timestamp, code in EVENT_OF_TIMESTAMP.items():
        recorded = orders[orders[timestamp].notna()]
        at, is_ambiguous = declared_zone_to_utc(recorded[timestamp], ZONE)
        warnings[f"ambiguous_{timestamp}"] = int(is_ambiguous.sum())
        parts.append(
            pd.DataFrame(
                {
                    "shipment_id": recorded["order_id"],
                    "event_code": code.value,
                    "occurred_at": at,
                    "raw_code": timestamp,
                }
            )
        )
    events = pd.concat(parts, ignore_index=True)
    undelivered = orders["order_delivered_customer_date"].isna()
    abandoned = orders[undelivered & orders["order_status"].isin(ABANDONED_STATUSES)]
    ended = pd.DataFrame(
        {
            "shipment_id": abandoned["order_id"],
            "event_code": EventCode.CANCELLED.value,
            "occurred_at": events["occurred_at"].max(),
            "raw_code": "order_status=" + abandoned["order_status"],
        }
    )
    events = pd.concat([events, ended], ignore_index=True)
    warnings |= {
        "received_at_assumed": len(events),
        "abandoned_at_end_of_data": len(abandoned),
        "handover_before_approval": int(
            (orders["order_delivered_carrier_date"] < orders["order_approved_at"]).sum()
        ),
        "delivery_before_handover": int(
            (orders["order_delivered_customer_date"] < orders["order_delivered_carrier_date"]).sum()
        ),
    }
    return events.assign(
        received_at=events["occurred_at"], is_received_at_assumed=True, place=None
    ), warnings
