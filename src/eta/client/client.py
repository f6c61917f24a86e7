"""One method an operation. Written by `make client`: change the contract instead."""

from eta.client import types
from eta.client.calls import BaseClient, new_key, part


class Client(BaseClient):
    """The service, one method an operation."""

    def create_estimate(self, body: types.EstimateRequest) -> types.EstimateResponse:
        """Dates for one lane and several carrier services, as of the moment of the order: one result a service, in order."""
        return self._request("POST", "/v1/estimates", body=body)

    def create_order_estimate(
        self, body: types.OrderEstimateRequest
    ) -> types.OrderEstimateResponse:
        """Dates of the first and the last parcel of an order that travels as several, as of the moment of the order, and those of each piece."""
        return self._request("POST", "/v1/order-estimates", body=body)

    def get_estimate(self, estimate_id: str) -> types.EstimateResponse:
        """An estimate as it was shown."""
        return self._request("GET", f"/v1/estimates/{part(estimate_id)}")

    def get_estimate_schema_org(self, estimate_id: str) -> types.ShippingDeliveryTimes:
        """The same for a page that search engines read: one `ShippingDeliveryTime` (schema.org) a service that has dates."""
        return self._request("GET", f"/v1/estimates/{part(estimate_id)}/schema-org")

    def calculate_ship_by(self, body: types.ShipByRequest) -> types.ShipByResponse:
        """The latest hand-over that brings a parcel by a wanted day as often as is asked: one result a service, in order."""
        return self._request("POST", "/v1/ship-by", body=body)

    def score_shipments(self, body: types.ScoreRequest) -> types.ScoreList:
        """Dates and delay flags of shipments told whole: one entry a shipment, in order, a result or a problem."""
        return self._request("POST", "/v1/score", body=body)

    def list_models(self) -> types.ModelList:
        """The versions there are, the one that learned furthest first, and which one serves."""
        return self._request("GET", "/v1/models")

    def create_shipment(
        self, body: types.ShipmentCreate, *, idempotency_key: str | None = None
    ) -> types.ShipmentReference:
        """Registers a shipment: 201 if it was not there, 200 if it was, with the same facts, 409 if it was with others."""
        return self._request(
            "POST",
            "/v1/shipments",
            body=body,
            idempotency_key=idempotency_key or new_key(),
            answers=(200, 201),
        )

    def list_shipments(
        self,
        *,
        ids: str | None = None,
        external_ids: str | None = None,
        status: types.Status | None = None,
        as_of: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> types.ShipmentList:
        """Shipments by their ids, in no order, or page by page; those that are not there are left out."""
        return self._request(
            "GET",
            "/v1/shipments",
            query={
                "ids": ids,
                "external_ids": external_ids,
                "status": status,
                "as_of": as_of,
                "limit": limit,
                "cursor": cursor,
            },
        )

    def delete_shipment_by_external_id(self, *, external_id: str) -> types.DeletedCount:
        """Erases the shipment with the shop's own number, with all that was told and said of it."""
        return self._request("DELETE", "/v1/shipments", query={"external_id": external_id})

    def update_shipment(
        self, shipment_id: str, body: types.ShipmentUpdate, *, idempotency_key: str | None = None
    ) -> types.ShipmentReference:
        """Says something else of a shipment from now on; what was said before stays on record."""
        return self._request(
            "PATCH",
            f"/v1/shipments/{part(shipment_id)}",
            body=body,
            idempotency_key=idempotency_key or new_key(),
        )

    def get_shipment(self, shipment_id: str, *, as_of: str | None = None) -> types.Shipment:
        """A shipment: its journey, its forecast, and what was said of it before."""
        return self._request("GET", f"/v1/shipments/{part(shipment_id)}", query={"as_of": as_of})

    def delete_shipment(self, shipment_id: str) -> types.DeletedCount:
        """Erases a shipment with all that was told and said of it."""
        return self._request("DELETE", f"/v1/shipments/{part(shipment_id)}")

    def create_events(
        self, body: types.EventBatch, *, idempotency_key: str | None = None
    ) -> types.EventBatchResponse:
        """Records scans, told in any order, late or again: one entry each, in order. JSON, or one scan a line (`application/x-ndjson`)."""
        return self._request(
            "POST", "/v1/events", body=body, idempotency_key=idempotency_key or new_key()
        )

    def list_quarantine(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> types.QuarantineList:
        """Scans that cannot be right: they count for nothing."""
        return self._request("GET", "/v1/quarantine", query={"limit": limit, "cursor": cursor})

    def livez(self) -> types.Liveness:
        """The event loop turns."""
        return self._request("GET", "/livez")

    def readyz(self) -> types.Readiness:
        """What serves, and what is not as it should be; without a model the service still answers, and says `degraded`."""
        return self._request("GET", "/readyz", answers=(200, 503))

    def metrics(self) -> str:
        """Counters for Prometheus."""
        return self._request("GET", "/metrics", is_text=True)
