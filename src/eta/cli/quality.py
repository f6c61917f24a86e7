"""What commands print about the quality of data."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rich.markup import escape

from eta.cli.tables import err
from eta.configuration import read_quality_thresholds
from eta.datasets.base import Dataset
from eta.journey.timelines import Timelines
from eta.quality.assess import DataQuality, assess_quality
from eta.quality.findings import Finding, QualityThresholds

#: Most carriers that are named, and most characters of an example.
_MAX_CARRIERS, _EXAMPLE_LENGTH = 5, 120


def report_quality(
    dataset: Dataset,
    timelines: Timelines,
    as_of: datetime,
    config: Path | None,
    *,
    forced: bool = False,
) -> DataQuality:
    """The quality of the data received by a moment; prints what is suspicious.

    Raises:
        InvalidSetting: if the thresholds in the configuration file are no shares.
    """
    thresholds = QualityThresholds()
    if config is not None:
        thresholds = read_quality_thresholds("--config", str(config))
    quality = assess_quality(dataset, timelines, as_of, thresholds, forced=forced)
    for finding in quality.findings:
        if finding.count:
            err.print(_line(finding), soft_wrap=True)
    return quality


def _line(finding: Finding) -> str:
    """A finding with its counts by carrier and an example."""
    carriers = [f"{name} {count:,}" for name, count in finding.by_carrier.items()]
    more = ["..."] if len(carriers) > _MAX_CARRIERS else []
    by_carrier = f", {', '.join(carriers[:_MAX_CARRIERS] + more)}" if carriers else ""
    figures = f"{finding.kind}: {finding.count:,} of {finding.total:,} {finding.unit}"
    example = finding.example[:_EXAMPLE_LENGTH]
    text = f"{figures} ({finding.share:.1%}){by_carrier}; such as {example}"
    return f"  [yellow]quality[/]  {escape(text)}"
