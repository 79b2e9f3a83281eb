"""The state of Oxios agents in plain files: conversations, configuration and notes, on the kernel's own directories."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oxios_state.codec import documents as codec
from oxios_state.errors import (
    CorruptStateError,
    DurabilityError,
    InvalidNameError,
    LockTimeoutError,
    SessionConflictError,
    SessionNotFoundError,
    SessionOwnerError,
    StateError,
    UnsupportedValueError,
)
from oxios_state.model.records import AgentResponse, TrajectoryStepRecord, UserMessage
from oxios_state.model.session import Session, SessionId, SessionSummary
from oxios_state.model.timestamps import Timestamp
from oxios_state.sessions.retention import PruneConfig, PruneThrottle
from oxios_state.store import StateStore

if TYPE_CHECKING:
    from cattrs import Converter

    from oxios_state.maintenance.check import Problem, ProblemKind
    from oxios_state.maintenance.probe import Finding
    from oxios_state.maintenance.quarantine import Quarantined
    from oxios_state.model.sequences import SessionList, Trajectory
    from oxios_state.model.trajectory import RunningStep
    from oxios_state.model.turns import Turn
    from oxios_state.sessions.search import SearchHit

    converter: Converter
    """The cattrs converter of all stores, for `StateStore.load_json` and `StateStore.save_json` of classes of your own.

    Register a hook on it for what it does not know.
    """

__version__ = "0.1.0"
"""The release."""

__all__ = [
    "AgentResponse",
    "CorruptStateError",
    "DurabilityError",
    "Finding",
    "InvalidNameError",
    "LockTimeoutError",
    "Problem",
    "ProblemKind",
    "PruneConfig",
    "PruneThrottle",
    "Quarantined",
    "RunningStep",
    "SearchHit",
    "Session",
    "SessionConflictError",
    "SessionId",
    "SessionList",
    "SessionNotFoundError",
    "SessionOwnerError",
    "SessionSummary",
    "StateError",
    "StateStore",
    "Timestamp",
    "Trajectory",
    "TrajectoryStepRecord",
    "Turn",
    "UnsupportedValueError",
    "UserMessage",
    "__version__",
    "converter",
]

# What only few programs use is imported when it is first asked for: it would be a seventh of the cost of this import.
_LATE = {
    "Finding": "oxios_state.maintenance.probe",
    "Problem": "oxios_state.maintenance.check",
    "ProblemKind": "oxios_state.maintenance.check",
    "Quarantined": "oxios_state.maintenance.quarantine",
    "RunningStep": "oxios_state.model.trajectory",
    "SearchHit": "oxios_state.sessions.search",
    "SessionList": "oxios_state.model.sequences",
    "Trajectory": "oxios_state.model.sequences",
    "Turn": "oxios_state.model.turns",
}


if not TYPE_CHECKING:  # a type checker would take every name to be there

    def __getattr__(name: str) -> Any:
        if name == "converter":
            return codec.converter()
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_LATE[name]), name)
