"""What a promise policy would have promised on past days, beside what was promised, and how often either was kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from eta import __version__
from eta.domain.errors import NoTrainingData
from eta.evaluation.backtest import WARM_UP_MONTHS, Progress, Refit, merchant_on_time_rate, replay
from eta.evaluation.confidence_intervals import week_bootstrap
from eta.forecast.base import ArrivalModel
from eta.journey.snapshots import PURCHASE
from eta.journey.timelines import Timelines
from eta.promise import PromisePolicy

#: Columns of orders by which the figures are told.
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
    last_day: str,
    refit: Refit,
    policy: PromisePolicy | None,
    warm_up_months: int = WARM_UP_MONTHS,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The figures of a replay of ``start <= ordered < end``, both aware midnights, ready for JSON; ``orders`` is a table of them.

    Without a ``policy`` promises are compared at the shop's own on-time rate over those orders.
    That target is all that is taken from the days to come; whether it is reached is up to laws
    learned on the past. ``late_costs_days`` is then what a late parcel counted for on the last day.
    Judged are delivered orders that had a promise, each on its whole local days; intervals are of
    whole weeks.

    Raises:
        NothingToLearn: if nothing had arrived before ``start``, or no order can be judged.
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
        refit=refit,
        promise=promise,
        warm_up_months=warm_up_months,
        progress=progress,
    )
    last = replayed.policies[_MODEL]
    return figures_of_promises(replayed.judged, replayed.forecasts[_MODEL]) | {
        "eta_version": __version__,
        "data": {"source": source, "sha256": timelines.digest(timelines.received_at.max())},
        "from": str(start.date()),
        "to": last_day,
        "refit": str(refit),
        "policy": None if policy is None else policy.version,
        "late_costs_days": last.costs.late if policy is None and last and last.costs else None,
    }


def figures_of_promises(judged: pd.DataFrame, forecasts: pd.DataFrame) -> dict[str, Any]:
    """``total``, ``by_segment`` and ``orders`` of replayed moments; rows of purchases alone are looked at.

    Raises:
        NothingToLearn: if no order can be judged.
    """
    table = judged[["week", *SEGMENTS]].assign(
        promise_days=forecasts["promise_days"].astype(np.float64),
        shop_days=judged["promised_days"].astype(np.float64),
        took_days=(judged["arrived_on"] - judged["as_of_on"]).dt.days,
    )
    orders = table[
        judged["moment"].eq(PURCHASE)
        & judged["arrived"]
        & table["promise_days"].notna()
        & table["shop_days"].notna()
    ]
    if orders.empty:
        raise NoTrainingData(
            "no delivered order had a promise, or none was judged before; simulate other days"
        )
    by_segment = [
        {"segment": segment, "value": str(value), **_figures(rows)}
        for segment in SEGMENTS
        for value, rows in orders.groupby(segment, sort=True, observed=True)
        if len(rows) >= MIN_ORDERS
    ]
    return {
        "total": _figures(orders),
        "by_segment": by_segment,
        "orders": orders.reset_index(drop=True),
    }


def _figures(orders: pd.DataFrame) -> dict[str, Any]:
    policy_days, shop_days, days_taken = (
        orders[name].to_numpy(dtype=np.float64)
        for name in ("promise_days", "shop_days", "took_days")
    )
    saved = (
        orders.assign(saved=shop_days - policy_days)
        .groupby("week", observed=True)["saved"]
        .agg(["sum", "count"])
    )
    low, high = week_bootstrap(
        saved["sum"].to_numpy(dtype=np.float64), saved["count"].to_numpy(dtype=np.float64), 0
    )
    mean = float(shop_days.mean())
    return {
        "n": len(orders),
        "promised_days_mean": float(policy_days.mean()),
        "on_time_share": float((days_taken <= policy_days).mean()),
        "shop_promised_days_mean": mean,
        "shop_on_time_share": float((days_taken <= shop_days).mean()),
        "days_saved": float((shop_days - policy_days).mean()),
        "days_saved_low": low,
        "days_saved_high": high,
        "days_saved_share": float((shop_days - policy_days).mean()) / mean if mean else None,
    }
