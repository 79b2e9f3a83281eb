"""The state of Oxios agents in plain files: conversations, configuration and notes, in the kernel's own directories."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from cattrs import Converter

    from oxios_state.maintenance.problems import Finding, Problem, ProblemKind, Quarantine, Quarantined
    from oxios_state.model.records import AgentResponse, TrajectoryStepRecord, UserMessage
    from oxios_state.model.session import Session, SessionId
    from oxios_state.model.summary import SessionList, SessionSummary
    from oxios_state.model.timestamps import Timestamp
    from oxios_state.model.trajectory import RunningStep, Trajectory
    from oxios_state.model.turns import Turn
    from oxios_state.sessions.retention import PruneConfig, PruneThrottle
    from oxios_state.sessions.search import SearchHit
    from oxios_state.store import StateStore

    converter: Converter
    """The cattrs converter of all stores, for `StateStore.load_json` and `StateStore.save_json` of your own classes.

    Register a hook on it for a type that it does not know.
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
    "Quarantine",
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


# Each name is imported when it is first read: a program that needs an error or a record alone pays for no more.
_LATE = {
    "AgentResponse": "oxios_state.model.records",
    "Finding": "oxios_state.maintenance.problems",
    "Problem": "oxios_state.maintenance.problems",
    "ProblemKind": "oxios_state.maintenance.problems",
    "PruneConfig": "oxios_state.sessions.retention",
    "PruneThrottle": "oxios_state.sessions.retention",
    "Quarantine": "oxios_state.maintenance.problems",
    "Quarantined": "oxios_state.maintenance.problems",
    "RunningStep": "oxios_state.model.trajectory",
    "SearchHit": "oxios_state.sessions.search",
    "Session": "oxios_state.model.session",
    "SessionId": "oxios_state.model.session",
    "SessionList": "oxios_state.model.summary",
    "SessionSummary": "oxios_state.model.summary",
    "StateStore": "oxios_state.store",
    "Timestamp": "oxios_state.model.timestamps",
    "Trajectory": "oxios_state.model.trajectory",
    "TrajectoryStepRecord": "oxios_state.model.records",
    "Turn": "oxios_state.model.turns",
    "UserMessage": "oxios_state.model.records",
}


if not TYPE_CHECKING:  # a type checker would believe that every name exists

    def __getattr__(name: str) -> Any:
        if name == "converter":
            return import_module("oxios_state.codec.documents").converter()
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_LATE[name]), name)
