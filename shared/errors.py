"""Every exception of Tidemill, grouped by what the catcher does about it.

* `RetryableError`: wait with back-off and try the same thing again.
* `RecordError`: set this one record, window or candidate aside with the reason, and go on.
* `FatalError`: end the process with the class's exit code; a supervisor decides what follows.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Why a service ended. 0 is a drained stop; the others are for the supervisor and for people."""

    STOPPED = 0
    CRASHED = 1
    MISCONFIGURED = 2
    FENCED = 3
    OUTCOME_UNKNOWN = 4
    UNREACHABLE = 5
    CORRUPT = 6
    DIFFERENT = 7


class TidemillError(Exception):
    """The root: its text says what was wrong, where, and what to do."""


class RetryableError(TidemillError):
    """The outside is not there or not ready; the same call may succeed later."""


class BrokerUnavailableError(RetryableError):
    """Kafka did not answer in time."""


class RegistryUnavailableError(RetryableError):
    """MLflow did not answer in time, or answered with a server error."""


class ArchiveUnavailableError(RetryableError):
    """The snapshot store could not be read or written."""


class RecordError(TidemillError):
    """One input is bad; the stream behind it is not."""


class UnreadableRecordError(RecordError):
    """A record's bytes are not the event that its topic carries."""


class SnapshotError(RecordError):
    """A window's snapshot is missing, altered or not a window."""


class SnapshotMissingError(SnapshotError):
    """There is no file where a window's snapshot should be."""


class ModelError(RecordError):
    """A model's files are missing, damaged, or answer nonsense."""


class TrainingError(RecordError):
    """A training job ended without a model."""


class FatalError(TidemillError):
    """The process cannot go on. `exit_code` tells the supervisor why."""

    exit_code: ExitCode = ExitCode.CRASHED


class ConfigurationError(FatalError):
    """A setting is wrong, or contradicts what the stream was begun with."""

    exit_code = ExitCode.MISCONFIGURED


class BrokerRefusedError(FatalError):
    """Kafka answered no: an unknown topic, a missing right, a record too large."""

    exit_code = ExitCode.MISCONFIGURED


class RegistryRefusedError(FatalError):
    """MLflow answered no: a missing right, a value that it does not take, a run or version that is gone."""

    exit_code = ExitCode.MISCONFIGURED


class FencedError(FatalError):
    """Another instance with the same identity took over; nothing of ours was committed."""

    exit_code = ExitCode.FENCED


class CommitOutcomeUnknownError(FatalError):
    """A commit neither succeeded nor failed for certain; only a restart can read the truth."""

    exit_code = ExitCode.OUTCOME_UNKNOWN


class DeviceLostError(FatalError):
    """A GPU computes nothing more for this process, whatever it is asked; another process may use it."""


class UnreachableError(FatalError):
    """Something that must be there stayed away for longer than allowed."""

    exit_code = ExitCode.UNREACHABLE


class LedgerCorruptError(FatalError):
    """The topics contradict each other; going on would make it worse."""

    exit_code = ExitCode.CORRUPT
