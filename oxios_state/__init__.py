"""The state of Oxios agents in plain files: conversations, configuration and notes, on the kernel's own directories."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oxios_state import codec
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
from oxios_state.model import Session, SessionId, SessionSummary
from oxios_state.pruning import PruneConfig, PruneThrottle
from oxios_state.records import AgentResponse, TrajectoryStepRecord, UserMessage
from oxios_state.store import StateStore
from oxios_state.timestamps import Timestamp

if TYPE_CHECKING:
    from cattrs import Converter

    from oxios_state.checking import Problem, ProblemKind
    from oxios_state.probing import Finding
    from oxios_state.quarantine import Quarantined
    from oxios_state.searching import SearchHit
    from oxios_state.sequences import SessionList, Trajectory
    from oxios_state.steps import RunningStep
    from oxios_state.turns import Turn

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
    "Finding": "oxios_state.probing",
    "Problem": "oxios_state.checking",
    "ProblemKind": "oxios_state.checking",
    "Quarantined": "oxios_state.quarantine",
    "RunningStep": "oxios_state.steps",
    "SearchHit": "oxios_state.searching",
    "SessionList": "oxios_state.sequences",
    "Trajectory": "oxios_state.sequences",
    "Turn": "oxios_state.turns",
}


if not TYPE_CHECKING:  # a type checker would take every name to be there

    def __getattr__(name: str) -> Any:
        if name == "converter":
            return codec.converter()
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_LATE[name]), name)
