"""Compares a promise policy with the shop's promises on past days, at the same on-time rate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from eta import __version__
from eta.calendars.local_time import local_date
from eta.domain.errors import NoTrainingData
from eta.evaluation.backtest import WARM_UP_MONTHS, Progress, Refit, merchant_on_time_rate, replay
from eta.evaluation.confidence_intervals import week_bootstrap
from eta.forecast.base import ArrivalModel
from eta.journey.snapshots import PURCHASE
from eta.journey.timelines import Timelines
from eta.promise import PromisePolicy

#: Columns of orders by which the figures are split.
SEGMENTS = ("month", "destination_region", "weight_band", "carrier")

#: A segment with fewer orders is left out.
MIN_ORDERS = 30
_MODEL = "eta"


def simulate_promise(
    timelines: Timelines,
    make: Callable[[], ArrivalModel],
    *,
    source: str,
    start: datetime,
    end: datetime,
    zone: str = "UTC",
    refit: Refit,
    policy: PromisePolicy | None,
    warm_up_months: int = WARM_UP_MONTHS,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The figures of a replay of ``start <= ordered < end``, midnights in ``zone``, as JSON.

    ``orders`` is a table of the orders. Without a ``policy`` promises are compared at the shop's
    on-time rate over those orders. Only that target uses later days; whether it is reached depends
    on distributions learned on the past. ``late_costs_days`` is then the cost of a late parcel on
    the last day. Delivered orders with a promise are judged, each on its whole local days;
    intervals are of whole weeks.

    Raises:
        NoTrainingData: if nothing had arrived before ``start``, or no order can be judged.
    """
    promise = policy or merchant_on_time_rate(timelines, start, end)
    if promise is None:
        raise NoTrainingData(
            "no delivered order of those days had a promise; simulate other days, or give a policy"
        )
    replayed = replay(
        timelines,
        {_MODEL: make},
        start=start,
        end=end,
        zone=zone,
        refit=refit,
        promise=promise,
        warm_up_months=warm_up_months,
        progress=progress,
    )
    sha256 = timelines.digest(timelines.received_at.max())
    chosen = replayed.policies[_MODEL] if policy is None else None
    figures = figures_of_promises(replayed.judged, replayed.forecasts[_MODEL])
    figures["eta_version"] = __version__
    figures["data"] = {"source": source, "sha256": sha256}
    figures["from"] = str(local_date(start, zone))
    figures["to"] = str(local_date(end, zone) - timedelta(days=1))
    figures["refit"] = str(refit)
    figures["policy"] = None if policy is None else policy.version
    figures["late_costs_days"] = chosen.costs.late if chosen and chosen.costs else None
    return figures


def figures_of_promises(judged: pd.DataFrame, forecasts: pd.DataFrame) -> dict[str, Any]:
    """``total``, ``by_segment`` and ``orders`` of replayed moments; only purchases are used.

    Raises:
        NoTrainingData: if no order can be judged.
    """
    # Delivered orders with both promises.
    table = judged[["week", *SEGMENTS]].copy()
    table["promise_days"] = forecasts["promise_days"].astype(np.float64)
    table["shop_days"] = judged["promised_days"].astype(np.float64)
    took = judged["arrived_on"] - judged["as_of_on"]
    table["took_days"] = took.dt.days
    is_delivered_purchase = judged["moment"].eq(PURCHASE) & judged["arrived"]
    has_promises = table["promise_days"].notna() & table["shop_days"].notna()
    orders = table[is_delivered_purchase & has_promises]
    if orders.empty:
        raise NoTrainingData(
            "no delivered order had a promise, or none was judged before; simulate other days"
        )
    by_segment = []
    for segment in SEGMENTS:
        for value, rows in orders.groupby(segment, sort=True, observed=True):
            if len(rows) >= MIN_ORDERS:
                by_segment.append({"segment": segment, "value": str(value), **_figures(rows)})
    figures: dict[str, Any] = {"total": _figures(orders), "by_segment": by_segment}
    figures["orders"] = orders.reset_index(drop=True)
    return figures


def _figures(orders: pd.DataFrame) -> dict[str, Any]:
    policy_days = orders["promise_days"].to_numpy(dtype=np.float64)
    shop_days = orders["shop_days"].to_numpy(dtype=np.float64)
    days_taken = orders["took_days"].to_numpy(dtype=np.float64)
    days_saved = shop_days - policy_days
    weeks = orders.assign(saved=days_saved).groupby("week", observed=True)["saved"]
    by_week = weeks.agg(["sum", "count"])
    sums, counts = (by_week[name].to_numpy(dtype=np.float64) for name in ("sum", "count"))
    low, high = week_bootstrap(sums, counts, 0)
    mean_shop_days, mean_saved = float(shop_days.mean()), float(days_saved.mean())
    figures: dict[str, Any] = {"n": len(orders)}
    figures["promised_days_mean"] = float(policy_days.mean())
    figures["on_time_share"] = float((days_taken <= policy_days).mean())
    figures["shop_promised_days_mean"] = mean_shop_days
    figures["shop_on_time_share"] = float((days_taken <= shop_days).mean())
    figures["days_saved"] = mean_saved
    figures["days_saved_low"] = low
    figures["days_saved_high"] = high
    figures["days_saved_share"] = mean_saved / mean_shop_days if mean_shop_days else None
    return figures
