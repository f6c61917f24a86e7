"""What is sent and answered, as JSON. Written by `make client`: change the contract instead."""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict, final


@final
class Address(TypedDict):
    """One end of a route: no names and no streets."""

    country: str
    """ISO 3166-1 alpha-2."""
    state: NotRequired[str | None]
    """The country's own short form, such as `CA`."""
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
    "expired",
    "arrived",
    "no_arrival_expected",
    "not_known_yet",
]
"""Why an answer is as it is."""


@final
class Basis(TypedDict):
    """What stands behind the answer."""

    level: str
    """The rung of support, `observed` for an arrival, `none` where nothing is answered."""
    n_effective: int
    """Parcels that arrived, learned from on that rung."""
    data_through: str | None
    abstained: bool


DeliveryDay: TypeAlias = int


PickupDay: TypeAlias = int


@final
class CarrierServiceIn(TypedDict):
    """One of the services to compare; leave out what the shop does not choose."""

    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    delivery_days: NotRequired[list[DeliveryDay] | None]
    """On which it delivers, but for holidays; default: as it was learned."""
    pickup_days: NotRequired[list[PickupDay] | None]
    """On which it picks up; default: `business_days` of `estimated_pickup`."""
    price: NotRequired[float | None]
    """In one currency for all; only compared."""


@final
class Cutoff(TypedDict):
    """Until when an order is told the same dates."""

    order_by: str
    """By the clocks of the origin."""
    minutes_left: int
    """Whole minutes from the order until then."""


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
    """A delay flag; the one without an end stands."""

    state: str
    reason_code: str | None
    probability: float | None
    raised_at: str
    ended_at: str | None


@final
class DeletedCount(TypedDict):
    """How many shipments are gone, with all that was told and said of them."""

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
    """A service that another one beats: that one is no later, no less safe and no dearer, and better in one of these."""

    index: int
    by: int


BusinessDay: TypeAlias = int


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
"""What a scan says happened. The order of declaration breaks ties between scans of the same instant."""


@final
class EventCreate(TypedDict):
    """One scan: of a shipment by its `shipment_id` or `external_id`, or of a carrier's number."""

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
    """The carrier's own code."""
    occurred_at: NotRequired[str | None]
    """When it happened, with an offset; else send `occurred_local`."""
    occurred_local: NotRequired[str | None]
    timezone: NotRequired[str | None]
    """The zone of `occurred_local`; else that of `country` and `state`, else that of the route's end."""
    country: NotRequired[str | None]
    """Where it happened."""
    state: NotRequired[str | None]
    place: NotRequired[str | None]
    """Where, without a street."""


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
    """When it became known; default: when it happened."""
    carrier_event_code: NotRequired[str | None]
    """The carrier's own code."""
    place: NotRequired[str | None]
    """Where, without a street."""


@final
class Evidence(TypedDict):
    """What was seen, for how long, and how long it usually takes."""

    kind: str
    observed_hours: float | None
    expected_p50_hours: float | None
    expected_upper_hours: float | None


@final
class FieldError(TypedDict):
    """What is wrong with one field, and how to mend it."""

    loc: list[str | int]
    """The path to the field, from `body` down."""
    msg: str
    """What is wrong, and the mend."""
    type: str
    """A stable word for machines."""


@final
class FirstOrLastParcel(TypedDict):
    """The first or the last parcel of an order. Dates are local calendar days at the destination, null beyond the horizon."""

    estimated_delivery_date: str | None
    """The median date."""
    estimated_delivery_date_min: str | None
    estimated_delivery_date_max: str | None
    delivery_date_confidence: float | None
    """P(arrival on or before the estimated date)."""
    desired_delivery_probability: float | None
    """P(arrival on or before `desired_delivery_date`); null without one."""


@final
class HandoverProbability(TypedDict):
    """A hand-over, and P(arrival on or before the desired day)."""

    handover_at: str
    probability: float


@final
class JourneyEvent(TypedDict):
    """A scan as it was told."""

    event_id: str
    event_code: str
    carrier_event_code: str | None
    occurred_at: str
    """With the offset that was sent, or that of the zone it was read in."""
    occurred_local: str
    """The clock on the wall where it happened."""
    timezone_source: str
    time_ambiguous: bool
    received_at: str
    """When we knew of it."""
    place: str | None


@final
class Liveness(TypedDict):
    """The event loop turns."""

    status: NotRequired[Literal["alive"]]


@final
class Message(TypedDict):
    """What should be known beside the results."""

    code: Literal["choice_not_seen"]
    text: str
    path: str
    """Which part of the request it is about."""


@final
class ModelEntry(TypedDict):
    """One version of the registry."""

    version: str
    data_through: str | None
    """The moment up to which it has learned."""
    examples: int | None
    is_active: bool
    is_promoted: bool
    rejected: str | None
    """Why it cannot serve."""


@final
class ModelList(TypedDict):
    """All versions, the one that learned furthest first."""

    object: NotRequired[Literal["list"]]
    active: str | None
    promoted: str | None
    results: list[ModelEntry]


@final
class ParcelCorrelation(TypedDict):
    """How likely what holds up one parcel is to hold up another."""

    value: float | None
    """Of the normal scores of two parcels, on average; null for a single one."""
    sample_pairs: int | None
    """Pairs of past parcels behind it; 0 where it is assumed."""


@final
class Problem(TypedDict):
    """A refusal (RFC 9457)."""

    type: str
    """`about:blank`: the title says it all."""
    title: str
    status: int
    detail: str
    instance: str
    """The path that was asked for."""
    errors: list[FieldError]
    """One entry a field, where fields are to blame."""


@final
class ProcessingTime(TypedDict):
    """How long an order is handled before it can be picked up."""

    unit: Literal["business_days"]
    value: NotRequired[int | None]
    """Pick-up days after the one for which the order counts."""
    probabilities: NotRequired[list[float] | None]
    """P(0 days), P(1 day), ... in the place of one value."""


@final
class Promise(TypedDict):
    """The day promised; where none was, the one that the promise policy chooses."""

    date: str
    is_proposed: bool
    """We propose it; nobody has promised it yet."""
    policy: str | None
    """Version of the policy that chose it; null for a promise that was given, a draft, and the default."""
    on_time_probability: float | None


@final
class PromiseCostsIn(TypedDict):
    """What it costs, in any one unit."""

    late: NotRequired[float]
    """Of each parcel that comes late."""
    late_day: NotRequired[float]
    """Of each day it is late."""
    day: NotRequired[float]
    """Of each day later promised."""


@final
class PromisePolicyIn(TypedDict):
    """A promise policy to try."""

    on_time_rate: NotRequired[float | None]
    costs: NotRequired[PromiseCostsIn | None]
    earliest_days: NotRequired[int]
    latest_days: NotRequired[int | None]


@final
class QuarantinedEvent(TypedDict):
    """A scan that cannot be right, of a shipment or of a carrier's number."""

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
    """What the service can do now."""

    status: Literal["ready", "degraded", "unavailable"]
    """`unavailable`, a 503, only while scans cannot be stored."""
    model_version: str | None
    promoted: str | None
    details: list[str]
    """What is not as it should be."""


RecordingStatus: TypeAlias = Literal["stored", "duplicate", "quarantined"]
"""What became of a scan that was told."""


@final
class Revision(TypedDict):
    """An answer as it was given, where it differed from the one before."""

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
    """Places in `results`, null where no answer has what is compared."""

    fastest: int | None
    """The earliest median date."""
    safest: int | None
    """The highest chance by the desired date, else the earliest end of the window."""
    cheapest: int | None
    """The lowest price."""
    dominated: list[Dominated]


ShipByCode: TypeAlias = Literal["ok", "too_late", "too_little_support", "no_model"]
"""Why an answer is as it is."""


@final
class ShipByResult(TypedDict):
    """The latest hand-over to one carrier service."""

    carrier_code: str | None
    service_code: str | None
    code: ShipByCode
    ship_by: str | None
    """By the clocks of the origin; null with a `code` that says why."""
    probability: float | None
    probabilities: list[HandoverProbability]
    """Of every day that was looked at, earliest first."""


@final
class ShipmentReference(TypedDict):
    """A shipment that is followed."""

    object: NotRequired[Literal["shipment"]]
    id: str
    created: bool
    """It was not there before."""


@final
class ShipmentVersion(TypedDict):
    """Under which number the shipment was followed, and since when."""

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
    """Fewest whole days d from the local date of `as_of` with P(arrived by then) of at least K %; null beyond the horizon."""

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
    """A weight and its unit, which is never guessed."""

    value: float
    unit: Literal["g", "kg", "lb", "oz"]


@final
class Delay(TypedDict):
    """The delay flag; `state` is null where no arrival is waited for."""

    state: (
        Literal[
            "on_track",
            "at_risk",
            "predicted_late",
            "stalled",
            "overdue",
            "cleared",
            "delivered_late",
        ]
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


@final
class EstimatedPickup(TypedDict):
    """When an order is handed over: by the clocks of the origin, on working days that are no holidays there."""

    order_cutoff_time: str
    """An order placed before it counts for the same pick-up day. Parcels are picked up then."""
    business_days: NotRequired[list[BusinessDay]]
    """Pick-up days."""
    order_processing_time: NotRequired[ProcessingTime | None]


@final
class EventBatch(TypedDict):
    """Scans, in any order, told once or several times."""

    events: list[EventCreate]


@final
class EventProblem(TypedDict):
    """In the place of a result: the scan could not be recorded."""

    problem: Problem


@final
class EventResult(TypedDict):
    """What became of a scan."""

    status: RecordingStatus
    event_id: str
    shipment_id: str | None
    """Null as long as no shipment bears the number; then it counts for the one that will."""
    reason: str | None
    """Why it was put aside."""


@final
class ItemProblem(TypedDict):
    """In the place of a result: the shipment could not be used."""

    shipment_id: str | None
    problem: Problem


@final
class OrderParcelIn(TypedDict):
    """A parcel of an order, or several that are alike."""

    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    delivery_days: NotRequired[list[DeliveryDay] | None]
    """On which it delivers, but for holidays; default: as it was learned."""
    pickup_days: NotRequired[list[PickupDay] | None]
    """On which it picks up; default: `business_days` of `estimated_pickup`."""
    origin_address: Address
    weight: NotRequired[Weight | None]
    """Of one parcel."""
    dimensions: NotRequired[Dimensions | None]
    """Of one parcel."""
    package_count: NotRequired[int]
    """So many such parcels, each of which travels alone."""
    estimated_pickup: NotRequired[EstimatedPickup | None]
    """When parcels are handed over; default: as it was learned."""


@final
class Prediction(TypedDict):
    """One answer. Dates are local calendar days at the destination."""

    carrier_code: str | None
    service_code: str | None
    status: str
    phase: str
    estimated_delivery_date: str | None
    """The median date."""
    estimated_delivery_date_min: str | None
    estimated_delivery_date_max: str | None
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
    """A page of scans that were put aside."""

    object: NotRequired[Literal["list"]]
    results: list[QuarantinedEvent]
    next_cursor: str | None


@final
class ServiceDeliveryTime(TypedDict):
    """What a page says of one carrier service."""

    carrier_code: str | None
    service_code: str | None
    shipping_delivery_time: ShippingDeliveryTime


@final
class ServiceEstimate(TypedDict):
    """One answer about a carrier service."""

    carrier_code: str | None
    service_code: str | None
    status: str
    phase: str
    estimated_delivery_date: str | None
    """The median date."""
    estimated_delivery_date_min: str | None
    estimated_delivery_date_max: str | None
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
    """The local day at the origin on which it is most likely handed over; only with `estimated_pickup`."""
    cutoff: Cutoff | None
    """Only with `estimated_pickup`."""
    desired_delivery_probability: float | None
    """P(arrival on or before `desired_delivery_date`); null without one, and where the answer abstains."""


@final
class ShipByRequest(TypedDict):
    """One lane, several carrier services, and the day by which it is wanted."""

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
    """The local day at the destination by which it is wanted."""
    probability: NotRequired[float]
    """P(arrival on or before that day) that the hand-over must have."""
    handover_time: NotRequired[str]
    """When the carrier takes parcels, by the clocks of the origin."""


@final
class ShipByResponse(TypedDict):
    """One result a carrier service, in order."""

    object: NotRequired[Literal["ship_by"]]
    as_of: str
    model_version: str | None
    degraded: bool
    results: list[ShipByResult]


@final
class Shipment(TypedDict):
    """All there is to say of a recorded shipment."""

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
    """When nearly all parcels of its stage have been scanned again."""
    forecast: Prediction
    journey: list[JourneyEvent]
    """In the order in which it happened."""
    revisions: list[Revision]
    flags: list[DelayFlag]
    versions: list[ShipmentVersion]


@final
class ShipmentCreate(TypedDict):
    """A shipment that is to be followed."""

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
    """The shop's own number; the same again is the same shipment."""
    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    tracking_number: NotRequired[str | None]
    """The carrier's number; needs `carrier_code`."""
    order_time: str
    """RFC 3339 with an offset, 1970 to 2100."""
    estimate_id: NotRequired[str | None]
    """The estimate that was shown; its date for this carrier and service becomes the promise, where none is given."""


@final
class ShipmentInput(TypedDict):
    """An order and what the carrier has said of it."""

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
    """Yours; given back as it came."""
    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    order_time: str
    """RFC 3339 with an offset, 1970 to 2100."""
    events: NotRequired[list[EventInput]]


@final
class ShipmentList(TypedDict):
    """A page of shipments, in the order of their ids."""

    object: NotRequired[Literal["list"]]
    as_of: str
    model_version: str | None
    degraded: bool
    results: list[Shipment]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null after the last."""


@final
class ShipmentScore(TypedDict):
    """One answer about a shipment, under its own number."""

    carrier_code: str | None
    service_code: str | None
    status: str
    phase: str
    estimated_delivery_date: str | None
    """The median date."""
    estimated_delivery_date_min: str | None
    estimated_delivery_date_max: str | None
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
    """What is to be said of a shipment from now on; null for what is not known any more, and nothing for what stays."""

    carrier_code: NotRequired[str | None]
    service_code: NotRequired[str | None]
    tracking_number: NotRequired[str | None]
    weight: NotRequired[Weight | None]
    dimensions: NotRequired[Dimensions | None]
    order_promised_delivery_date: NotRequired[str | None]


@final
class ShippingDeliveryTimes(TypedDict):
    """One entry a service that has dates, in order."""

    object: NotRequired[Literal["shipping_delivery_times"]]
    id: str
    results: list[ServiceDeliveryTime]


@final
class EstimateRequest(TypedDict):
    """One lane, several carrier services."""

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
    """When parcels are handed over; default: as it was learned."""
    confidence_level: NotRequired[float]
    """P(the arrival is within the window)."""
    desired_delivery_date: NotRequired[str | None]
    """The local day by which the customer wants it."""
    save: NotRequired[bool]
    """The dates are shown to a customer: keep them, and name them by an `id`."""
    promise_policy: NotRequired[PromisePolicyIn | None]
    """A promise policy to try in the place of the one in force; nothing is kept."""
    now_override: NotRequired[str | None]
    """Answer as if it were this time; nothing is kept."""


@final
class EstimateResponse(TypedDict):
    """One result a carrier service, in order."""

    object: NotRequired[Literal["estimate"]]
    as_of: str
    model_version: str | None
    degraded: bool
    results: list[ServiceEstimate]
    comparison: ServiceComparison
    messages: list[Message]
    id: NotRequired[str | None]
    """Names the estimate when the shipment is registered; only with `is_shown`."""


@final
class EventBatchResponse(TypedDict):
    """One entry a scan, in order; what is `stored` or `duplicate` is on the disk."""

    object: NotRequired[Literal["event_batch"]]
    results: list[EventResult | EventProblem]


@final
class OrderEstimateRequest(TypedDict):
    """One order that travels as several parcels to one place."""

    destination_address: Address
    parcels: list[OrderParcelIn]
    order_time: NotRequired[str | None]
    """When the order is placed; default: now."""
    confidence_level: NotRequired[float]
    """P(the arrival is within the window)."""
    desired_delivery_date: NotRequired[str | None]
    """The local day by which the customer wants it."""


@final
class OrderEstimateResponse(TypedDict):
    """When the first and the last parcel of an order arrive, and one result a piece, in order."""

    object: NotRequired[Literal["order_estimate"]]
    as_of: str
    model_version: str | None
    degraded: bool
    code: AssessmentCode
    """Why there is no `first` and no `last`, or `may_never_arrive` where the last has no median date."""
    confidence_level: float
    """P(min <= arrival <= max) is at least this."""
    first: FirstOrLastParcel | None
    last: FirstOrLastParcel | None
    """Then the order is complete."""
    correlation: ParcelCorrelation
    parcels: list[ServiceEstimate]


@final
class ScoreList(TypedDict):
    """One entry a shipment, in order."""

    object: NotRequired[Literal["list"]]
    as_of: str
    model_version: str | None
    degraded: bool
    results: list[ShipmentScore | ItemProblem]


@final
class ScoreRequest(TypedDict):
    """Shipments told whole; nothing of them is kept."""

    as_of: NotRequired[str | None]
    """Answer with what was known then; default: now."""
    confidence_level: NotRequired[float]
    """P(the arrival is within the window)."""
    shipments: list[ShipmentInput]
