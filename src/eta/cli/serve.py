"""``eta serve``."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from eta.cli.inputs import load_settings
from eta.cli.log import LOGGING
from eta.cli.memory import give_back_bodies
from eta.cli.options import AcceptClock
from eta.cli.store import open_configured_store
from eta.domain.errors import InvalidValue
from eta.settings import is_loopback

#: Seconds that requests in progress have to end when the server is stopped.
GRACE_SECONDS = 8

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)]
Demo = Annotated[bool, typer.Option("--demo", help="Require no API keys; on loopback only.")]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    demo: Demo = False,
    accept_clock: AcceptClock = False,
) -> None:
    """Serve the HTTP API.

    A version promoted later is loaded without a restart. SIGHUP reads the keys file again.
    """
    if demo:
        # The application reads the environment itself when it is created.
        os.environ["ETA_DEMO"] = "1"
    # Fails with a single line, before the server starts, if the service could not run.
    settings = load_settings()
    settings.require_api_keys()
    settings.require_shared_model()
    if settings.api_keys_file:
        # The application reads the file itself when it is created, and from then on handles it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if settings.is_demo and not is_loopback(host):
        problem = "the demo requires no API keys and listens on loopback only"
        hint = "leave it out, or set ETA_API_KEYS and serve without the demo"
        raise InvalidValue("--host", problem, hint)
    open_configured_store(settings, accept_clock=accept_clock).close()
    give_back_bodies()
    import uvicorn  # only this command needs it, and it is slow to import

    from eta.cli.http_protocol import BoundedProtocol, limit_connections  # it imports uvicorn

    BoundedProtocol.max_connections = limit_connections()
    uvicorn.run(
        "eta.api.app:from_environment",
        factory=True,
        http=BoundedProtocol,
        ws="none",
        host=host,
        port=port,
        access_log=False,
        log_config=LOGGING,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
