"""The vocabulary of a parcel's journey: event codes, statuses, phases and reasons of delays.

Every table here is literal. An unknown carrier code becomes ``EventCode.INFO``, which changes no
status.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Status(StrEnum):
    """Where a shipment is."""

    UNKNOWN = "unknown"
    PRE_TRANSIT = "pre_transit"
    IN_TRANSIT = "in_transit"
    OUT_FOR_DELIVERY = "out_for_delivery"
    DELIVERY_ATTEMPTED = "delivery_attempted"
    AVAILABLE_FOR_PICKUP = "available_for_pickup"
    DELIVERED = "delivered"
    ON_HOLD = "on_hold"
    RETURN_TO_SENDER = "return_to_sender"
    LOST = "lost"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Phase(StrEnum):
    """The stage of the journey."""

    ORDER_HANDLING = "order_handling"
    FIRST_MILE = "first_mile"
    LINEHAUL = "linehaul"
    EXPORT_CUSTOMS = "export_customs"
    INTERNATIONAL = "international"
    IMPORT_CUSTOMS = "import_customs"
    LAST_MILE = "last_mile"
    POST_DELIVERY = "post_delivery"


class EventCode(StrEnum):
    """What a scan says happened.

    The order of declaration breaks ties between scans of the same instant.
    """

    ORDER_CREATED = "order_created"
    ORDER_APPROVED = "order_approved"
    ORDER_PACKED = "order_packed"
    LABEL_CREATED = "label_created"
    MANIFEST_RECEIVED = "manifest_received"
    PICKED_UP = "picked_up"
    DROPPED_OFF = "dropped_off"
    ACCEPTED = "accepted"
    ARRIVED_AT_FACILITY = "arrived_at_facility"
    DEPARTED_FACILITY = "departed_facility"
    SORTED = "sorted"
    LINEHAUL_DEPARTED = "linehaul_departed"
    LINEHAUL_ARRIVED = "linehaul_arrived"
    EXPORT_CUSTOMS_STARTED = "export_customs_started"
    EXPORT_CUSTOMS_CLEARED = "export_customs_cleared"
    DEPARTED_ORIGIN_COUNTRY = "departed_origin_country"
    ARRIVED_DESTINATION_COUNTRY = "arrived_destination_country"
    IMPORT_CUSTOMS_STARTED = "import_customs_started"
    IMPORT_CUSTOMS_HELD = "import_customs_held"
    IMPORT_CUSTOMS_CLEARED = "import_customs_cleared"
    HANDED_TO_PARTNER = "handed_to_partner"
    PARTNER_RECEIVED = "partner_received"
    ARRIVED_AT_DELIVERY_DEPOT = "arrived_at_delivery_depot"
    DELIVERY_SCHEDULED = "delivery_scheduled"
    DELIVERY_RESCHEDULED = "delivery_rescheduled"
    OUT_FOR_DELIVERY = "out_for_delivery"
    DELIVERY_ATTEMPTED = "delivery_attempted"
    AVAILABLE_FOR_PICKUP = "available_for_pickup"
    PICKED_UP_BY_RECIPIENT = "picked_up_by_recipient"
    DELIVERED = "delivered"
    REDIRECTED = "redirected"
    HELD = "held"
    RETURN_STARTED = "return_started"
    RETURN_DELIVERED = "return_delivered"
    DAMAGED = "damaged"
    LOST = "lost"
    CANCELLED = "cancelled"
    INFO = "info"


_E, _S, _P = EventCode, Status, Phase

#: The status that a scan sets; a code that is not listed leaves the status as it is.
STATUS_OF: Mapping[EventCode, Status] = MappingProxyType(
    {
        _E.ORDER_CREATED: _S.PRE_TRANSIT,
        _E.ORDER_APPROVED: _S.PRE_TRANSIT,
        _E.ORDER_PACKED: _S.PRE_TRANSIT,
        _E.LABEL_CREATED: _S.PRE_TRANSIT,
        _E.MANIFEST_RECEIVED: _S.PRE_TRANSIT,
        _E.PICKED_UP: _S.IN_TRANSIT,
        _E.DROPPED_OFF: _S.IN_TRANSIT,
        _E.ACCEPTED: _S.IN_TRANSIT,
        _E.ARRIVED_AT_FACILITY: _S.IN_TRANSIT,
        _E.DEPARTED_FACILITY: _S.IN_TRANSIT,
        _E.SORTED: _S.IN_TRANSIT,
        _E.LINEHAUL_DEPARTED: _S.IN_TRANSIT,
        _E.LINEHAUL_ARRIVED: _S.IN_TRANSIT,
        _E.EXPORT_CUSTOMS_STARTED: _S.IN_TRANSIT,
        _E.EXPORT_CUSTOMS_CLEARED: _S.IN_TRANSIT,
        _E.DEPARTED_ORIGIN_COUNTRY: _S.IN_TRANSIT,
        _E.ARRIVED_DESTINATION_COUNTRY: _S.IN_TRANSIT,
        _E.IMPORT_CUSTOMS_STARTED: _S.IN_TRANSIT,
        _E.IMPORT_CUSTOMS_HELD: _S.ON_HOLD,
        _E.IMPORT_CUSTOMS_CLEARED: _S.IN_TRANSIT,
        _E.HANDED_TO_PARTNER: _S.IN_TRANSIT,
        _E.PARTNER_RECEIVED: _S.IN_TRANSIT,
        _E.ARRIVED_AT_DELIVERY_DEPOT: _S.IN_TRANSIT,
        _E.OUT_FOR_DELIVERY: _S.OUT_FOR_DELIVERY,
        _E.DELIVERY_ATTEMPTED: _S.DELIVERY_ATTEMPTED,
        _E.AVAILABLE_FOR_PICKUP: _S.AVAILABLE_FOR_PICKUP,
        _E.PICKED_UP_BY_RECIPIENT: _S.DELIVERED,
        _E.DELIVERED: _S.DELIVERED,
        _E.HELD: _S.ON_HOLD,
        _E.RETURN_STARTED: _S.RETURN_TO_SENDER,
        _E.RETURN_DELIVERED: _S.RETURN_TO_SENDER,
        _E.LOST: _S.LOST,
        _E.CANCELLED: _S.CANCELLED,
    }
)

#: The phase that starts with a scan; a code that is not listed leaves the phase as it is.
PHASE_OF: Mapping[EventCode, Phase] = MappingProxyType(
    {
        _E.ORDER_CREATED: _P.ORDER_HANDLING,
        _E.ORDER_APPROVED: _P.ORDER_HANDLING,
        _E.ORDER_PACKED: _P.ORDER_HANDLING,
        _E.LABEL_CREATED: _P.ORDER_HANDLING,
        _E.MANIFEST_RECEIVED: _P.ORDER_HANDLING,
        _E.PICKED_UP: _P.FIRST_MILE,
        _E.DROPPED_OFF: _P.FIRST_MILE,
        _E.ACCEPTED: _P.FIRST_MILE,
        _E.ARRIVED_AT_FACILITY: _P.LINEHAUL,
        _E.DEPARTED_FACILITY: _P.LINEHAUL,
        _E.SORTED: _P.LINEHAUL,
        _E.LINEHAUL_DEPARTED: _P.LINEHAUL,
        _E.LINEHAUL_ARRIVED: _P.LINEHAUL,
        _E.EXPORT_CUSTOMS_STARTED: _P.EXPORT_CUSTOMS,
        _E.EXPORT_CUSTOMS_CLEARED: _P.EXPORT_CUSTOMS,
        _E.DEPARTED_ORIGIN_COUNTRY: _P.INTERNATIONAL,
        _E.ARRIVED_DESTINATION_COUNTRY: _P.INTERNATIONAL,
        _E.IMPORT_CUSTOMS_STARTED: _P.IMPORT_CUSTOMS,
        _E.IMPORT_CUSTOMS_HELD: _P.IMPORT_CUSTOMS,
        _E.IMPORT_CUSTOMS_CLEARED: _P.IMPORT_CUSTOMS,
        _E.HANDED_TO_PARTNER: _P.LAST_MILE,
        _E.PARTNER_RECEIVED: _P.LAST_MILE,
        _E.ARRIVED_AT_DELIVERY_DEPOT: _P.LAST_MILE,
        _E.DELIVERY_SCHEDULED: _P.LAST_MILE,
        _E.DELIVERY_RESCHEDULED: _P.LAST_MILE,
        _E.OUT_FOR_DELIVERY: _P.LAST_MILE,
        _E.DELIVERY_ATTEMPTED: _P.LAST_MILE,
        _E.AVAILABLE_FOR_PICKUP: _P.LAST_MILE,
        _E.PICKED_UP_BY_RECIPIENT: _P.POST_DELIVERY,
        _E.DELIVERED: _P.POST_DELIVERY,
    }
)

#: The carrier has the parcel from the first of these on; without any, from the first facility
#: scan.
HANDOVER_CODES = frozenset({_E.PICKED_UP, _E.DROPPED_OFF, _E.ACCEPTED})
FACILITY_CODES = frozenset(
    {
        _E.ARRIVED_AT_FACILITY,
        _E.DEPARTED_FACILITY,
        _E.SORTED,
        _E.LINEHAUL_DEPARTED,
        _E.LINEHAUL_ARRIVED,
    }
)

#: What is predicted: the first of these is the arrival (the first delivery attempt if it is
#: reported). ``FAILED_DELIVERY_CODES`` and a second ``out_for_delivery`` report one too.
ARRIVAL_CODES = frozenset(
    {_E.DELIVERY_ATTEMPTED, _E.AVAILABLE_FOR_PICKUP, _E.PICKED_UP_BY_RECIPIENT, _E.DELIVERED}
)

#: After ``out_for_delivery`` the first of these says that delivery was attempted, and failed.
FAILED_DELIVERY_CODES = frozenset({_E.DELIVERY_RESCHEDULED, _E.HELD, _E.DAMAGED})

#: The recipient has the parcel.
DELIVERY_CODES = frozenset({_E.PICKED_UP_BY_RECIPIENT, _E.DELIVERED})

#: After the first of these no later scan changes the status.
FINAL_CODES = frozenset(
    {_E.DELIVERED, _E.PICKED_UP_BY_RECIPIENT, _E.RETURN_DELIVERED, _E.CANCELLED}
)

#: These end the wait for an arrival without one.
ABANDONED_CODES = frozenset({_E.CANCELLED, _E.RETURN_STARTED, _E.RETURN_DELIVERED})

#: Something went wrong, whatever the parcel's status.
EXCEPTION_CODES = frozenset(
    {
        _E.IMPORT_CUSTOMS_HELD,
        _E.DELIVERY_RESCHEDULED,
        _E.DELIVERY_ATTEMPTED,
        _E.HELD,
        _E.DAMAGED,
        _E.RETURN_STARTED,
    }
)


class DelayState(StrEnum):
    """Where a shipment stands against its promise; of the states that hold, the gravest.

    Whether the customer is warned is another thing: the flag.
    """

    ON_TRACK = "on_track"
    AT_RISK = "at_risk"
    PREDICTED_LATE = "predicted_late"
    STALLED = "stalled"
    OVERDUE = "overdue"
    DELIVERED_LATE = "delivered_late"


class ReasonCode(StrEnum):
    """Why a shipment is flagged."""

    WEATHER = "weather"
    HIGH_VOLUME = "high_volume"
    MECHANICAL = "mechanical"
    SORTING_ERROR = "sorting_error"
    MISSED_CONNECTION = "missed_connection"
    MISROUTED = "misrouted"
    HANDOVER_DELAY = "handover_delay"
    FACILITY_CLOSED = "facility_closed"
    CUSTOMS_INSPECTION = "customs_inspection"
    CUSTOMS_DOCUMENTS = "customs_documents"
    DUTIES_UNPAID = "duties_unpaid"
    PROHIBITED_ITEM = "prohibited_item"
    ADDRESS_ISSUE = "address_issue"
    RECIPIENT_UNAVAILABLE = "recipient_unavailable"
    RECIPIENT_REFUSED = "recipient_refused"
    ACCESS_PROBLEM = "access_problem"
    RECIPIENT_REQUEST = "recipient_request"
    SECURITY = "security"
    DAMAGED = "damaged"
    LOST = "lost"
    CARRIER_DELAY = "carrier_delay"
    OFF_RADAR = "off_radar"
    BORDER_GAP = "border_gap"
    HOLIDAY = "holiday"
    WRONG_NUMBER = "wrong_number"
    RETURNED = "returned"
    UNKNOWN = "unknown"


class ReasonParty(StrEnum):
    """Who causes the delay."""

    CARRIER = "carrier"
    MERCHANT = "merchant"
    RECIPIENT = "recipient"
    CUSTOMS = "customs"
    FORCE_MAJEURE = "force_majeure"
    UNKNOWN = "unknown"


class TimezoneSource(StrEnum):
    """Where the time zone of a shipment's dates, or of a scan's time, comes from."""

    #: The scan's time was written with its offset from UTC.
    CARRIER_OFFSET = "carrier_offset"
    #: The sender named the zone.
    DECLARED = "declared"
    POSTAL_CODE = "postal_code"
    REGION = "region"
    COUNTRY_DEFAULT = "country_default"
    ASSUMED_UTC = "assumed_utc"
