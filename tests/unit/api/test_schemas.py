"""The contract of predictions and what is built for them: the same fields in the same order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter
from pydantic_core import to_json

from eta.api.schemas.common import (
    Basis,
    Delay,
    Evidence,
    Flag,
    Prediction,
    Promise,
    TimeInTransit,
    to_prediction,
)
from eta.api.schemas.estimates import Cutoff, ServiceEstimate, to_estimate
from eta.domain.vocabulary import Phase, Status, TimezoneSource
from eta.model.hot_swap import ActiveModel
from eta.service.estimates.estimate_delivery import Estimate
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.scoring.assessment import (
    PERCENTILES,
    Assessment,
    AssessmentCode,
    AssessmentOptions,
    DelayAssessment,
)

DAY = date(2026, 3, 4)
EMPTY = Assessment(
    code=AssessmentCode.NO_MODEL,
    status=Status.IN_TRANSIT,
    phase=Phase.LINEHAUL,
    timezone="Europe/Berlin",
    timezone_source=TimezoneSource.COUNTRY_DEFAULT,
    days_left=dict.fromkeys(PERCENTILES),
    support_level="none",
    support_parcels=0,
)
FULL = replace(
    EMPTY,
    code=AssessmentCode.OK,
    earliest_on=DAY,
    estimated_on=DAY,
    latest_on=DAY,
    confidence=0.5,
    days_left=dict.fromkeys(PERCENTILES, 2),
    promise_on=DAY,
    is_promise_proposed=True,
    on_time_probability=0.9,
    desired_probability=0.4,
    delay=DelayAssessment("stalled", "off_radar", "carrier", "silence", 0.1, 12.0, 50.0, 9.0, 40.0),
)
ORDERED_AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


def fields_of(contract: Any) -> list[str]:
    """The fields of a typed dictionary in the order of the contract."""
    return list(TypeAdapter(contract).json_schema()["properties"])


@pytest.mark.parametrize("assessment", [EMPTY, FULL])
def test_predictions_have_the_fields_of_the_contract_in_order(assessment: Assessment) -> None:
    prediction = to_prediction(
        assessment, ActiveModel(), AssessmentOptions(), "dhl", None, ORDERED_AT
    )
    parts: dict[Any, list[Any]] = {
        Prediction: [prediction],
        TimeInTransit: [prediction["time_in_transit"]],
        Promise: [prediction["promise"]] if prediction["promise"] else [],
        Delay: [prediction["delay"]],
        Evidence: list(prediction["delay"]["evidence"]),
        Flag: [prediction["delay"]["flag"]],
        Basis: [prediction["basis"]],
    }
    for contract, values in parts.items():
        assert all(list(value) == fields_of(contract) for value in values), contract
    TypeAdapter(Prediction).validate_json(to_json(prediction))


def test_estimates_have_the_fields_of_the_contract_in_order() -> None:
    estimate = Estimate(FULL, order_by=ORDERED_AT + timedelta(minutes=90), handover_on=DAY)
    service = CarrierService(carrier="dhl", service_level="paket")
    result = to_estimate(estimate, ActiveModel(), AssessmentOptions(), service, ORDERED_AT)
    assert list(result) == fields_of(ServiceEstimate)
    assert result["cutoff"] is not None
    assert list(result["cutoff"]) == fields_of(Cutoff)
    assert result["cutoff"]["minutes_left"] == 90
    TypeAdapter(ServiceEstimate).validate_json(to_json(result))
    assert result["desired_delivery_probability"] == 0.4


@pytest.mark.parametrize("field", ["probability", "unknown"])
def test_fields_outside_the_contract_are_rejected(field: str) -> None:
    prediction: Mapping[str, Any] = to_prediction(
        FULL, ActiveModel(), AssessmentOptions(), None, None, ORDERED_AT
    )
    with pytest.raises(ValueError, match="extra_forbidden"):
        TypeAdapter(Prediction).validate_python({**prediction, field: 1.0})
