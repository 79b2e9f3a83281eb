"""The state of Oxios agents in plain files: conversations, configuration and notes, on the kernel's own directories."""

from oxios_state.checking import Problem, ProblemKind
from oxios_state.conversion import converter
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
from oxios_state.model import (
    AgentResponse,
    PruneConfig,
    Session,
    SessionId,
    SessionSummary,
    TrajectoryStepRecord,
    UserMessage,
)
from oxios_state.pruning import PruneThrottle
from oxios_state.quarantine import Quarantined
from oxios_state.store import StateStore
from oxios_state.timestamps import Timestamp

__version__ = "0.1.0"

__all__ = [
    "AgentResponse",
    "CorruptStateError",
    "DurabilityError",
    "InvalidNameError",
    "LockTimeoutError",
    "Problem",
    "ProblemKind",
    "PruneConfig",
    "PruneThrottle",
    "Quarantined",
    "Session",
    "SessionConflictError",
    "SessionId",
    "SessionNotFoundError",
    "SessionOwnerError",
    "SessionSummary",
    "StateError",
    "StateStore",
    "Timestamp",
    "TrajectoryStepRecord",
    "UnsupportedValueError",
    "UserMessage",
    "__version__",
    "converter",
]
