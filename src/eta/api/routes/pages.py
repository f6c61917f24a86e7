"""Pages for people who open the service in a browser. They need no key and hold no data."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic_core import to_json

from eta.api.html import PAGE_HEADERS, landing_page, reference_page
from eta.api.strict_route import StrictRoute

router = APIRouter(route_class=StrictRoute, include_in_schema=False)
_LINKS = {
    "/docs": "the HTTP API: every route with parameters and examples",
    "/openapi.json": "the same for machines",
    "/readyz": "whether the service is ready, and which model is active",
    "/livez": "whether the process is alive",
    "/metrics": "counters for Prometheus",
}


@router.get("/", response_class=HTMLResponse)
async def landing(request: Request) -> Response:
    """Says what this is, with links; in JSON for a client that accepts only JSON."""
    app = request.app
    accepted = request.headers.get("accept", "*/*")
    if "json" in accepted and not ("text/" in accepted or "*/*" in accepted):
        about = {"object": "service", "name": app.title, "version": app.version}
        content = {**about, "description": app.description, "links": _LINKS}
        return JSONResponse(content, headers=dict(PAGE_HEADERS))
    page = landing_page(app.description, app.version, _LINKS)
    return HTMLResponse(page, headers=dict(PAGE_HEADERS))


@router.get("/docs", response_class=HTMLResponse)
async def reference(request: Request) -> Response:
    """Returns the reference of the API, made from its OpenAPI document."""
    return HTMLResponse(_reference(request.app), headers=dict(PAGE_HEADERS))


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """Returns the OpenAPI document."""
    return Response(_document(request.app), media_type="application/json")


@lru_cache(maxsize=1)
def _reference(app: FastAPI) -> str:
    return reference_page(app.openapi())


@lru_cache(maxsize=1)
def _document(app: FastAPI) -> bytes:
    return to_json(app.openapi())
