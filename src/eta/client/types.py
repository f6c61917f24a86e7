"""Bodies of requests and responses, as JSON. Written by `make client`: change the API instead."""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict, final


@final
class Address(TypedDict):
    """One end of a route: no names and no streets."""

    country: str
    """An ISO 3166-1 code (`AT`, `AUT`) or a name (`Austria`, `Österreich`)."""
    state: NotRequired[str | None]
    """An ISO 3166-2 code (`ES-B`), the country's short form (`CA`) or a name (`Bayern`)."""
    city: NotRequired[str | None]
    """Accepted and not used."""
    postal_code: NotRequired[str | None]
    latitude: NotRequired[float | None]
    longitude: NotRequired[float | None]


AssessmentCode: TypeAlias = Literal[
    "ok",
    "may_never_arrive",
    "too_little_support",
    "no_model",
    "timed_out",
    "expired",
    "arrived",
    "delivery_attempted",
    "available_for_pickup",
    "no_arrival_expected",
    "not_known_yet",
]
"""Why an assessment has a date, or has none."""


@final
class Basis(TypedDict):
    """The data behind the prediction."""

    level: str
    """The support level; `observed` for an arrival, `none` without a date."""
    n_effective: int
    """Arrived parcels in the training data at that level."""
    data_through: str | None
    abstained: bool


@final
class CarrierCoverage(TypedDict):
    """A carrier that the model has seen."""

    carrier_code: str
    parcels: int
    """Parcels that arrived in the training data."""


DeliveryDay: TypeAlias = int


PickupDay: TypeAlias = int


@final
class CarrierServiceIn(TypedDict):
    """One of the services to compare; omit what the shop does not choose."""

    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    delivery_days: NotRequired[list[DeliveryDay] | None]
    """Days on which it delivers, except holidays; default: learned from history."""
    pickup_days: NotRequired[list[PickupDay] | None]
    """Days on which it picks up; default: `business_days` of `estimated_pickup`."""
    price: NotRequired[float | None]
    """In the same currency for all services; only compared."""


@final
class CoveredPlace(TypedDict):
    """A country and a region, under the names of an address."""

    country: str
    state: str | None
    """Null if the data do not name it."""


@final
class Cutoff(TypedDict):
    """Until when an order gets the same dates."""

    order_by: str
    """In the origin's local time."""
    minutes_left: int
    """Whole minutes from the order to `order_by`."""


DayRange = TypedDict(
    "DayRange",
    {
        "@type": Literal["QuantitativeValue"],
        "minValue": int,
        "maxValue": int,
        "unitCode": Literal["DAY"],
    },
)


@final
class DelayFlag(TypedDict):
    """A delay flag; it is raised until `ended_at`."""

    state: str
    reason_code: str | None
    probability: float | None
    raised_at: str
    ended_at: str | None


@final
class DeletedCount(TypedDict):
    """How many shipments were deleted, with their events and forecasts."""

    deleted: int


@final
class Dimensions(TypedDict):
    """Outer sizes and their unit."""

    length: float
    width: float
    height: float
    unit: Literal["cm", "in"]


@final
class Dominated(TypedDict):
    """A service that another one beats: no later, no riskier, no dearer, and better in one."""

    index: int
    """Its index in `results`."""
    by: int
    """The index of the better service."""


BusinessDay: TypeAlias = int


@final
class Event(TypedDict):
    """A recorded event as it counts now."""

    object: NotRequired[Literal["event"]]
    event_id: str
    shipment_id: str | None
    """Null until a shipment has the tracking number."""
    event_code: str
    carrier_event_code: str | None
    occurred_at: str
    place: str | None
    corrected: bool
    """Its event code is that of a correction."""
    created: bool
    """Whether a correction was recorded; not if it had the code."""


EventCode: TypeAlias = Literal[
    "order_created",
    "order_approved",
    "order_packed",
    "label_created",
    "manifest_received",
    "picked_up",
    "dropped_off",
    "accepted",
    "arrived_at_facility",
    "departed_facility",
    "sorted",
    "linehaul_departed",
    "linehaul_arrived",
    "export_customs_started",
    "export_customs_cleared",
    "departed_origin_country",
    "arrived_destination_country",
    "import_customs_started",
    "import_customs_held",
    "import_customs_cleared",
    "handed_to_partner",
    "partner_received",
    "arrived_at_delivery_depot",
    "delivery_scheduled",
    "delivery_rescheduled",
    "out_for_delivery",
    "delivery_attempted",
    "available_for_pickup",
    "picked_up_by_recipient",
    "delivered",
    "redirected",
    "held",
    "return_started",
    "return_delivered",
    "damaged",
    "lost",
    "cancelled",
    "info",
]
"""
What a scan says happened.

The order of declaration breaks ties between scans of the same instant.
"""


@final
class EventCreate(TypedDict):
    """One tracking event, of a shipment by `shipment_id`, `external_id` or tracking number."""

    shipment_id: NotRequired[str | None]
    external_id: NotRequired[str | None]
    carrier_code: NotRequired[str | None]
    tracking_number: NotRequired[str | None]
    event_code: Literal[
        "order_created",
        "order_approved",
        "order_packed",
        "label_created",
        "manifest_received",
        "picked_up",
        "dropped_off",
        "accepted",
        "arrived_at_facility",
        "departed_facility",
        "sorted",
        "linehaul_departed",
        "linehaul_arrived",
        "export_customs_started",
        "export_customs_cleared",
        "departed_origin_country",
        "arrived_destination_country",
        "import_customs_started",
        "import_customs_held",
        "import_customs_cleared",
        "handed_to_partner",
        "partner_received",
        "arrived_at_delivery_depot",
        "delivery_scheduled",
        "delivery_rescheduled",
        "out_for_delivery",
        "delivery_attempted",
        "available_for_pickup",
        "picked_up_by_recipient",
        "delivered",
        "redirected",
        "held",
        "return_started",
        "return_delivered",
        "damaged",
        "lost",
        "cancelled",
        "info",
    ]
    """What happened."""
    carrier_event_code: NotRequired[str | None]
    occurred_at: NotRequired[str | None]
    """When it happened, with an offset; or send `occurred_local`."""
    occurred_local: NotRequired[str | None]
    timezone: NotRequired[str | None]
    """The zone of `occurred_local`; default: that of the event's own place, else that of the end of the route where the parcel was."""
    country: NotRequired[str | None]
    """Where it happened."""
    state: NotRequired[str | None]
    """Without `country`, that of a country of the shipment's route."""
    postal_code: NotRequired[str | None]
    place: NotRequired[str | None]
    """Where it happened, without a street."""


@final
class EventInput(TypedDict):
    """One scan."""

    event_code: Literal[
        "order_created",
        "order_approved",
        "order_packed",
        "label_created",
        "manifest_received",
        "picked_up",
        "dropped_off",
        "accepted",
        "arrived_at_facility",
        "departed_facility",
        "sorted",
        "linehaul_departed",
        "linehaul_arrived",
        "export_customs_started",
        "export_customs_cleared",
        "departed_origin_country",
        "arrived_destination_country",
        "import_customs_started",
        "import_customs_held",
        "import_customs_cleared",
        "handed_to_partner",
        "partner_received",
        "arrived_at_delivery_depot",
        "delivery_scheduled",
        "delivery_rescheduled",
        "out_for_delivery",
        "delivery_attempted",
        "available_for_pickup",
        "picked_up_by_recipient",
        "delivered",
        "redirected",
        "held",
        "return_started",
        "return_delivered",
        "damaged",
        "lost",
        "cancelled",
        "info",
    ]
    """What happened."""
    occurred_at: str
    """RFC 3339 with an offset, 1970 to 2100."""
    received_at: NotRequired[str | None]
    """When it was received; default: when it happened."""
    carrier_event_code: NotRequired[str | None]
    place: NotRequired[str | None]
    """Where, without a street."""


@final
class EventUpdate(TypedDict):
    """The event code that counts from now on, whatever the event was recorded with."""

    event_code: Literal[
        "order_created",
        "order_approved",
        "order_packed",
        "label_created",
        "manifest_received",
        "picked_up",
        "dropped_off",
        "accepted",
        "arrived_at_facility",
        "departed_facility",
        "sorted",
        "linehaul_departed",
        "linehaul_arrived",
        "export_customs_started",
        "export_customs_cleared",
        "departed_origin_country",
        "arrived_destination_country",
        "import_customs_started",
        "import_customs_held",
        "import_customs_cleared",
        "handed_to_partner",
        "partner_received",
        "arrived_at_delivery_depot",
        "delivery_scheduled",
        "delivery_rescheduled",
        "out_for_delivery",
        "delivery_attempted",
        "available_for_pickup",
        "picked_up_by_recipient",
        "delivered",
        "redirected",
        "held",
        "return_started",
        "return_delivered",
        "damaged",
        "lost",
        "cancelled",
        "info",
    ]
    """What happened."""


@final
class Evidence(TypedDict):
    """What was observed, for how long, and how long it typically takes."""

    kind: str
    observed_hours: float | None
    expected_p50_hours: float | None
    expected_upper_hours: float | None


@final
class FieldError(TypedDict):
    """What is wrong with one field, and how to fix it."""

    loc: list[str | int]
    """The path to the field, starting with `body`."""
    msg: str
    """What is wrong and how to fix it."""
    type: str
    """A stable identifier of the error."""


@final
class FirstOrLastParcel(TypedDict):
    """The first or last arrival of an order. Dates are local at the destination.

    They are null beyond the horizon.
    """

    estimated_delivery_date: str | None
    """The median date."""
    estimated_delivery_date_min: str | None
    estimated_delivery_date_max: str | None
    delivery_date_confidence: float | None
    """P(arrival on or before the estimated date)."""
    desired_delivery_probability: float | None
    """P(arrival on or before `desired_delivery_date`); null without one."""


@final
class Flag(TypedDict):
    """Whether the customer should be warned, whatever the state."""

    raised: bool
    first_flagged_at: str | None
    """When it was raised for the first time; null if never, or if unknown."""
    cleared_at: str | None
    """When it was withdrawn; null if it is raised or never was."""


@final
class GroupCounts(TypedDict):
    """Numbers of groups."""

    carriers: int
    services: int
    lanes: int
    regions: int


@final
class HandoverProbability(TypedDict):
    """A hand-over time, and P(arrival on or before the desired day)."""

    handover_at: str
    probability: float


@final
class JourneyEvent(TypedDict):
    """A recorded event."""

    event_id: str
    event_code: str
    carrier_event_code: str | None
    occurred_at: str
    """With the offset that was sent, or that of the assumed zone."""
    occurred_local: str
    """Local time where it happened."""
    timezone_source: str
    time_ambiguous: bool
    received_at: str
    """When the service received it, or its correction."""
    place: str | None
    corrected: bool
    """Its event code is that of a correction."""


@final
class LaneCoverage(TypedDict):
    """A lane that the model has seen."""

    origin: CoveredPlace
    destination: CoveredPlace
    parcels: int
    """Parcels that arrived in the training data."""


@final
class Liveness(TypedDict):
    """The event loop is running."""

    status: NotRequired[Literal["alive"]]


@final
class Message(TypedDict):
    """What makes an answer less certain than it looks."""

    code: Literal[
        "carrier_not_seen",
        "service_not_seen",
        "choice_not_seen",
        "model_outdated",
        "model_simulated",
        "region_not_known",
        "postal_code_elsewhere",
    ]
    text: str
    path: str
    """The part of the request that it is about; empty for all of it."""


@final
class ModelEntry(TypedDict):
    """One version in the registry."""

    version: str
    data_through: str | None
    """The end of its training data."""
    age_days: float | None
    """Days since `data_through`."""
    examples: int | None
    is_active: bool
    is_promoted: bool
    rejected: str | None
    """Why it was rejected."""


@final
class ModelList(TypedDict):
    """All versions, the one with the latest training data first.

    All tenants share them.
    """

    object: NotRequired[Literal["list"]]
    is_shared: NotRequired[Literal[True]]
    """The registry is shared by all tenants: each is answered by the same version, which may have learned from what others recorded."""
    active: str | None
    promoted: str | None
    results: list[ModelEntry]


@final
class ParcelCorrelation(TypedDict):
    """How strongly the delays of two parcels of the order are correlated."""

    value: float | None
    """Mean correlation of normal scores; null for a single parcel."""
    sample_pairs: int | None
    """Pairs of past parcels it is estimated from; 0 if assumed."""


@final
class Problem(TypedDict):
    """An error response (RFC 9457)."""

    type: str
    """Always `about:blank`: see `title` and `status`."""
    title: str
    status: int
    detail: str
    instance: str
    """The path of the request."""
    errors: list[FieldError]
    """The invalid fields, if any."""


@final
class ProcessingTime(TypedDict):
    """How long an order takes until it can be picked up."""

    unit: Literal["business_days", "calendar_days"]
    """The shop's handling days, or all days."""
    value: NotRequired[int | None]
    """Days after the first handling day possible for the order."""
    probabilities: NotRequired[list[float] | None]
    """P(0 days), P(1 day), ...; in place of `value`."""


@final
class Promise(TypedDict):
    """The promised day; without one, the day that the promise policy proposes."""

    date: str
    is_proposed: bool
    """A proposal; nobody has promised this day yet."""
    policy: str | None
    """Version of the policy that proposes it; null for a given promise, a draft, and the default policy."""
    on_time_probability: float | None


@final
class PromiseCostsIn(TypedDict):
    """Costs of a promise, all in the same unit."""

    late: NotRequired[float]
    """Per late parcel."""
    late_day: NotRequired[float]
    """Per day of lateness."""
    day: NotRequired[float]
    """Per day by which the promise is later."""


@final
class PromisePolicyIn(TypedDict):
    """A promise policy."""

    on_time_rate: NotRequired[float | None]
    costs: NotRequired[PromiseCostsIn | None]
    earliest_days: NotRequired[int]
    latest_days: NotRequired[int | None]


@final
class QuarantinedEvent(TypedDict):
    """An implausible event, of a shipment or of a tracking number without a shipment."""

    event_id: str
    reason: str
    """`too_far_in_the_past`, `too_far_in_the_future` or `too_many_scans`."""
    received_at: str
    shipment_id: str | None
    carrier_code: str | None
    tracking_number: str | None
    event_code: str
    carrier_event_code: str | None
    occurred_at: str
    place: str | None


@final
class Readiness(TypedDict):
    """Whether the service can answer and record, and what is wrong."""

    status: Literal["ready", "degraded", "unavailable"]
    """`unavailable` (503) only while events cannot be stored."""
    model_version: str | None
    promoted: str | None
    data_through: str | None
    """The end of the training data of the active model."""
    model_age_days: float | None
    """Days since `data_through`; null without a model."""
    details: list[str]
    """Current problems."""


RecordingStatus: TypeAlias = Literal["stored", "duplicate", "quarantined"]
"""The result of recording an event."""


@final
class RegionCoverage(TypedDict):
    """A region of destination that the model has seen."""

    country: str
    state: str | None
    """Null if the data do not name it."""
    parcels: int
    """Parcels that arrived in the training data."""


@final
class Revision(TypedDict):
    """A forecast that differed from the one before it."""

    as_of: str
    cause: Literal["created", "event", "update", "model", "time"]
    confidence_code: str
    status: str
    estimated_delivery_date: str | None
    estimated_delivery_date_min: str | None
    estimated_delivery_date_max: str | None
    on_time_probability: float | None
    delay_state: str | None
    reason_code: str | None
    model_version: str | None


@final
class ServiceComparison(TypedDict):
    """Indices of `results`; null if no result has what is compared."""

    fastest: int | None
    """The earliest median date."""
    safest: int | None
    """The highest probability by the desired date, else the earliest end of the window."""
    cheapest: int | None
    """The lowest price."""
    dominated: list[Dominated]


@final
class ServiceCoverage(TypedDict):
    """A service that the model has seen."""

    carrier_code: str | None
    """Null if the data do not name it."""
    service_code: str
    parcels: int
    """Parcels that arrived in the training data."""


ShipByCode: TypeAlias = Literal["ok", "too_late", "too_little_support", "no_model"]
"""The outcome of a search for the latest hand-over."""


@final
class ShipByResult(TypedDict):
    """The latest hand-over to one carrier service."""

    carrier_code: str | None
    service_code: str | None
    code: ShipByCode
    ship_by: str | None
    """In the origin's local time; `code` says why if null."""
    probability: float | None
    probabilities: list[HandoverProbability]
    """For every day considered, earliest first."""


@final
class ShipmentReference(TypedDict):
    """A tracked shipment."""

    object: NotRequired[Literal["shipment"]]
    id: str
    created: bool
    """False if it was registered before."""
    messages: list[Message]


@final
class ShipmentVersion(TypedDict):
    """Carrier and tracking number of the shipment since `recorded_at`."""

    recorded_at: str
    carrier_code: str | None
    service_code: str | None
    tracking_number: str | None


ShippingDeliveryTime = TypedDict(
    "ShippingDeliveryTime",
    {
        "@context": Literal["https://schema.org"],
        "@type": Literal["ShippingDeliveryTime"],
        "handlingTime": NotRequired[DayRange | None],
        "transitTime": DayRange,
        "cutoffTime": NotRequired[str | None],
    },
)


Status: TypeAlias = Literal[
    "unknown",
    "pre_transit",
    "in_transit",
    "out_for_delivery",
    "delivery_attempted",
    "available_for_pickup",
    "delivered",
    "on_hold",
    "return_to_sender",
    "lost",
    "cancelled",
    "expired",
]
"""Where a shipment is."""


@final
class TimeInTransit(TypedDict):
    """Days from the local date of `as_of`.

    `percentile_K` is the fewest whole days d with P(arrived within d days) of at least K %; null
    beyond the horizon.
    """

    unit: NotRequired[Literal["calendar_days"]]
    percentile_50: int | None
    percentile_75: int | None
    percentile_85: int | None
    percentile_90: int | None
    percentile_95: int | None
    percentile_97: int | None
    percentile_99: int | None


@final
class Weight(TypedDict):
    """A weight and its unit, which is never inferred."""

    value: float
    unit: Literal["g", "kg", "lb", "oz"]


@final
class Delay(TypedDict):
    """Where the shipment stands against its promise; `state` is null if it is not forecast."""

    state: (
        Literal["on_track", "at_risk", "predicted_late", "stalled", "overdue", "delivered_late"]
        | None
    )
    probability: float | None
    """P(late); null without a promise."""
    baseline: Literal["promise"] | None
    """What late is measured against."""
    lead_time_hours: float | None
    """Hours until the promised day ends."""
    reason_code: str | None
    reason_party: str | None
    evidence: list[Evidence]
    flag: Flag


@final
class EstimatedPickup(TypedDict):
    """When orders are handed over: in the origin's local time, on weekdays except holidays."""

    order_cutoff_time: str
    """Orders placed before it are processed the same day. Also the pick-up time."""
    order_cutoff_times: NotRequired[dict[Literal["1", "2", "3", "4", "5", "6", "7"], str] | None]
    """Other cut-offs by weekday, 1 (Monday) to 7."""
    business_days: NotRequired[list[BusinessDay]]
    """Handling and pick-up days."""
    order_processing_time: NotRequired[ProcessingTime | None]


@final
class EventBatch(TypedDict):
    """Tracking events, in any order; repeated events are recorded once."""

    events: list[EventCreate]


@final
class EventProblem(TypedDict):
    """In place of a result: the event could not be recorded."""

    problem: Problem


@final
class EventResult(TypedDict):
    """The outcome of recording one event."""

    status: RecordingStatus
    event_id: str
    shipment_id: str | None
    """Null until a shipment is registered with the tracking number; the event then counts for that shipment."""
    reason: str | None
    """Why it was quarantined."""


@final
class ItemProblem(TypedDict):
    """In place of a result: why the shipment was rejected."""

    shipment_id: str | None
    problem: Problem


@final
class ModelCoverage(TypedDict):
    """What the active version has learned from; each list has the largest groups first."""

    object: NotRequired[Literal["coverage"]]
    model_version: str | None
    data_through: str | None
    min_parcels: int
    """Smaller groups are left out."""
    parcels: int
    """All parcels; 0 if they are fewer."""
    carriers: list[CarrierCoverage]
    services: list[ServiceCoverage]
    lanes: list[LaneCoverage]
    regions: list[RegionCoverage]
    totals: GroupCounts
    """Groups, also those beyond `limit`."""
    left_out: GroupCounts
    """Groups that are too small to be named."""
    messages: list[Message]


@final
class OrderParcelIn(TypedDict):
    """A parcel of an order, or several identical ones."""

    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    delivery_days: NotRequired[list[DeliveryDay] | None]
    """Days on which it delivers, except holidays; default: learned from history."""
    pickup_days: NotRequired[list[PickupDay] | None]
    """Days on which it picks up; default: `business_days` of `estimated_pickup`."""
    origin_address: Address
    weight: NotRequired[Weight | None]
    """Of one parcel."""
    dimensions: NotRequired[Dimensions | None]
    """Of one parcel."""
    package_count: NotRequired[int]
    """Number of such parcels; each is shipped alone."""
    estimated_pickup: NotRequired[EstimatedPickup | None]
    """When parcels are handed over; default: learned from history."""


@final
class Prediction(TypedDict):
    """One prediction. Dates are local calendar days at the destination."""

    carrier_code: str | None
    service_code: str | None
    status: str
    phase: str
    estimated_delivery_date: str | None
    """The median date."""
    estimated_delivery_date_min: str | None
    estimated_delivery_date_max: str | None
    first_attempt_date: str | None
    """The day of the first delivery attempt, which decides whether it is late."""
    timezone: str
    timezone_source: str
    time_in_transit: TimeInTransit
    confidence_level: float
    """P(min <= arrival <= max) is at least this."""
    delivery_date_confidence: float | None
    """P(arrival on or before the estimated date)."""
    confidence_code: AssessmentCode
    promise: Promise | None
    delay: Delay
    basis: Basis
    model_version: str | None
    degraded: bool


@final
class QuarantineList(TypedDict):
    """A page of quarantined events."""

    object: NotRequired[Literal["list"]]
    results: list[QuarantinedEvent]
    next_cursor: str | None


@final
class ServiceDeliveryTime(TypedDict):
    """The delivery time of one carrier service."""

    carrier_code: str | None
    service_code: str | None
    shipping_delivery_time: ShippingDeliveryTime


@final
class ServiceEstimate(TypedDict):
    """The estimate for one carrier service."""

    carrier_code: str | None
    service_code: str | None
    status: str
    phase: str
    estimated_delivery_date: str | None
    """The median date."""
    estimated_delivery_date_min: str | None
    estimated_delivery_date_max: str | None
    first_attempt_date: str | None
    """The day of the first delivery attempt, which decides whether it is late."""
    timezone: str
    timezone_source: str
    time_in_transit: TimeInTransit
    confidence_level: float
    """P(min <= arrival <= max) is at least this."""
    delivery_date_confidence: float | None
    """P(arrival on or before the estimated date)."""
    confidence_code: AssessmentCode
    promise: Promise | None
    delay: Delay
    basis: Basis
    model_version: str | None
    degraded: bool
    ship_on_date: str | None
    """The most likely local day of the hand-over at the origin; only with `estimated_pickup`."""
    cutoff: Cutoff | None
    """Only with `estimated_pickup`."""
    desired_delivery_probability: float | None
    """P(arrival on or before `desired_delivery_date`); null without one, and if the model abstains."""


@final
class ShipByRequest(TypedDict):
    """One lane, the carrier services to compare, and the desired delivery date."""

    origin_address: Address
    destination_address: Address
    weight: NotRequired[Weight | None]
    dimensions: NotRequired[Dimensions | None]
    order_value: NotRequired[float | None]
    """In the currency the model learned from."""
    package_count: NotRequired[int]
    order_promised_delivery_date: NotRequired[str | None]
    """The local day by whose end delivery was promised."""
    carriers: NotRequired[list[CarrierServiceIn]]
    order_time: NotRequired[str | None]
    """When the order is placed; default: now."""
    desired_delivery_date: str
    """The desired local day of delivery at the destination."""
    probability: NotRequired[float]
    """The required P(arrival on or before that day)."""
    handover_time: NotRequired[str]
    """When parcels are handed over, in the origin's local time."""


@final
class ShipByResponse(TypedDict):
    """One result per carrier service, in order."""

    object: NotRequired[Literal["ship_by"]]
    as_of: str
    model_version: str | None
    degraded: bool
    results: list[ShipByResult]
    messages: list[Message]


@final
class Shipment(TypedDict):
    """A recorded shipment: its forecast, its events and its history."""

    object: NotRequired[Literal["shipment"]]
    id: str
    external_id: str | None
    carrier_code: str | None
    service_code: str | None
    tracking_number: str | None
    created_at: str
    changed_at: str
    as_of: str
    last_scan_age_hours: float | None
    expected_next_scan_by: str | None
    """When nearly all parcels in its stage have had their next event."""
    forecast: Prediction
    messages: list[Message]
    journey: list[JourneyEvent]
    """In order of `occurred_at`."""
    revisions: list[Revision]
    flags: list[DelayFlag]
    versions: list[ShipmentVersion]


@final
class ShipmentCreate(TypedDict):
    """A shipment to track."""

    origin_address: Address
    destination_address: Address
    weight: NotRequired[Weight | None]
    dimensions: NotRequired[Dimensions | None]
    order_value: NotRequired[float | None]
    """In the currency the model learned from."""
    package_count: NotRequired[int]
    order_promised_delivery_date: NotRequired[str | None]
    """The local day by whose end delivery was promised."""
    external_id: NotRequired[str | None]
    """The shop's own number; it identifies the shipment."""
    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    tracking_number: NotRequired[str | None]
    """The carrier's number; needs `carrier_code`."""
    order_time: str
    """RFC 3339 with an offset, 1970 to 2100."""
    estimate_id: NotRequired[str | None]
    """The saved estimate that the customer saw. Its date for this carrier and service becomes the promise if none is sent."""


@final
class ShipmentInput(TypedDict):
    """An order and its scans."""

    origin_address: Address
    destination_address: Address
    weight: NotRequired[Weight | None]
    dimensions: NotRequired[Dimensions | None]
    order_value: NotRequired[float | None]
    """In the currency the model learned from."""
    package_count: NotRequired[int]
    order_promised_delivery_date: NotRequired[str | None]
    """The local day by whose end delivery was promised."""
    shipment_id: NotRequired[str | None]
    """Your own id; returned unchanged."""
    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    order_time: str
    """RFC 3339 with an offset, 1970 to 2100."""
    events: NotRequired[list[EventInput]]


@final
class ShipmentList(TypedDict):
    """A page of shipments, ordered by id."""

    object: NotRequired[Literal["list"]]
    as_of: str
    model_version: str | None
    degraded: bool
    results: list[Shipment]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last."""


@final
class ShipmentScore(TypedDict):
    """The prediction of one shipment, under its own id."""

    carrier_code: str | None
    service_code: str | None
    status: str
    phase: str
    estimated_delivery_date: str | None
    """The median date."""
    estimated_delivery_date_min: str | None
    estimated_delivery_date_max: str | None
    first_attempt_date: str | None
    """The day of the first delivery attempt, which decides whether it is late."""
    timezone: str
    timezone_source: str
    time_in_transit: TimeInTransit
    confidence_level: float
    """P(min <= arrival <= max) is at least this."""
    delivery_date_confidence: float | None
    """P(arrival on or before the estimated date)."""
    confidence_code: AssessmentCode
    promise: Promise | None
    delay: Delay
    basis: Basis
    model_version: str | None
    degraded: bool
    shipment_id: str | None


@final
class ShipmentUpdate(TypedDict):
    """The fields to change; null deletes a value, and omitted fields stay as they are."""

    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    tracking_number: NotRequired[str | None]
    weight: NotRequired[Weight | None]
    dimensions: NotRequired[Dimensions | None]
    order_promised_delivery_date: NotRequired[str | None]


@final
class ShippingDeliveryTimes(TypedDict):
    """One entry per service that has dates, in order."""

    object: NotRequired[Literal["shipping_delivery_times"]]
    id: str
    results: list[ServiceDeliveryTime]


@final
class EstimateRequest(TypedDict):
    """One lane and the carrier services to compare."""

    origin_address: Address
    destination_address: Address
    weight: NotRequired[Weight | None]
    dimensions: NotRequired[Dimensions | None]
    order_value: NotRequired[float | None]
    """In the currency the model learned from."""
    package_count: NotRequired[int]
    order_promised_delivery_date: NotRequired[str | None]
    """The local day by whose end delivery was promised."""
    carriers: NotRequired[list[CarrierServiceIn]]
    order_time: NotRequired[str | None]
    """When the order is placed; default: now."""
    estimated_pickup: NotRequired[EstimatedPickup | None]
    """When parcels are handed over; default: learned from history."""
    confidence_level: NotRequired[float]
    """P(arrival within the window)."""
    desired_delivery_date: NotRequired[str | None]
    """The local day by which the customer wants the parcel."""
    save: NotRequired[bool]
    """Save the estimate, because a customer sees it; it gets an `id`."""
    promise_policy: NotRequired[PromisePolicyIn | None]
    """A draft to try in place of the active policy; cannot be saved."""
    now_override: NotRequired[str | None]
    """The time to assume for a trial; cannot be saved."""


@final
class EstimateResponse(TypedDict):
    """One result per carrier service, in order."""

    object: NotRequired[Literal["estimate"]]
    as_of: str
    model_version: str | None
    degraded: bool
    results: list[ServiceEstimate]
    comparison: ServiceComparison
    messages: list[Message]
    id: NotRequired[str | None]
    """Send it as `estimate_id` with the shipment; only with `save`."""


@final
class EventBatchResponse(TypedDict):
    """One entry per event, in order; `stored` and `duplicate` events are durable."""

    object: NotRequired[Literal["event_batch"]]
    results: list[EventResult | EventProblem]


@final
class OrderEstimateRequest(TypedDict):
    """One order that ships to one address as several parcels."""

    destination_address: Address
    parcels: list[OrderParcelIn]
    order_time: NotRequired[str | None]
    """When the order is placed; default: now."""
    confidence_level: NotRequired[float]
    """P(arrival within the window)."""
    desired_delivery_date: NotRequired[str | None]
    """The local day by which the customer wants the parcel."""


@final
class OrderEstimateResponse(TypedDict):
    """When the first and last parcel arrive, and one result per entry of `parcels`, in order."""

    object: NotRequired[Literal["order_estimate"]]
    as_of: str
    model_version: str | None
    degraded: bool
    code: AssessmentCode
    """Why `first` and `last` are null; `may_never_arrive` if `last` has no median date."""
    confidence_level: float
    """P(min <= arrival <= max) is at least this."""
    first: FirstOrLastParcel | None
    last: FirstOrLastParcel | None
    """The arrival that completes the order."""
    correlation: ParcelCorrelation
    parcels: list[ServiceEstimate]
    messages: list[Message]


@final
class ScoreList(TypedDict):
    """One entry a shipment, in order."""

    object: NotRequired[Literal["list"]]
    as_of: str
    model_version: str | None
    degraded: bool
    messages: list[Message]
    results: list[ShipmentScore | ItemProblem]


@final
class ScoreRequest(TypedDict):
    """Shipments with all their scans; nothing is stored."""

    as_of: NotRequired[str | None]
    """Use only what was received by then; default: now."""
    confidence_level: NotRequired[float]
    """P(the arrival is within the window)."""
    shipments: list[ShipmentInput]
