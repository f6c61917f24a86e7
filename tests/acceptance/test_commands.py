from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from eta import __version__
from eta.model.fallback import load_fallback
from eta.model.registry import Registry
from support.cli import EXECUTABLE, CommandResult, execute, run, run_ok
from support.olist_files import ORDERS, open_orders, read, write_as_of_day

# The versions trained once for all of these tests live in one process.
pytestmark = pytest.mark.xdist_group("commands")
on_real_orders = pytest.mark.xdist_group("real orders")

EARLY, LATE, REAL_DAY = "2018-03-15", "2018-04-15", "2017-06-15"
#: So early that there are no days on which a new version could check itself, which takes most of
#: the time.
QUICK = "2017-10-20"


def words(text: str) -> set[str]:
    return set(text.split())


SCORE_COLUMNS = words(
    "order_id shipment_id carrier service_level destination_region has_several_origins"
    " as_of status phase elapsed_days last_scan_age_hours earliest_on latest_on"
    " coverage estimated_on timezone timezone_source promised_on on_time_probability"
    " delay_state flag_raised first_flagged_at cleared_at delay_probability"
    " delay_reason delay_party evidence_kind"
    " evidence_observed_hours evidence_expected_p50_hours evidence_expected_upper_hours"
    " model_version support_level support_parcels"
)
MOMENTS = words("purchase handover day_1 day_3 day_7 day_14 day_21 in_flight")
FIGURES = words(
    "model moment n n_censored mae_days median_ae_days bias_days crps_days"
    " crps_censored_days coverage_80 coverage_90 coverage_dates_80 late_auc late_ap"
    " on_time_share promised_days_mean days_saved_equal_on_time pinball_50_days"
    " pinball_80_days pinball_90_days pinball_95_days pit_deciles"
)
FIGURES_OF_A_WHOLE_REPLAY = {
    "late_auc_month_mean",
    "late_ece",
    "late_slope",
    "fit_seconds",
    "predict_seconds",
}
FIGURES_OF_RANGES = {
    f"{figure}_{name}"
    for figure in ("coverage_censored", "low", "high", "holds")
    for name in ("80", "90", "dates_80")
}
FIGURES_OF_PIT = words("pit_deciles_low pit_deciles_high")
#: Figures that are written but not documented.
EXTRA = {"n_late"}


def score(data: Path, day: str, models: Path, name: str = "scores.csv") -> Path:
    """Scores into files beside the registry and returns the path of the first."""
    out = models.with_name(name)
    run_ok(
        "score",
        data,
        "--source",
        "olist",
        "--as-of",
        day,
        "--out",
        out,
        "--json",
        out.with_suffix(".json"),
        models=models,
    )
    return out


def train(data: Path, day: str, models: Path, *options: object) -> tuple[str, Any]:
    """The output of training, and the JSON that it wrote."""
    json_file = models.with_name("trained.json")
    output = run_ok(
        "train",
        data,
        "--source",
        "olist",
        "--as-of",
        day,
        "--json",
        json_file,
        *options,
        models=models,
    )
    return output, figures(json_file)


def figures(path: Path) -> Any:
    """The JSON that a command wrote: strict, without NaN."""

    def no_number(text: str) -> float:
        raise AssertionError(f"{text} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=no_number)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def versions(models: Path) -> list[str]:
    return sorted(path.name for path in models.iterdir() if path.is_dir())


def spoil(models: Path, version: str, file: str = "arrays.npz") -> None:
    path = models / version / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def ids(path: Path) -> list[str]:
    return list(read(path)["order_id"])


def beside(path: Path) -> Path:
    """The file of expired parcels that belongs to a file of scores."""
    return path.with_name(f"{path.stem}.expired{path.suffix}")


class Trained(NamedTuple):
    """A registry with two versions."""

    models: Path
    early: str
    late: str
    #: The output of training the early version, and the JSON that it wrote.
    output: str
    report: Any


@pytest.fixture(scope="module")
def trained(orders: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    models = tmp_path_factory.mktemp("trained") / "models"
    output, report = train(orders, EARLY, models)
    return Trained(
        models, report["version"], train(orders, LATE, models)[1]["version"], output, report
    )


@pytest.fixture
def models(trained: Trained, tmp_path: Path) -> Path:
    """A registry with the two versions, to be changed."""
    return shutil.copytree(trained.models, tmp_path / "models")


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """The folder of a registry that does not exist yet."""
    return tmp_path / "models"


@pytest.fixture(scope="module")
def backtest(orders: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    models = tmp_path_factory.mktemp("backtest") / "models"
    json_file = models.with_name("figures.json")
    days = ("--from", "2018-02-01", "--to", "2018-03-31", "--models", "B0,B4,eta")
    output = run_ok(
        "backtest",
        orders,
        "--source",
        "olist",
        *days,
        "--json",
        json_file,
        "--pictures",
        models.with_name("pictures"),
        models=models,
    )
    assert not models.exists()
    for name in ("pit.png", "coverage.png"):
        assert (models.with_name("pictures") / name).read_bytes().startswith(b"\x89PNG")
    assert re.search(r"Ranges of eta that do not hold: \d+ of \d+ judged", output)
    return figures(json_file)


def test_installed_command_prints_its_version(tmp_path: Path) -> None:
    assert execute("--version", models=tmp_path / "models") == CommandResult(
        0, f"{__version__}\n", ""
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], "train backtest score models --version"),
        (["models", "--help"], "list show promote rollback compare"),
    ],
)
def test_help_names_every_command(arguments: list[str], words: str, empty: Path) -> None:
    output = run_ok(*arguments, models=empty)
    assert [word for word in words.split() if word not in output] == []


def test_training_writes_a_version_and_names_the_promote_command(trained: Trained) -> None:
    assert versions(trained.models) == [trained.early, trained.late]
    assert trained.early.startswith(EARLY.replace("-", "."))
    assert trained.report["data"]["through"] == f"{EARLY}T03:00:00+00:00"
    assert f"`eta models promote {trained.early}` makes it active" in trained.output


def test_training_also_writes_the_fallback_of_the_same_parcels(
    trained: Trained,
) -> None:
    medians = load_fallback(Registry(trained.models))
    assert medians is not None
    late = Registry(trained.models).load(trained.late)
    assert medians.data_through == late.data_through
    counted = json.loads(late.files["support.json"])["calendar_only"]
    assert {
        countries: lane.parcels
        for countries, lane in medians.distributions["calendar_only"].items()
    } == counted
    assert counted


def test_new_version_is_checked_against_a_baseline_on_earlier_days(trained: Trained) -> None:
    check = trained.report["check"]
    assert {(row["model"], row["moment"]) for row in check["rows"]} == {
        (model, moment) for model in ("eta", "B4") for moment in ("purchase", "in_flight")
    }
    assert check["from"] < check["to"] < EARLY


def test_training_uses_the_last_normal_day_without_as_of(
    orders: Path, empty: Path, tmp_path: Path
) -> None:
    truncated = write_as_of_day(orders, tmp_path / "truncated", QUICK)
    run_ok(
        "train",
        truncated,
        "--source",
        "olist",
        "--json",
        empty.with_name("report.json"),
        models=empty,
    )
    through = figures(empty.with_name("report.json"))["data"]["through"]
    assert through == f"{QUICK}T02:00:00+00:00"


def test_training_is_byte_identical_in_another_process_and_registry(
    orders: Path, trained: Trained, empty: Path
) -> None:
    ran = execute("train", orders, "--source", "olist", "--as-of", EARLY, models=empty)
    assert ran.status == 0, ran.err
    assert versions(empty) == [trained.early]
    assert files(empty / trained.early) == files(trained.models / trained.early)


def test_scores_have_one_row_for_every_open_parcel(orders: Path, models: Path) -> None:
    out = score(orders, EARLY, models)
    table, report = pd.read_csv(out), figures(out.with_suffix(".json"))
    assert set(table.columns) == SCORE_COLUMNS
    in_flight, expired = ids(out), ids(beside(out))
    assert sorted(in_flight + expired) == sorted(open_orders(orders, EARLY))
    assert in_flight
    assert expired
    assert (report["in_flight"], report["expired"]) == (len(in_flight), len(expired))
    assert report["delay_states"] == table["delay_state"].value_counts().to_dict()
    assert set(table["model_version"]) == {report["model_version"]}
    assert set(table["as_of"]) == {f"{EARLY} 03:00:00+00:00"}
    ends_late_or_never = table["latest_on"].isna() | (table["latest_on"] >= table["earliest_on"])
    assert ends_late_or_never.all()
    assert table["on_time_probability"].between(0.0, 1.0).all()
    assert (table["elapsed_days"] <= 60.0).all()
    assert (pd.read_csv(beside(out))["elapsed_days"] > 60.0).all()


def test_parquet_and_csv_scores_are_equal(orders: Path, models: Path) -> None:
    as_text, out = score(orders, EARLY, models), score(orders, EARLY, models, "scores.parquet")
    for one, other in ((as_text, out), (beside(as_text), beside(out))):
        expected, table = pd.read_csv(one), pd.read_parquet(other)
        assert list(table.columns) == list(expected.columns)
        assert list(table["order_id"]) == list(expected["order_id"])
    assert list(pd.read_parquet(out)["delay_probability"]) == pytest.approx(
        list(pd.read_csv(as_text)["delay_probability"])
    )


def test_repeated_scoring_writes_the_same_bytes_and_trains_nothing(
    orders: Path, models: Path
) -> None:
    before = files(models)
    assert (
        score(orders, EARLY, models).read_bytes()
        == score(orders, EARLY, models, "again.csv").read_bytes()
    )
    assert files(models) == before


@pytest.mark.parametrize("day", [QUICK, EARLY])
def test_later_events_change_no_byte_of_a_score(orders: Path, tmp_path: Path, day: str) -> None:
    truncated = write_as_of_day(orders, tmp_path / "truncated", day)
    (tmp_path / "then").mkdir()
    (tmp_path / "now").mkdir()
    then, now = (
        score(truncated, day, tmp_path / "then" / "models"),
        score(orders, day, tmp_path / "now" / "models"),
    )
    assert len(read(truncated / ORDERS)) < len(read(orders / ORDERS))
    assert files(then.parent) == files(now.parent)


def test_abandoned_orders_stay_in_flight_until_the_end_of_the_data(
    orders: Path, models: Path
) -> None:
    table = read(orders / ORDERS)
    abandoned = set(table.loc[table["order_status"].isin(["canceled", "unavailable"]), "order_id"])
    lost = set(table.loc[table["order_status"].eq("shipped"), "order_id"])
    before = score(orders, "2018-05-01", models)
    assert abandoned < set(ids(before) + ids(beside(before)))
    after = score(orders, "2018-07-01", models)
    assert set(ids(after) + ids(beside(after))) == lost


@pytest.mark.parametrize(
    ("day", "served"),
    [(EARLY, "early"), ("2018-04-14", "early"), (LATE, "late"), ("2018-05-20", "late")],
)
def test_score_uses_the_newest_version_trained_before_its_moment(
    orders: Path, trained: Trained, models: Path, day: str, served: str
) -> None:
    assert figures(score(orders, day, models).with_suffix(".json"))["model_version"] == getattr(
        trained, served
    )
    assert versions(models) == [trained.early, trained.late]


def test_score_trains_a_version_if_all_are_later_than_its_moment(
    orders: Path, trained: Trained, models: Path
) -> None:
    report = figures(score(orders, QUICK, models).with_suffix(".json"))
    assert report["model_version"].startswith(QUICK.replace("-", "."))
    assert versions(models) == sorted([report["model_version"], trained.early, trained.late])


#: One moment, in the forms that the documents name: midnight of a day in the zone of the orders.
AS_OF_FORMS = (
    "{}T00:00:00-03:00",
    "{}T03:00:00Z",
    "{}t03:00:00.000z",
    "{} 05:00:00+02:00",
    "{}T04:00+0100",
)


@pytest.mark.parametrize("form", AS_OF_FORMS)
def test_score_takes_every_form_of_a_moment(orders: Path, models: Path, form: str) -> None:
    assert (
        score(orders, form.format(EARLY), models).read_bytes()
        == score(orders, EARLY, models, "again.csv").read_bytes()
    )


@pytest.mark.parametrize("form", AS_OF_FORMS)
def test_update_takes_every_form_of_a_moment(
    orders: Path, trained: Trained, models: Path, form: str
) -> None:
    days = (LATE, form.format(LATE))
    for day in days:
        command = ("update", orders, "--source", "olist", "--as-of", day)
        run_ok(*command, "--model", trained.early, models=models)
    # Both wrote the same version.
    assert len(versions(models)) == 3


def test_train_gives_one_version_for_every_form_of_a_moment(orders: Path, empty: Path) -> None:
    empty.parent.joinpath("quick.toml").write_text("[model]\ntrees = 5\n", encoding="utf-8")
    for form in ("{}", *AS_OF_FORMS):
        train(orders, form.format(LATE), empty, "--config", "quick.toml")
    (version,) = versions(empty)
    manifest = figures(empty / version / "manifest.json")
    assert manifest["data"]["through"] == f"{LATE}T03:00:00+00:00"
    # Days of the check are those of the zone of the orders.
    assert manifest["check"]["to"] == "2018-03-17"


@pytest.mark.parametrize("command", ["train", "update", "score"])
@pytest.mark.parametrize(
    ("moment", "problem"),
    [
        ("0001-01-01T00:00:00+14:00", "lies outside 1970 to 2100"),
        ("9999-12-31", "lies outside 1970 to 2100"),
        ("2018-02-29T00:00:00-03:00", "is not a date"),
        ("2018-03-15T24:00:00-03:00", "is not a time"),
        ("2018-03-15T00:00:00+23:59", "is more than 14 hours"),
    ],
)
def test_impossible_moments_are_errors_of_one_line(
    orders: Path, trained: Trained, models: Path, command: str, moment: str, problem: str
) -> None:
    version = ("--model", trained.early) if command != "train" else ()
    ran = run(command, orders, "--source", "olist", "--as-of", moment, *version, models=models)
    assert ran.status == 2
    assert re.match(f"error: --as-of: .*{problem}", " ".join(ran.err.splitlines()[-1:]) or ran.err)
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", ["backtest", "promise simulate"])
@pytest.mark.parametrize(
    ("first", "last"),
    [("0001-01-01", "2018-03-31"), ("2018-03-01", "9999-12-31"), ("2018-02-29", "2018-03-31")],
)
def test_impossible_days_are_errors_of_one_line(
    orders: Path, empty: Path, command: str, first: str, last: str
) -> None:
    days = ("--from", first, "--to", last)
    ran = run(*command.split(), orders, "--source", "olist", *days, models=empty)
    assert ran.status == 2
    assert len(ran.errors) == 1


@pytest.mark.parametrize("command", ["backtest", "promise simulate"])
def test_days_at_the_ends_of_the_calendar_are_errors_of_one_line(
    orders: Path, empty: Path, command: str
) -> None:
    for days in (("1970-01-01", "1970-01-02"), ("2100-12-30", "2100-12-31")):
        period = ("--from", days[0], "--to", days[1], "--source", "olist")
        ran = run(*command.split(), orders, *period, models=empty)
        assert ran.status == 2
        assert len(ran.errors) == 1


def test_formula_cells_are_escaped_in_csv_only(orders: Path, models: Path, tmp_path: Path) -> None:
    parcel = min(open_orders(orders, EARLY) - open_orders(orders, "2018-02-15"))
    formula = shutil.copytree(orders, tmp_path / "formula")
    for path in formula.iterdir():
        path.write_bytes(path.read_bytes().replace(parcel.encode(), b"=1+1"))
    assert "'=1+1" in ids(score(formula, EARLY, models))
    assert "=1+1" in set(
        pd.read_parquet(score(formula, EARLY, models, "scores.parquet"))["order_id"]
    )


def test_rejected_rows_are_counted_by_reason_and_quarantined(
    orders: Path, models: Path, tmp_path: Path
) -> None:
    spoilt, rejected = shutil.copytree(orders, tmp_path / "spoilt"), tmp_path / "rejected.csv"
    with (spoilt / ORDERS).open("a", encoding="utf-8") as file:
        file.write(
            "half a line\nand another\n"
            + (orders / ORDERS).read_text(encoding="utf-8").splitlines()[1]
            + "\n"
        )
    ran = run(
        "score",
        spoilt,
        "--source",
        "olist",
        "--as-of",
        EARLY,
        "--quarantine",
        rejected,
        models=models,
    )
    assert ran.status == 0
    assert re.search(r"rejected\s+2\s+wrong_number_of_fields", ran.err)
    assert re.search(r"rejected\s+1\s+order_id_comes_twice", ran.err)
    assert sorted(read(rejected)["reason"]) == [
        "order_id_comes_twice",
        "wrong_number_of_fields",
        "wrong_number_of_fields",
    ]
    assert {"half a line", "and another"} < set(read(rejected)["content"])


def test_backtest_has_every_documented_figure(backtest: Any) -> None:
    assert set(backtest) == words(
        "eta_version data from to refit rows differences by_month by_segment failing truth"
    )
    assert (backtest["eta_version"], backtest["from"], backtest["to"], backtest["refit"]) == (
        __version__,
        "2018-02-01",
        "2018-03-31",
        "month",
    )
    assert set(backtest["data"]) == {"source", "sha256"}
    assert {frozenset(row.keys() - EXTRA) for row in backtest["rows"]} == {
        frozenset(FIGURES | FIGURES_OF_A_WHOLE_REPLAY | FIGURES_OF_RANGES | FIGURES_OF_PIT)
    }
    assert {frozenset(row) for row in backtest["differences"]} == {
        frozenset({"model", "against", "moment", "metric", "mean", "low", "high"})
    }
    optional_figures = EXTRA | FIGURES_OF_A_WHOLE_REPLAY
    assert {frozenset(row.keys() - optional_figures) for row in backtest["by_month"]} == {
        frozenset(FIGURES | {"month"})
    }
    assert {frozenset(row.keys() - optional_figures) for row in backtest["by_segment"]} == {
        frozenset(FIGURES | FIGURES_OF_RANGES | {"segment", "value"})
    }
    assert backtest["truth"] is None


def test_backtest_has_every_model_at_every_moment(backtest: Any) -> None:
    rows = [(row["model"], row["moment"]) for row in backtest["rows"]]
    assert sorted(rows) == sorted(
        (model, moment) for model in ("B0", "B4", "eta") for moment in MOMENTS
    )
    differences = [
        (row["model"], row["against"], row["moment"], row["metric"])
        for row in backtest["differences"]
    ]
    metrics = {metric for *_, metric in differences}
    assert {"crps_days", "mae_days"} <= metrics
    assert sorted(differences) == sorted(
        ("eta", other, moment, metric)
        for other in ("B0", "B4")
        for moment in MOMENTS
        for metric in metrics
    )


def test_unavailable_figures_are_null(backtest: Any) -> None:
    by_key = {(row["model"], row["moment"]): row for row in backtest["rows"]}
    # No month of 75 orders has 100 late ones, and a promise is made at purchase alone.
    assert by_key["eta", "purchase"]["late_auc_month_mean"] is None
    assert by_key["eta", "handover"]["on_time_share"] is None
    assert by_key["eta", "purchase"]["on_time_share"] is not None


def test_backtest_counts_add_up_over_months_and_moments(backtest: Any) -> None:
    for row in backtest["rows"]:
        months = [
            month
            for month in backtest["by_month"]
            if (month["model"], month["moment"]) == (row["model"], row["moment"])
        ]
        assert {month["month"] for month in months} <= {"2018-02", "2018-03"}
        for count in ("n", "n_censored"):
            assert sum(month[count] for month in months) == row[count]
    counts = {row["moment"]: row["n"] for row in backtest["rows"] if row["model"] == "eta"}
    assert counts["in_flight"] == sum(
        n for moment, n in counts.items() if moment not in ("purchase", "in_flight")
    )


def test_difference_is_the_gap_between_two_rows(backtest: Any) -> None:
    crps = {(row["model"], row["moment"]): row["crps_days"] for row in backtest["rows"]}
    gap = next(
        row
        for row in backtest["differences"]
        if (row["against"], row["moment"], row["metric"]) == ("B4", "purchase", "crps_days")
    )
    assert gap["mean"] == pytest.approx(crps["eta", "purchase"] - crps["B4", "purchase"])
    assert gap["low"] < gap["mean"] < gap["high"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "train DATA --source nowhere",
            r"--source: 'nowhere' is not a source; choose from .*olist",
        ),
        (
            "train nowhere --source olist",
            r"nowhere/olist_orders_dataset\.csv does not exist;"
            r" name the folder that holds olist_orders_dataset\.csv",
        ),
        (
            "train DATA --source olist --as-of soon",
            r"--as-of: 'soon' is not a date; write 2018-05-15",
        ),
        (
            "train DATA --source olist --as-of 2018-02-30",
            r"--as-of: '2018-02-30' is not a date; write 2018-05-15",
        ),
        (
            "train DATA --source olist --as-of 2010-01-01",
            r"none of 600 parcels had arrived by",
        ),
        (
            "score DATA --source olist --as-of 2018-03-15T08:00:00",
            r"--as-of: .* no offset from UTC; write it as 2018-05-15T08:00:00-03:00",
        ),
        (
            "score DATA --source olist --as-of 2018-03-15_08:00:00",
            r"--as-of: .* no offset from UTC; write it as 2018-05-15T08:00:00-03:00",
        ),
        (
            "train DATA --source olist --config .",
            r"--config names \.: Is a directory; name a TOML file that can be read",
        ),
        (
            "score DATA --source olist --as-of 2018-03-15 --out scores.txt",
            r"--out: scores\.txt does not name a format; end it with \.csv or \.parquet",
        ),
        (
            "score DATA --source olist --as-of 2018-03-15 --model ../x",
            r"there is no model version '\.\./x' .*`eta models list`",
        ),
        (
            "backtest DATA --source olist --from May --to 2018-03-31",
            r"--from: 'May' is not a date; write it as 2018-05-15",
        ),
        (
            "backtest DATA --source olist --from 2018-03-01 --to 2018-03-32",
            r"--to: '2018-03-32' is not a date; write it as 2018-05-15",
        ),
        (
            "backtest DATA --source olist --from 2018-03-02 --to 2018-03-01",
            r"--to: 2018-03-01 is before 2018-03-02; give a later day",
        ),
        (
            "backtest DATA --source olist --from 2018-03-01 --to 2018-03-02 --models eta,prophet",
            r"--models: 'prophet' is not a model; choose from .*eta",
        ),
        (
            "backtest DATA --source olist --from 2010-03-01 --to 2010-03-02",
            r"no parcel had arrived by 2010-03-01; start the replay later",
        ),
        (
            "models show 2018.03.15-000000000000",
            r"there is no model version '2018\.03\.15-000000000000'",
        ),
        ("models promote latest", r"there is no model version 'latest'"),
        ("models rollback", r"no version served before"),
        ("models compare first second", r"there is no model version 'first'"),
    ],
)
def test_wrong_command_line_is_one_error_line_with_the_fix(
    orders: Path, models: Path, command: str, message: str
) -> None:
    before = files(models.parent)
    ran = run(*(orders if word == "DATA" else word for word in command.split()), models=models)
    assert ran.status == 2
    (error,) = ran.errors
    assert re.match(message, error.removeprefix("error: "))
    assert ran.err.endswith(error + "\n")
    assert "Traceback" not in ran.err
    assert files(models.parent) == before


def test_installed_command_rejects_a_misspelt_setting_in_one_line(models: Path) -> None:
    ran = execute("models", "list", models=models, ETA_MODLES="x")
    assert ran.status == 2
    assert re.fullmatch(r"error: ETA_MODLES is unknown; .* allowed are ETA_HOME, .*\n", ran.err)


@pytest.mark.parametrize(
    "command",
    [
        "train DATA --source olist",
        "score DATA --source olist --as-of 2018-03-15",
        "models promote x",
    ],
)
def test_no_command_runs_with_a_misspelt_setting(orders: Path, empty: Path, command: str) -> None:
    ran = run(
        *(orders if word == "DATA" else word for word in command.split()),
        models=empty,
        ETA_MODLES="x",
    )
    assert (ran.status, len(ran.errors)) == (2, 1)
    assert files(empty.parent) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[modle]\ntrees = 5\n", r"\[modle\] is unknown; .* allowed are \[model\], \[delays\]"),
        ("trees = 5\n", r"trees is unknown; .* allowed are \[model\], \[delays\]"),
        ("[model]\ntres = 5\n", r"tres of \[model\] is unknown; .* allowed are .*trees"),
        ("[delays]\nraise = 0.5\n", r"raise of \[delays\] is unknown; .* allowed are .*raise_at"),
        (
            "[model]\nkeeps_censored = true\n",
            r"keeps_censored of \[model\] is now includes_censored; rename it",
        ),
        (
            "[model]\nfollows_drift = true\n",
            r"follows_drift of \[model\] is now tracks_drift; rename it",
        ),
        (
            "[delays]\nraise_at = 0.1\n",
            r"clear_at: 0\.3 is out of order; keep 0 < risk_at <= clear_at <= raise_at < 1",
        ),
        ("trees: 5\n", r"it is not TOML"),
        (None, r"No such file or directory; name a TOML file that can be read"),
    ],
)
def test_wrong_configuration_is_one_error_line_with_the_fix(
    orders: Path, models: Path, content: str | None, message: str
) -> None:
    config = models.with_name("config.toml")
    if content is not None:
        config.write_text(content)
    ran = run(
        "score", orders, "--source", "olist", "--as-of", EARLY, "--config", config, models=models
    )
    assert ran.status == 2
    (error,) = ran.errors
    assert error.startswith(f"error: --config names {config}: ")
    assert re.search(message, error)
    assert ran.err.endswith(error + "\n")


def test_configuration_sets_model_parameters(orders: Path, empty: Path) -> None:
    config = empty.with_name("config.toml")
    config.write_text("[model]\ntrees = 7\nleaf_rows = 50\n")
    _, configured = train(orders, QUICK, empty, "--config", config)
    _, defaults = train(orders, QUICK, empty)
    assert (configured["parameters"]["trees"], configured["parameters"]["leaf_rows"]) == (7, 50)
    assert {**defaults["parameters"], "trees": 7, "leaf_rows": 50} == configured["parameters"]
    assert configured["files"]["arrays.npz"]["bytes"] < defaults["files"]["arrays.npz"]["bytes"]


@pytest.mark.parametrize(
    "command",
    [
        f"train DATA --source olist --as-of {QUICK}",
        "update DATA --source olist --model newest",
        f"score DATA --source olist --as-of {EARLY} --model newest --out scores.csv",
        "backtest DATA --source olist --from 2018-03-10 --to 2018-03-12 --refit never --models eta",
    ],
)
def test_calendar_file_applies_to_training_and_forecasts(
    orders: Path, models: Path, command: str
) -> None:
    wednesdays = ", ".join(
        str(day.date()) for day in pd.date_range("2017-01-04", "2018-12-31", freq="7D")
    )
    calendar = models.with_name("calendar.toml")
    calendar.write_text(
        f'version = "1"\n[[places]]\ncountry = "BR"\nclosed = [{wednesdays}]\n', encoding="utf-8"
    )
    runs: list[tuple[str, bytes]] = []
    for environment in ({}, {"ETA_CALENDAR": ""}, {"ETA_CALENDAR": str(calendar)}):
        folder = shutil.copytree(models, models.with_name(f"run{len(runs)}") / "models")
        words = [
            orders if word == "DATA" else folder.parent / word if word == "scores.csv" else word
            for word in command.split()
        ]
        ran = run(*words, "--json", folder.with_name("report.json"), models=folder, **environment)
        assert ran.status == 0, ran.err
        json_text = re.sub(
            r'"(fit|predict)_seconds": [0-9.e-]+',
            "",
            folder.with_name("report.json").read_text(encoding="utf-8"),
        )
        scores = folder.with_name("scores.csv")
        runs.append((json_text, scores.read_bytes() if scores.exists() else b""))
    assert runs[0] == runs[1] != runs[2]


def test_invalid_calendar_file_is_one_error_line(orders: Path, models: Path) -> None:
    ran = execute(
        "score",
        orders,
        "--source",
        "olist",
        "--as-of",
        EARLY,
        models=models,
        ETA_CALENDAR="no-such-file.toml",
    )
    assert ran.status == 2
    problem = "No such file or directory; name a TOML file that can be read"
    assert ran.err == f"error: ETA_CALENDAR names no-such-file.toml: {problem}\n"


def test_configuration_sets_delay_thresholds(orders: Path, models: Path) -> None:
    config, json_file = models.with_name("config.toml"), models.with_name("report.json")
    on_track = []
    for risk in (0.001, 0.25):
        config.write_text(f"[delays]\nrisk_at = {risk}\n")
        run_ok(
            "score",
            orders,
            "--source",
            "olist",
            "--as-of",
            EARLY,
            "--config",
            config,
            "--json",
            json_file,
            models=models,
        )
        on_track.append(figures(json_file)["delay_states"].get("on_track", 0))
    assert on_track[0] < on_track[1]


@pytest.mark.parametrize(
    "file", ["arrays.npz", "stage_durations.json", "support.json", "manifest.json"]
)
def test_corrupted_version_is_rejected_by_name_and_scores_nothing(
    orders: Path, trained: Trained, models: Path, file: str
) -> None:
    spoil(models, trained.early, file)
    out = models.with_name("scores.csv")
    ran = run(
        "score",
        orders,
        "--source",
        "olist",
        "--as-of",
        EARLY,
        "--model",
        trained.early,
        "--out",
        out,
        models=models,
    )
    assert ran.status == 2
    (error,) = ran.errors
    assert error.startswith(f"error: model version {trained.early}: ")
    assert not out.exists()


def test_score_reports_a_corrupted_version_and_uses_the_last_good_one(
    orders: Path, trained: Trained, models: Path
) -> None:
    spoil(models, trained.late)
    out = models.with_name("report.json")
    ran = run("score", orders, "--source", "olist", "--as-of", LATE, "--json", out, models=models)
    assert f"rejected: model version {trained.late}" in ran.err
    assert figures(out)["model_version"] == trained.early


@pytest.mark.parametrize(
    ("spoiled", "day", "reason"),
    [
        (None, LATE, None),
        (None, EARLY, r"trained on data through 2018-04-15T.* after --as-of"),
        ("source", LATE, r"trained on the source tabular, not on olist"),
        ("broken", LATE, r"arrays\.npz differs from its manifest"),
        ("absent", LATE, r"there is no model version"),
    ],
)
def test_score_says_why_it_did_not_use_the_promoted_version(
    orders: Path, trained: Trained, models: Path, spoiled: str | None, day: str, reason: str | None
) -> None:
    registry, promoted = Registry(models), trained.late
    if spoiled == "source":
        version = registry.load(trained.late)
        names = ("format", "files")
        metadata = {key: part for key, part in version.manifest.items() if key not in names}
        metadata["data"] = {**metadata["data"], "source": "tabular"}
        promoted = registry.save(metadata, version.files, version.data_through)
        shutil.rmtree(models / trained.late)
    registry.promote(promoted)
    if spoiled == "broken":
        spoil(models, promoted)
    if spoiled == "absent":
        shutil.rmtree(models / promoted)
    out = models.with_name("report.json")
    ran = run("score", orders, "--source", "olist", "--as-of", day, "--json", out, models=models)
    assert ran.status == 0, ran.err
    report = figures(out)
    used = trained.early if reason else trained.late
    assert (report["model_version"], report["promoted"]) == (used, promoted)
    assert f"scoring with version {used}" in ran.err
    if reason is None:
        assert report["why_not_promoted"] is None
    else:
        assert re.search(reason, report["why_not_promoted"])
        assert re.search(rf"{promoted} is not used: .*{reason}", ran.err)


def test_score_says_that_the_promoted_version_is_older(
    orders: Path, trained: Trained, models: Path
) -> None:
    Registry(models).promote(trained.early)
    report = figures(score(orders, LATE, models).with_suffix(".json"))
    assert report["model_version"] == trained.late
    assert "newer version" in report["why_not_promoted"]


def test_version_is_promoted_and_rolled_back(trained: Trained, models: Path) -> None:
    json_file = models.with_name("report.json")
    serving = []
    for command in (["promote", trained.early], ["promote", trained.late], ["rollback"]):
        run_ok("models", *command, models=models)
        run_ok("models", "list", "--json", json_file, models=models)
        assert [row["version"] for row in figures(json_file)["versions"]] == [
            trained.late,
            trained.early,
        ]
        assert figures(json_file)["active"] in [
            row["version"] for row in figures(json_file)["versions"] if row["active"]
        ]
        serving.append(figures(json_file)["active"])
    assert serving == [trained.early, trained.late, trained.early]


def test_update_of_the_active_version_becomes_active(
    orders: Path, trained: Trained, models: Path, tmp_path: Path
) -> None:
    run_ok("models", "promote", trained.early, models=models)
    output = run_ok(
        "update",
        orders,
        "--source",
        "olist",
        "--as-of",
        LATE,
        "--json",
        tmp_path / "update.json",
        models=models,
    )
    report = figures(tmp_path / "update.json")
    assert report["from"] == trained.early
    assert report["active"]
    assert f"version {report['version']} is {trained.early}" in " ".join(output.split())
    folder, before = models / report["version"], models / trained.early
    assert (folder / "arrays.npz").read_bytes() == (before / "arrays.npz").read_bytes()
    assert figures(folder / "drift.json") == report["drift"] != figures(before / "drift.json")
    assert figures(folder / "place_effects.json") != figures(before / "place_effects.json")
    assert figures(folder / "manifest.json")["updated"]["fitted"] == trained.early
    assert trained.early in run_ok("models", "rollback", models=models)


def test_update_of_an_inactive_version_stays_inactive(
    orders: Path, trained: Trained, models: Path
) -> None:
    run_ok("models", "promote", trained.late, models=models)
    run_ok(
        "update",
        orders,
        "--source",
        "olist",
        "--as-of",
        LATE,
        "--model",
        trained.early,
        models=models,
    )
    assert json.loads((models / "promoted.json").read_bytes())["history"][-1] == trained.late


def test_update_rejects_data_of_another_source(
    trained: Trained, models: Path, tmp_path: Path
) -> None:
    run("simulate", tmp_path / "other", "--shipments", 100, models=models)
    ran = run("update", tmp_path / "other", "--model", trained.early, models=models)
    assert ran.status == 2
    assert "was trained on olist" in " ".join(ran.err.split())


def test_update_rejects_a_version_without_drift_tracking(
    orders: Path, empty: Path, tmp_path: Path
) -> None:
    (tmp_path / "still.toml").write_text(
        "[model]\ntrees = 5\ntracks_drift = false\n", encoding="utf-8"
    )
    train(orders, QUICK, empty, "--config", tmp_path / "still.toml")
    ran = run("update", orders, "--source", "olist", "--model", "newest", models=empty)
    assert ran.status == 2
    assert "not to follow drift" in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--as-of", EARLY], "no version is active"),
        (["--as-of", "2017-06-01", "--model", "newest"], "has learned through"),
        (["--as-of", "2019-06-01", "--model", "newest"], "nothing was received"),
    ],
)
def test_update_needs_a_version_trained_before_as_of(
    orders: Path, models: Path, options: list[str], message: str
) -> None:
    ran = run("update", orders, "--source", "olist", *options, models=models)
    assert ran.status == 2
    assert message in " ".join(ran.err.split())


def test_corrupted_version_is_listed_as_rejected_and_not_promoted(
    trained: Trained, models: Path
) -> None:
    run_ok("models", "promote", trained.early, models=models)
    spoil(models, trained.late)
    ran = run("models", "promote", trained.late, models=models)
    assert (ran.status, len(ran.errors)) == (2, 1)
    assert trained.late in ran.errors[0]
    json_file = models.with_name("report.json")
    assert "rejected" in run_ok("models", "list", "--json", json_file, models=models)
    assert figures(json_file)["active"] == trained.early
    assert [set(row) for row in figures(json_file)["versions"]] == [
        {"version", "rejected"},
        {"version", "data", "active"},
    ]


def test_show_prints_the_manifest_of_a_version(trained: Trained, models: Path) -> None:
    json_file = models.with_name("report.json")
    output = run_ok("models", "show", trained.early, "--json", json_file, models=models)
    assert figures(json_file) == json.loads((models / trained.early / "manifest.json").read_bytes())
    assert figures(json_file)["data"]["sha256"] in output


def test_compare_shows_the_checks_of_two_versions(trained: Trained, models: Path) -> None:
    json_file = models.with_name("report.json")
    output = run_ok(
        "models", "compare", trained.early, trained.late, "--json", json_file, models=models
    )
    for version in (trained.early, trained.late):
        check = figures(json_file)[version]
        assert f"{check['from']} to {check['to']}" in output
        assert version in output


@pytest.mark.parametrize("writes", [0, 2, 4])
def test_interrupted_training_leaves_no_version(
    orders: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    done = iter(range(writes))

    def sync(_: int) -> None:
        if next(done, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", sync)
    assert run("train", orders, "--source", "olist", "--as-of", QUICK, models=empty).status == 130
    assert list(done) == []
    assert files(empty.parent) == {}


def test_interrupted_score_leaves_the_old_file(
    orders: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(_: int) -> None:
        raise KeyboardInterrupt

    out = models.with_name("scores.csv")
    out.write_text("scores of yesterday")
    before = files(models.parent)
    monkeypatch.setattr(os, "fsync", sync)
    assert (
        run(
            "score", orders, "--source", "olist", "--as-of", EARLY, "--out", out, models=models
        ).status
        == 130
    )
    assert files(models.parent) == before


def listen_to_interrupts() -> None:
    """A background job of a shell ignores them, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted_command_leaves_no_traceback_and_no_version(orders: Path, empty: Path) -> None:
    command: list[str | Path] = [EXECUTABLE, "train", orders, "--source", "olist", "--as-of", EARLY]
    environment = {**os.environ, "ETA_MODELS": str(empty)}
    with subprocess.Popen(
        command,
        env=environment,
        cwd=empty.parent,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_interrupts,
    ) as process:
        assert process.stderr is not None
        # It has read its data and goes on to train.
        first = next(line for line in process.stderr if line.startswith("read "))
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert first.startswith("read 600 shipments")
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert files(empty.parent) == {}


class Scored(NamedTuple):
    """Real orders of one morning, scored with the data received by then and with all data."""

    then: Path
    now: Path


@pytest.fixture(scope="module")
def scored(eta_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Scored:
    truncated = write_as_of_day(eta_data / "olist", tmp_path_factory.mktemp("truncated"), REAL_DAY)
    then, now = (
        score(data, REAL_DAY, tmp_path_factory.mktemp("scored") / "models")
        for data in (truncated, eta_data / "olist")
    )
    return Scored(then, now)


@on_real_orders
def test_later_events_change_no_byte_of_real_scores_or_of_the_version(
    scored: Scored,
) -> None:
    assert len(versions(scored.now.with_name("models"))) == 1
    assert files(scored.then.parent) == files(scored.now.parent)


@on_real_orders
def test_every_real_open_parcel_is_scored_once(scored: Scored, eta_data: Path) -> None:
    rows = ids(scored.now) + ids(beside(scored.now))
    assert sorted(rows) == sorted(open_orders(eta_data / "olist", REAL_DAY))
    assert len(rows) == 699
    report = figures(scored.now.with_suffix(".json"))
    assert report["in_flight"] + report["expired"] == 699
    assert sum(report["delay_states"].values()) == report["in_flight"]


@on_real_orders
def test_training_on_delivered_parcels_only_costs_coverage_and_crps(
    eta_data: Path, tmp_path: Path
) -> None:
    json_file = tmp_path / "figures.json"
    days = ("--from", "2017-08-01", "--to", "2017-08-31", "--models", "eta,eta-delivered-only")
    run_ok(
        "backtest",
        eta_data / "olist",
        "--source",
        "olist",
        *days,
        "--json",
        json_file,
        models=tmp_path / "models",
    )
    rows = {row["model"]: row for row in figures(json_file)["rows"] if row["moment"] == "purchase"}
    eta, delivered_only = rows["eta"], rows["eta-delivered-only"]
    assert eta["n"] == delivered_only["n"] > 1_500
    # Recalibration recovers most of that loss, not all of it.
    assert delivered_only["coverage_90"] < eta["coverage_90"] - 0.005
    assert delivered_only["crps_censored_days"] > eta["crps_censored_days"] + 0.1
    (gap,) = (
        row
        for row in figures(json_file)["differences"]
        if (row["moment"], row["metric"]) == ("purchase", "crps_censored_days")
    )
    assert gap["high"] < 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[model]\ntrees = 'many'", r"trees of \[model\] must be a whole number, such as 150"),
        ("[model]\ntrees = true", r"trees of \[model\] must be a whole number"),
        ("[model]\ntrees = -3", r"trees: -3 is out of range; give at least 1"),
        ("[delays]\nraise_at = 'x'", r"raise_at of \[delays\] must be a number, such as 0.5"),
        ("[delays]\nraise_at = 0.1", r"\[delays\] clear_at: .* out of order"),
    ],
)
def test_setting_of_the_wrong_type_is_one_error_line(
    orders: Path, empty: Path, tmp_path: Path, settings: str, message: str
) -> None:
    config = tmp_path / "train.toml"
    config.write_text(settings, encoding="utf-8")
    ran = run("train", orders, "--source", "olist", "--config", config, models=empty)
    assert ran.status == 2
    assert re.search(message, ran.errors[-1])
    assert "Traceback" not in ran.err


def test_score_notes_a_version_trained_on_later_data(orders: Path, models: Path) -> None:
    ran = run(
        "score", orders, "--source", "olist", "--as-of", EARLY, "--model", "newest", models=models
    )
    assert ran.status == 0
    assert "was trained on data received after" in ran.err


def test_promise_policy_is_simulated_on_past_orders(orders: Path, tmp_path: Path) -> None:
    json_file, picture, file, models = (
        tmp_path / name for name in ("figures.json", "promises.png", "promise.toml", "models")
    )
    arguments = (
        "promise",
        "simulate",
        orders,
        "--source",
        "olist",
        "--from",
        "2018-03-01",
        "--to",
        "2018-03-31",
        "--json",
        json_file,
    )
    output = run_ok(*arguments, "--picture", picture, models=models)
    baseline = figures(json_file)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "days saved" in output
    assert {
        "total",
        "by_segment",
        "policy",
        "late_costs_days",
        "from",
        "to",
        "refit",
        "data",
        "eta_version",
    } == baseline.keys()
    file.write_text(
        'version = "early"\non_time_rate = 0.6\n[bounds]\nlatest_days = 50\n', encoding="utf-8"
    )
    run_ok(*arguments, "--policy", file, models=models)
    early = figures(json_file)
    assert (baseline["policy"], early["policy"]) == (None, "early")
    assert early["total"]["n"] == baseline["total"]["n"]
    assert early["total"]["promised_days_mean"] < baseline["total"]["promised_days_mean"]
    assert early["total"]["on_time_share"] <= baseline["total"]["on_time_share"]
    assert early["total"]["shop_promised_days_mean"] == baseline["total"]["shop_promised_days_mean"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--policy", "nowhere.toml"), r"--policy names nowhere\.toml: No such file or directory"),
        (
            ("--picture", "promises.gif"),
            r"--picture: promises\.gif does not name a format; end it with \.png or \.svg",
        ),
        (("--to", "2018-02-01"), r"--to"),
    ],
)
def test_invalid_promise_simulation_is_one_error_line(
    orders: Path, empty: Path, more: tuple[str, str], message: str
) -> None:
    ran = run(
        "promise",
        "simulate",
        orders,
        "--source",
        "olist",
        "--from",
        "2018-03-01",
        "--to",
        "2018-03-31",
        *more,
        models=empty,
    )
    assert ran.status == 2
    assert re.search(message, ran.err)
