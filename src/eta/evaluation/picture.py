"""Pictures of forecasts and of what came true."""

from __future__ import annotations

import io

import pandas as pd


def draw_forecasts(forecasts: pd.DataFrame, kind: str) -> bytes:
    """A picture (``png`` or ``svg``) of ranges and of what came true, in days from the order.

    ``forecasts`` has the columns ``low``, ``median``, ``high`` (the 80 % range) and ``came_true``, one row a parcel.
    """
    import matplotlib as mpl  # slow to import, and of no use to any other command

    mpl.use("agg")
    from matplotlib import pyplot as plt

    ranked = forecasts.sort_values(["median", "high"], kind="stable").reset_index(drop=True)
    is_inside = ranked["came_true"].between(ranked["low"], ranked["high"])
    figure, axes = plt.subplots(figsize=(9.6, 4.2), layout="constrained")
    axes.vlines(ranked.index, ranked["low"], ranked["high"], color="#9ecae1", linewidth=3.2, label="80 % range, said at purchase")
    axes.plot(ranked.index, ranked["median"], color="#2171b5", linewidth=1.6, label="median")
    for wanted, colour, name in ((is_inside, "#238b45", "came true within the range"), (~is_inside, "#cb181d", "came true outside")):
        axes.scatter(ranked.index[wanted], ranked.loc[wanted, "came_true"], s=11, color=colour, zorder=3, label=f"{name} ({wanted.sum()})")
    axes.set(
        xlabel=f"{len(ranked)} simulated parcels, by median",
        ylabel="days from order to first attempt",
        ylim=(0, ranked[["high", "came_true"]].max().max() * 1.05),
    )
    axes.set_title("What was said at purchase, and what came true", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)
    return buffer.getvalue()
