"""All errors. The docstring of an error is its default message."""

from collections.abc import Callable

_OFFSET_HINT = "write it as 2018-05-15T08:00:00-03:00"


class EtaError(Exception):
    """Something went wrong in eta."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((self.__doc__ or "").split()))


class InvalidValue(EtaError):
    """A field has an impossible value."""

    def __init__(self, field: str, problem: str, hint: str | Callable[[], str]) -> None:
        super().__init__()
        self.field, self.problem, self._hint = field, problem, hint

    @property
    def hint(self) -> str:
        """How to fix it; finding that out may take a while."""
        return self._hint if isinstance(self._hint, str) else self._hint()

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}; {self.hint}"


class NaiveTime(InvalidValue):
    """A datetime has no offset from UTC."""

    def __init__(self, field: str) -> None:
        super().__init__(field, "the time has no offset from UTC", _OFFSET_HINT)


class NaiveColumn(InvalidValue):
    """None of the times of a file's column has an offset from UTC."""

    def __init__(self, file: str, column: str, example: str) -> None:
        problem = f"no time of this column of {file} has an offset from UTC, such as {example}"
        super().__init__(column, problem, _OFFSET_HINT)


class SourceRejected(EtaError):
    """The data do not have the format of their source."""


class FileRejected(EtaError):
    """A file is absent, is no regular file, cannot be read, or is too large."""

    def __init__(self, file: str, problem: str, hint: str = "check the file") -> None:
        self.problem = problem
        super().__init__(f"{file}: {problem}; {hint}")


class NoTrainingData(EtaError):
    """No parcel to train on had arrived by that moment; give more data, or a later moment."""


class DataRefused(EtaError):
    """The data are not fit to train on."""


class NotFitted(EtaError):
    """The model is not fitted; fit it before it predicts."""


class ModelNotFound(EtaError):
    """The registry has no such model version."""


class ModelCorrupted(EtaError):
    """A model version does not match its manifest; none of its files was opened."""


class ModelRefused(ModelCorrupted):
    """A model version crashed, hung or failed when it was tried in a process of its own."""


class InvalidSetting(EtaError):
    """A setting is unknown or has an impossible value."""


class StoreUnavailable(EtaError):
    """The store is unavailable at the moment; nothing of this was recorded."""


class StoreBlocked(StoreUnavailable):
    """Another program holds a lock on the database; end it, or wait until it has ended."""


class WriteUnconfirmed(StoreUnavailable):
    """The database's answer was lost; check whether this was recorded before you repeat it."""


class ClockRefused(StoreUnavailable):
    """The clock cannot be trusted at the moment; nothing of this was recorded."""


class NothingRecorded(StoreUnavailable):
    """The store is read before anything was written to it."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"nothing is recorded yet: {problem}; run `eta ingest DATA`,"
            " or name another database in ETA_DATABASE_URL"
        )


class StoreBusy(EtaError):
    """Too many writes are waiting; nothing of this was recorded."""


class StoreLocked(EtaError):
    """Another process writes to the store."""


class StoreRejected(EtaError):
    """The store cannot be used by this version."""


class Conflict(EtaError):
    """The request contradicts what is recorded."""


class ShipmentConflict(Conflict):
    """A shipment is already registered with other attributes."""

    def __init__(self, shipment_id: str, fields: list[str]) -> None:
        self.shipment_id, self.fields = shipment_id, fields
        super().__init__(f"shipment {shipment_id} is registered with another {', '.join(fields)}")


class NotFound(EtaError):
    """The store has no such item."""


class IdempotencyKeyReused(EtaError):
    """The Idempotency-Key was used for another request; use a new key for a new request."""
