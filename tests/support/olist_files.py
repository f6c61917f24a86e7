"""Generated orders in the file layout of the public Olist download, and such files as of a day."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ORDERS, ITEMS, PRODUCTS = (
    "olist_orders_dataset.csv",
    "olist_order_items_dataset.csv",
    "olist_products_dataset.csv",
)
CUSTOMERS, SELLERS, PLACES = (
    "olist_customers_dataset.csv",
    "olist_sellers_dataset.csv",
    "olist_geolocation_dataset.csv",
)
FILES = (ORDERS, ITEMS, PRODUCTS, CUSTOMERS, SELLERS, PLACES)

PURCHASED, PROMISED = "order_purchase_timestamp", "order_estimated_delivery_date"
#: The timestamps of an order and the status that the last of them implies.
STATUS_OF_TIMESTAMP = {
    PURCHASED: "created",
    "order_approved_at": "approved",
    "order_delivered_carrier_date": "shipped",
    "order_delivered_customer_date": "delivered",
}

FIRST_DAY, DAYS = "2017-09-01", 240
_PREFIXES_A_STATE, _SELLERS, _PRODUCTS = 5, 12, 40
#: Latitude, longitude, share of the orders, first digits of the postcodes.
_STATES = {
    "SP": (-23.5, -46.6, 0.42, "01"),
    "RJ": (-22.9, -43.2, 0.16, "20"),
    "MG": (-19.9, -43.9, 0.14, "30"),
    "RS": (-30.0, -51.2, 0.10, "90"),
    "BA": (-12.9, -38.5, 0.08, "40"),
    "PE": (-8.0, -34.9, 0.06, "50"),
    "AM": (-3.1, -60.0, 0.04, "69"),
}
#: What the public download puts in quotes: column names, ids and postcodes.
_QUOTED = ("_id", "_unique_id", "_zip_code_prefix")


def write_olist(folder: Path, orders: int = 600, seed: int = 0) -> Path:
    """Writes the six files and returns their folder.

    Eight months of orders into seven states: far and heavy parcels take longer, some are lost on
    the way, cancelled or unavailable, some come from several sellers, and some products have no
    weight.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    places = _places(random)
    home = places.drop_duplicates("geolocation_zip_code_prefix").set_index(
        "geolocation_zip_code_prefix"
    )
    sellers, products = _sellers(random, home), _products(random)
    customers, bought = (
        _customers(random, home, orders),
        _baskets(random, orders, sellers, products),
    )
    _write(folder / PLACES, places)
    _write(folder / SELLERS, sellers)
    _write(folder / PRODUCTS, products)
    _write(folder / CUSTOMERS, customers)
    written = _orders(random, customers, bought, sellers, products)
    _write(folder / ORDERS, written)
    _write(
        folder / ITEMS,
        bought[
            ~bought["order_id"].isin(
                written.loc[written["order_status"].eq("unavailable"), "order_id"]
            )
        ],
    )
    return folder


def write_as_of_day(folder: Path, out: Path, day: str) -> Path:
    """Writes the files in ``folder`` as of 00:00 of ``day`` into ``out``, and returns ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (PRODUCTS, SELLERS, PLACES):
        shutil.copyfile(folder / name, out / name)
    orders, items, customers = (read(folder / name) for name in (ORDERS, ITEMS, CUSTOMERS))
    orders = orders[orders[PURCHASED] <= f"{day} 00:00:00"].copy()
    for timestamp, status in STATUS_OF_TIMESTAMP.items():
        # ISO times sort as text, and an empty one comes before all.
        orders[timestamp] = orders[timestamp].where(orders[timestamp] <= f"{day} 00:00:00", "")
        orders.loc[orders[timestamp] != "", "order_status"] = status
    _write(out / ORDERS, orders)
    _write(out / ITEMS, items[items["order_id"].isin(orders["order_id"])])
    _write(out / CUSTOMERS, customers[customers["customer_id"].isin(orders["customer_id"])])
    return out


def read(path: Path) -> pd.DataFrame:
    """One of the files as text, with empty fields as empty text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def open_orders(folder: Path, day: str) -> set[str]:
    """Orders bought and not delivered by 00:00 of ``day``, straight from the files."""
    orders, morning = read(folder / ORDERS), f"{day} 00:00:00"
    delivered = orders["order_delivered_customer_date"]
    return set(
        orders.loc[
            (orders[PURCHASED] <= morning) & ((delivered == "") | (delivered > morning)), "order_id"
        ]
    )


def _places(random: np.random.Generator) -> pd.DataFrame:
    rows = []
    for state, (latitude, longitude, _, digits) in _STATES.items():
        for number in range(_PREFIXES_A_STATE):
            centre = np.array([latitude, longitude]) + random.normal(0.0, 0.8, 2)
            for point in range(int(random.integers(2, 6))):
                # The public file has points that are far off; never so many that the median is.
                spot = centre + (20.0 if point == 3 else random.normal(0.0, 0.02, 2))
                rows.append(
                    (
                        f"{digits}{number:03d}",
                        f"{spot[0]:.6f}",
                        f"{spot[1]:.6f}",
                        f"cidade {state.lower()} {number}",
                        state,
                    )
                )
    columns = (
        "geolocation_zip_code_prefix",
        "geolocation_lat",
        "geolocation_lng",
        "geolocation_city",
        "geolocation_state",
    )
    return pd.DataFrame(rows, columns=list(columns))


def _sellers(random: np.random.Generator, home: pd.DataFrame) -> pd.DataFrame:
    near = home.index[home["geolocation_state"].isin(["SP", "MG", "RS"])]
    prefix = random.choice(near, _SELLERS).tolist()
    return pd.DataFrame({"seller_id": _ids("e", _SELLERS), **_address("seller", prefix, home)})


def _customers(random: np.random.Generator, home: pd.DataFrame, count: int) -> pd.DataFrame:
    share = home["geolocation_state"].map(
        {state: share / _PREFIXES_A_STATE for state, (_, _, share, _) in _STATES.items()}
    )
    prefix = random.choice(home.index, count, p=share / share.sum()).tolist()
    return pd.DataFrame(
        {
            "customer_id": _ids("c", count),
            "customer_unique_id": _ids("d", count),
            **_address("customer", prefix, home),
        }
    )


def _address(who: str, prefix: list[str], home: pd.DataFrame) -> dict[str, object]:
    there = home.loc[prefix]
    return {
        f"{who}_zip_code_prefix": prefix,
        f"{who}_city": there["geolocation_city"].to_numpy(),
        f"{who}_state": there["geolocation_state"].to_numpy(),
    }


def _products(random: np.random.Generator) -> pd.DataFrame:
    grams = random.lognormal(6.5, 1.2, _PRODUCTS).round().astype(int).astype(str).astype(object)
    grams[::20] = ""
    sizes = {
        f"product_{side}_cm": random.integers(10, 60, _PRODUCTS)
        for side in ("length", "height", "width")
    }
    described = {
        "product_category_name": "cama_mesa_banho",
        "product_name_lenght": 40,
        "product_description_lenght": 300,
        "product_photos_qty": 1,
    }
    return pd.DataFrame(
        {"product_id": _ids("b", _PRODUCTS), **described, "product_weight_g": grams, **sizes}
    )


def _baskets(
    random: np.random.Generator, count: int, sellers: pd.DataFrame, products: pd.DataFrame
) -> pd.DataFrame:
    """The lines of all orders; a second line often comes from another seller."""
    sizes = random.choice([1, 2, 3], count, p=[0.88, 0.09, 0.03])
    lines = int(sizes.sum())
    return pd.DataFrame(
        {
            "order_id": np.repeat(_ids("a", count), sizes),
            "order_item_id": np.concatenate([np.arange(1, size + 1) for size in sizes]),
            "product_id": random.choice(products["product_id"], lines),
            "seller_id": random.choice(sellers["seller_id"], lines),
            "shipping_limit_date": f"{FIRST_DAY} 00:00:00",
            "price": random.lognormal(4.0, 0.8, lines).round(2),
            "freight_value": random.lognormal(2.8, 0.4, lines).round(2),
        }
    )


def _orders(
    random: np.random.Generator,
    customers: pd.DataFrame,
    bought: pd.DataFrame,
    sellers: pd.DataFrame,
    products: pd.DataFrame,
) -> pd.DataFrame:
    count = len(customers)
    first = bought.drop_duplicates("order_id")
    origin = first.merge(sellers, on="seller_id", how="left")["seller_state"]
    grams = (
        pd.to_numeric(first.merge(products, on="product_id", how="left")["product_weight_g"])
        .fillna(500.0)
        .to_numpy()
    )
    ends = [
        np.array([_STATES[state][:2] for state in states])
        for states in (origin, customers["customer_state"])
    ]
    degrees = np.hypot(*(ends[0] - ends[1]).T)

    def days(values: NDArray[np.float64]) -> pd.Series:
        return pd.Series(pd.to_timedelta((values * 86_400).round(), unit="s"))

    purchased = pd.Timestamp(FIRST_DAY) + days(np.sort(random.uniform(0.0, DAYS, count)))
    approved = purchased + days(random.exponential(0.5, count) + 0.01)
    handed_over = approved + days(random.gamma(2.0, 1.2, count) + 0.1)
    delivered = handed_over + days(
        1.0 + 0.6 * degrees + 0.4 * np.log1p(grams / 500.0) + random.gamma(1.5, 2.0, count)
    )
    promised = (purchased + days(14.0 + 0.8 * degrees)).dt.normalize()
    # Promises fall on working days.
    promised = promised + pd.to_timedelta(
        promised.dt.day_of_week.map({5: 2, 6: 1}).fillna(0), unit="D"
    )

    fate = random.choice(
        ["delivered", "shipped", "canceled", "unavailable"], count, p=[0.93, 0.03, 0.02, 0.02]
    )
    times = dict(
        zip(STATUS_OF_TIMESTAMP, (purchased, approved, handed_over, delivered), strict=True)
    )
    texts = {timestamp: at.dt.strftime("%Y-%m-%d %H:%M:%S") for timestamp, at in times.items()}
    texts["order_delivered_carrier_date"] = texts["order_delivered_carrier_date"].where(
        np.isin(fate, ["delivered", "shipped"]), ""
    )
    texts["order_delivered_customer_date"] = texts["order_delivered_customer_date"].where(
        fate == "delivered", ""
    )
    return pd.DataFrame(
        {
            "order_id": first["order_id"].to_numpy(),
            "customer_id": customers["customer_id"],
            "order_status": fate,
            **texts,
            PROMISED: promised.dt.strftime("%Y-%m-%d %H:%M:%S"),
        }
    )


def _ids(kind: str, count: int) -> list[str]:
    return [f"{kind}{number:031x}" for number in range(count)]


def _write(path: Path, table: pd.DataFrame) -> None:
    fields = []
    for name in table.columns:
        text = table[name].astype(str)
        is_quoted = text.str.contains('[",\n]') | (
            name.endswith(_QUOTED) and name != "order_item_id"
        )
        fields.append(text.mask(is_quoted, '"' + text.str.replace('"', '""') + '"'))
    lines = fields[0].str.cat(pd.concat(fields[1:], axis=1), sep=",")
    path.write_text(
        "\n".join([",".join(f'"{name}"' for name in table.columns), *lines]) + "\n",
        encoding="utf-8",
    )
