"""Everything that can go wrong, by name. The docstring of an error is its message."""


class EtaError(Exception):
    """Something went wrong in eta."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((self.__doc__ or "").split()))


class InvalidValue(EtaError):
    """A field holds a value that cannot be right."""

    def __init__(self, field: str, problem: str, hint: str) -> None:
        self.field, self.problem, self.hint = field, problem, hint
        super().__init__(f"{field}: {problem}; {hint}")


class NaiveTime(InvalidValue):
    """A datetime came without an offset from UTC."""

    def __init__(self, field: str) -> None:
        super().__init__(
            field, "the time has no offset from UTC", "write it as 2018-05-15T08:00:00-03:00"
        )


class SourceRejected(EtaError):
    """The data of a source cannot be read as that source's format."""


class NoTrainingData(EtaError):
    """There are no parcels from which a model could learn at that moment."""


class NotFitted(EtaError):
    """The model was asked to predict before it was fitted."""


class ModelNotFound(EtaError):
    """The registry has no such model version."""


class ModelCorrupted(EtaError):
    """A model version does not match its manifest; nothing of it was opened."""


class InvalidSetting(EtaError):
    """A setting is unknown or has an impossible value."""


class StoreUnavailable(EtaError):
    """The store cannot keep or find anything at the moment; nothing of this was recorded."""


class StoreBusy(EtaError):
    """Too much waits to be recorded already; nothing of this was recorded."""


class StoreLocked(EtaError):
    """Another process writes to the store."""


class StoreRejected(EtaError):
    """The store is not one that this version can use."""


class Conflict(EtaError):
    """What was asked contradicts what is recorded."""


class ShipmentConflict(Conflict):
    """A shipment is registered already, with other facts."""

    def __init__(self, shipment_id: str, fields: list[str]) -> None:
        self.shipment_id, self.fields = shipment_id, fields
        super().__init__(f"shipment {shipment_id} is registered with another {', '.join(fields)}")


class NotFound(EtaError):
    """There is no such thing in the store."""


class IdempotencyKeyReused(EtaError):
    """The Idempotency-Key came with another request before; use a new key for a new request."""
