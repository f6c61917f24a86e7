"""Claim: no file ends in a traceback, loses a row silently, or moves the end of the data.

Two thousand small tabular folders are mutated (values, types, encodings, separators, orders,
missing values, sentinels, damaged bytes) and read as `eta train` and `eta ingest` read them. Each
is either refused with a reason, or its rows read are accepted, duplicate or rejected, one by one,
and the default moment is not after the last sound row. Some are recorded in a store, and some are
trained on. The folders in `$ETA_DATA/faults` give the results that their README names.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta.datasets.base import Dataset
from eta.datasets.tabular import read_tabular
from eta.domain.errors import EtaError
from eta.journey.last_normal_day import last_normal_day
from eta.journey.timelines import Timelines
from eta.service.storage.import_dataset import import_dataset
from eta.store.store import open_store
from support.fuzzed_files import NOW, Outcome, mutated_folder, outcome, write

#: Of so many folders one is recorded in a store, and one is trained on.
RECORDED_EVERY, TRAINED_EVERY = 20, 250
#: Faults that are listed.
MAX_LISTED = 10


def main() -> int:
    """Reads all folders and prints the verdict."""
    parser = harness.parser(__doc__)
    parser.add_argument("--folders", type=int, default=2000)
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    began = perf_counter()
    counts, faults = Counter[str](), list[str]()
    for seed in range(args.first_seed, args.first_seed + args.folders):
        harness.report_progress("folders", seed - args.first_seed, args.folders)
        fault = try_folder(seed, counts)
        if fault:
            faults.append(f"seed {seed}: {fault}")
    known, known_faults = known_folders()
    faults += known_faults
    for fault in faults[:MAX_LISTED]:
        harness.print_line(fault)
    return harness.print_verdict(
        "files",
        ok=not faults,
        folders=args.folders,
        **dict(sorted(counts.items())),
        known_folders=known,
        faults=len(faults),
        seconds=round(perf_counter() - began, 1),
    )


def try_folder(seed: int, counts: Counter[str]) -> str:
    """Reads one folder, counts what became of it, and returns what is wrong."""
    folder = mutated_folder(seed)
    try:
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(name)
            write(folder, path)
            result = outcome(folder, path)
            count(result, counts)
            if not result.fault and result.as_of and result.dataset and result.timelines:
                use(result.dataset, result.timelines, seed, path, counts)
    except Exception as error:  # noqa: BLE001  # a traceback is what must not be
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{folder.what}: {error!r} in {last.filename}:{last.lineno}"
    return f"{folder.what}: {result.fault}" if result.fault else ""


def count(result: Outcome, counts: Counter[str]) -> None:
    """Counts a folder and its rows."""
    counts["refused" if result.refusal else "read"] += 1
    for rows in result.dataset.rows.values() if result.dataset else ():
        counts["rows_read"] += rows.read
        counts["rows_accepted"] += rows.accepted
        counts["rows_duplicate"] += rows.duplicate
        counts["rows_rejected"] += rows.rejected


def use(
    dataset: Dataset, timelines: Timelines, seed: int, path: Path, counts: Counter[str]
) -> None:
    """Records some data sets in a store, and trains on some."""
    if seed % RECORDED_EVERY == 0:
        counts["recorded"] += 1
        record(dataset, path)
    if seed % TRAINED_EVERY:
        return
    moment = last_normal_day(timelines.received_at, dataset.zone).ends_at
    try:
        version = harness.train(timelines, path / "models", moment).version
    except EtaError:
        return
    counts["trained"] += 1
    if version.split("-")[0] > f"{moment:%Y.%m.%d}":
        raise AssertionError(f"version {version} is later than {moment}")


def record(dataset: Dataset, path: Path) -> None:
    """Records a data set as `eta ingest` does; its rows must still add up."""
    store = open_store(f"sqlite:///{path}/eta.sqlite", lambda: NOW)
    try:
        rows = import_dataset(dataset, store, "shop").rows
    finally:
        store.close()
    for file, counts in rows.items():
        if counts.read != counts.accepted + counts.duplicate + counts.rejected:
            raise AssertionError(f"{file}: {counts} does not add up")


def known_folders() -> tuple[int, list[str]]:
    """How many known faulty folders there are, and which are not read as they should be."""
    root = harness.real_data("faults")
    found, faults = 0, []
    for name, right in RIGHT.items():
        folder = None if root is None else root / name
        if folder is None or not folder.is_dir():
            continue
        found += 1
        dataset = read_tabular(folder, now=NOW)
        actual = {
            "rejected": dataset.rejected(),
            "accepted": [counts.accepted for counts in dataset.rows.values()],
            "unmapped": dict(dataset.unmapped_codes),
        }
        if actual != right:
            faults.append(f"{name}: {actual}, not {right}")
        timelines = Timelines.from_frames(dataset.shipments, dataset.events)
        last = last_normal_day(timelines.received_at, dataset.zone).day
        if last.isoformat() > "2026-12-01":
            faults.append(f"{name}: learns through {last}")
    return found, faults


#: What the README beside them names: reasons, rows of both files, codes that are none of ours.
RIGHT = {
    "a1-year-typo": {
        "rejected": {"implausible_received_at": 1},
        "accepted": [900, 1784],
        "unmapped": {},
    },
    "a2-parquet-integer-with-null": {
        "rejected": {"no_shipment_id": 1},
        "accepted": [3, 3],
        "unmapped": {},
    },
    "a3-bad-row-early": {
        "rejected": {"wrong_number_of_fields": 1},
        "accepted": [2, 1],
        "unmapped": {},
    },
    "a4-one-far-order": {
        "rejected": {"implausible_ordered_at": 1},
        "accepted": [1, 1],
        "unmapped": {},
    },
    "a7-unmapped-codes": {
        "rejected": {},
        "accepted": [1, 2],
        "unmapped": {"Accepted": 1, "Delivered": 1},
    },
    "b9-tracking-only": {"rejected": {}, "accepted": [300, 2100], "unmapped": {}},
}


if __name__ == "__main__":
    sys.exit(main())
