"""One method per operation. Written by `make client`: change the API instead."""

from eta.client import types
from eta.client.calls import BaseClient, new_key, part


class Client(BaseClient):
    """The service, one method per operation."""

    def create_estimate(self, body: types.EstimateRequest) -> types.EstimateResponse:
        """Estimates delivery dates of a lane: one result per carrier service, in order."""
        return self._request("POST", "/v1/estimates", body=body)

    def create_order_estimate(
        self, body: types.OrderEstimateRequest
    ) -> types.OrderEstimateResponse:
        """Estimates when the first and last parcel of an order arrive, and each parcel's dates."""
        return self._request("POST", "/v1/order-estimates", body=body)

    def get_estimate(self, estimate_id: str) -> types.EstimateResponse:
        """Returns a saved estimate."""
        return self._request("GET", f"/v1/estimates/{part(estimate_id)}")

    def get_estimate_schema_org(self, estimate_id: str) -> types.ShippingDeliveryTimes:
        """Returns a saved estimate as schema.org `ShippingDeliveryTime`, for search engines."""
        return self._request("GET", f"/v1/estimates/{part(estimate_id)}/schema-org")

    def calculate_ship_by(self, body: types.ShipByRequest) -> types.ShipByResponse:
        """Calculates the latest hand-over for a desired date: one result per service, in order."""
        return self._request("POST", "/v1/ship-by", body=body)

    def score_shipments(self, body: types.ScoreRequest) -> types.ScoreList:
        """Dates and delay flags of shipments that are sent whole.

        One entry a shipment, in order: a result or a problem.
        """
        return self._request("POST", "/v1/score", body=body)

    def list_models(self) -> types.ModelList:
        """Lists the model versions, the one with the latest training data first."""
        return self._request("GET", "/v1/models")

    def get_coverage(
        self, *, carrier_code: str | None = None, limit: int | None = None
    ) -> types.ModelCoverage:
        """Lists the carriers, services, lanes and regions that the active version has seen."""
        return self._request(
            "GET", "/v1/coverage", query={"carrier_code": carrier_code, "limit": limit}
        )

    def create_shipment(
        self, body: types.ShipmentCreate, *, idempotency_key: str | None = None
    ) -> types.ShipmentReference:
        """Registers a shipment: 201 if it is new, 200 if it exists unchanged, 409 if it differs."""
        return self._request(
            "POST",
            "/v1/shipments",
            body=body,
            idempotency_key=idempotency_key or new_key(),
            statuses=(200, 201),
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
        """Lists shipments by ids, in no particular order, or page by page; omits unknown ids."""
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
        """Deletes the shipment with the shop's own number, with its events and forecasts."""
        return self._request("DELETE", "/v1/shipments", query={"external_id": external_id})

    def update_shipment(
        self, shipment_id: str, body: types.ShipmentUpdate, *, idempotency_key: str | None = None
    ) -> types.ShipmentReference:
        """Updates a shipment from now on; earlier versions stay on record."""
        return self._request(
            "PATCH",
            f"/v1/shipments/{part(shipment_id)}",
            body=body,
            idempotency_key=idempotency_key or new_key(),
        )

    def get_shipment(self, shipment_id: str, *, as_of: str | None = None) -> types.Shipment:
        """Returns a shipment: its events, its forecast, and its earlier forecasts."""
        return self._request("GET", f"/v1/shipments/{part(shipment_id)}", query={"as_of": as_of})

    def delete_shipment(self, shipment_id: str) -> types.DeletedCount:
        """Deletes a shipment with its events and forecasts."""
        return self._request("DELETE", f"/v1/shipments/{part(shipment_id)}")

    def create_events(
        self, body: types.EventBatch, *, idempotency_key: str | None = None
    ) -> types.EventBatchResponse:
        """Records events in any order, as JSON or as JSON Lines (`application/x-ndjson`)."""
        return self._request(
            "POST", "/v1/events", body=body, idempotency_key=idempotency_key or new_key()
        )

    def update_event(
        self, event_id: str, body: types.EventUpdate, *, idempotency_key: str | None = None
    ) -> types.Event:
        """Corrects an event's code from now on; what was known before stays as it was."""
        return self._request(
            "PATCH",
            f"/v1/events/{part(event_id)}",
            body=body,
            idempotency_key=idempotency_key or new_key(),
        )

    def list_quarantine(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> types.QuarantineList:
        """Lists implausible events, which are recorded but not used."""
        return self._request("GET", "/v1/quarantine", query={"limit": limit, "cursor": cursor})

    def livez(self) -> types.Liveness:
        """Checks that the event loop is running."""
        return self._request("GET", "/livez")

    def readyz(self) -> types.Readiness:
        """Returns the active model and current problems; without a model the status is `degraded`."""
        return self._request("GET", "/readyz", statuses=(200, 503))

    def metrics(self) -> str:
        """Returns the metrics in the text format of Prometheus."""
        return self._request("GET", "/metrics", is_text=True)
