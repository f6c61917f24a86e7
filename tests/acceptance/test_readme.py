"""The README's commands run as written, and what it says of an answer is in the answer."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: The README, and the page that goes on with the same model.
DOCUMENTS = README + (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHELL = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
ANSWERS = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENTS, flags=re.DOTALL)
]
REQUESTS = [
    (route, json.loads(body))
    for route, body in re.findall(
        r"127\.0\.0\.1:8000(/v1/(?:estimates|score)) .*?-d '(.*?)'\n",
        "".join(re.findall(r"```sh\n(.*?)```", DOCUMENTS, flags=re.DOTALL)),
        flags=re.DOTALL,
    )
]
#: The commands that register a shipment, tell a scan of it, and ask.
RECORDED = next(block for block in SHELL if "/v1/events" in block)

pytestmark = pytest.mark.xdist_group("readme")


def environment_of(folder: Path) -> dict[str, str]:
    """The environment of a reader whose home folder this is."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("ETA_")}
    return {**others, "ETA_HOME": str(folder)}


def run(command: str, folder: Path) -> str:
    environment = environment_of(folder)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],  # noqa: S607  # as a reader would
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the demo has run, and what it printed."""
    folder = tmp_path_factory.mktemp("readme")
    return folder, run("eta demo --picture forecast.png", folder)


def test_the_demo_shows_the_comparison_and_parcels_with_their_curves(
    demo_run: tuple[Path, str],
) -> None:
    folder, printed = demo_run
    assert "oracle" in printed
    assert "parcels in flight" in printed
    assert re.search(r"arrives 20\d\d-\d\d-\d\d to 20\d\d-\d\d-\d\d with 80 %; promised", printed)
    assert re.search(r"  [ ▁▂▃▄▅▆▇█]{10,}  chance of each day", printed)
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_every_notebook_runs(demo_run: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    (demo_run[0] / "notebooks").mkdir(exist_ok=True)
    monkeypatch.chdir(demo_run[0] / "notebooks")
    monkeypatch.setenv("MPLBACKEND", "agg")
    for notebook in NOTEBOOKS:
        cells = [
            cell
            for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code"
        ]
        namespace: dict[str, Any] = {}
        for cell in cells:
            exec("".join(cell["source"]), namespace)  # noqa: S102  # our own cells, as a reader would run them
        assert not namespace["table"].empty


def test_a_folder_that_holds_something_else_is_left_alone(demo_run: tuple[Path, str]) -> None:
    folder, _ = demo_run
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("all of it", encoding="utf-8")
    with pytest.raises(AssertionError, match="holds something else"):
        run("eta demo --data mine", folder)
    assert (folder / "mine" / "thesis.txt").read_text(encoding="utf-8") == "all of it"


@pytest.mark.timeout(1_500)
def test_the_commands_run_as_written(demo_run: tuple[Path, str], tmp_path: Path) -> None:
    folder = shutil.copytree(demo_run[0], tmp_path / "copy")
    # Fewer parcels than those of the demo, on the same days.
    shutil.rmtree(folder / "models" / "demo")
    run("eta simulate models/demo --shipments 2000", folder)
    commands = [line for block in SHELL for line in block.splitlines() if line.startswith("eta ")]
    assert len(commands) == 6
    for command in commands:
        run(command, folder)
    assert (folder / "flags.csv").read_text(encoding="utf-8").startswith("order_id,shipment_id,")
    assert json.loads((folder / "backtest.json").read_text(encoding="utf-8"))["data"]["simulated"]


def test_a_shipment_is_remembered_as_the_readme_shows(
    demo_run: tuple[Path, str], tmp_path: Path
) -> None:
    folder = shutil.copytree(demo_run[0], tmp_path / "copy")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = environment_of(folder)
    command = [str(Path(sys.executable).with_name("eta")), "serve", "--demo", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.DEVNULL
    ) as server:
        try:
            run(f"until curl -fs http://127.0.0.1:{port}/readyz; do sleep 0.1; done", folder)
            printed = run(RECORDED.replace(":8000", f":{port}"), folder)
        finally:
            server.terminate()
    shipment = json.loads(printed[printed.index('{"object":"list"') :])["results"][0]
    assert (
        shipment["external_id"],
        shipment["tracking_number"],
        shipment["forecast"]["status"],
    ) == (
        "A-1002",
        "RF1002",
        "in_transit",
    )
    assert [entry["event_code"] for entry in shipment["journey"]] == ["order_created", "accepted"]
    assert shipment["forecast"]["estimated_delivery_date"]
    assert (folder / "eta.sqlite").is_file()


@pytest.mark.parametrize(
    ("request_", "documented"),
    list(zip(REQUESTS, ANSWERS, strict=True)),
    ids=["estimates", "score"],
)
def test_an_answer_has_what_the_readme_shows_of_it(
    demo_run: tuple[Path, str], request_: tuple[str, Any], documented: dict[str, Any]
) -> None:
    folder, _ = demo_run
    with TestClient(
        create_app(Settings(models=folder / "models", is_demo=True)), base_url="http://127.0.0.1"
    ) as client:
        answer = client.post(request_[0], json=request_[1])
    assert answer.status_code == 200
    first = answer.json()["results"][0]
    assert first["degraded"] is False
    dates = {
        name: value
        for name, value in documented.items()
        if name.startswith("estimated_delivery_date") or name.endswith("_code")
    }
    assert {name: first[name] for name in dates} == dates
    assert documented.keys() <= first.keys()
    for name, part in documented.items():
        if isinstance(part, dict):
            assert part.keys() <= first[name].keys()
