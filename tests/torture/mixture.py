"""A mixture of operations: many threads share one store and call it in random order. No error, and no edit lost.

    python tests/torture/mixture.py [--seconds N] [--threads N]     30 and 64 by default

There are few sessions, so that the threads meet, and the session cache is small, so that sessions come and go in it.
The exit status is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import copy
import pickle
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

import attrs
import gil

from oxios_state import (
    AgentResponse,
    PruneConfig,
    PruneThrottle,
    Session,
    SessionConflictError,
    StateStore,
    TrajectoryStepRecord,
)

SESSIONS = [f"s{number}" for number in range(6)]
CACHE_BYTES = 60_000
LONGEST = 20  # turns


@attrs.define
class Typed:
    """A document of a class of its own, for the converter."""

    number: int
    words: set[str]


class Mixer:
    """One thread."""

    def __init__(self, store: StateStore, throttle: PruneThrottle, number: int) -> None:
        self.store = store
        self.throttle = throttle
        self.number = number
        self.chance = random.Random(number)
        self.calls = 0
        self.edits: Counter[str] = Counter()

    def go_on(self, seconds: float) -> None:
        """Call one operation after another until the time is up."""
        operations: list[Callable[[str], object]] = [
            self.edit,
            self.edit,
            self.update,
            self.read,
            self.typed,
            self.prune,
            lambda session_id: self.store.get_or_create_session("user", session_id),
            lambda _: deque(self.store.search_sessions(str(self.number))),
            lambda _: self.store.save_markdown("a/b", f"notes-{self.number % 5}", "# Notes\n"),
            lambda _: [self.store.list_category("sessions"), self.store.check(), str(self.store)],
            self.list,
        ]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.chance.choice(operations)(self.chance.choice(SESSIONS))
            self.calls += 1

    def list(self, _: str) -> None:
        """List; each session is there once."""
        assert sorted(summary.id for summary in self.store.list_sessions()) == SESSIONS

    def change(self, session: Session) -> None:
        """Add a turn and count it; remove all turns of a long session first."""
        if len(session.user_messages) >= LONGEST:
            for records in (session.user_messages, session.agent_responses, session.trajectory_steps):
                records.clear()
        session.add_user_message(f"{self.number}")
        session.extend_trajectory([TrajectoryStepRecord("tool", {"a": [1, {"b": 2}]}, "output")])
        session.add_agent_response(AgentResponse("x" * self.chance.randrange(100)))
        session.set_metadata("count", {"of": [session.get_metadata("count", {"of": [0]})["of"][0] + 1]})

    def edit(self, session_id: str) -> None:
        """Change a session under the lock."""
        with self.store.edit_session(session_id) as session:
            self.change(session)
        self.edits[session_id] += 1

    def update(self, session_id: str) -> None:
        """Change a session without the lock, unless another thread was faster."""
        with suppress(SessionConflictError):
            session = self.store.get_or_create_session("user", session_id)
            self.change(session)
            self.store.update_session(session)
            self.edits[session_id] += 1

    def read(self, session_id: str) -> None:
        """Load a session, and use all of it."""
        session = self.store.get_or_create_session("user", session_id)
        assert len(session.user_messages) == len(session.trajectory_steps) == len(session.agent_responses)
        assert pickle.loads(pickle.dumps(session)) == copy.deepcopy(session) == session
        assert session.to_markdown()

    def typed(self, _: str) -> None:
        """Save and load a document of a class."""
        name = f"{self.chance.randrange(3)}"
        self.store.save_json("typed", name, Typed(1, {"a"}))
        assert self.store.load_json("typed", name, Typed) == Typed(1, {"a"})

    def prune(self, _: str) -> None:
        """Prune with nothing to remove."""
        if self.throttle.should_prune():
            assert self.store.prune(PruneConfig(max_sessions=len(SESSIONS))) == []


def main() -> None:
    """Run the mixture, and compare the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=64)
    options = parser.parse_args()
    errors: list[str] = []
    with tempfile.TemporaryDirectory() as base:
        store = StateStore(base, durable=False, lock_timeout=120, cache_bytes=CACHE_BYTES)
        for session_id in SESSIONS:
            store.get_or_create_session("user", session_id)
        throttle = PruneThrottle(0.05)
        mixers = [Mixer(store, throttle, number) for number in range(options.threads)]
        together = threading.Barrier(options.threads)

        def run(mixer: Mixer) -> None:
            together.wait()
            try:
                mixer.go_on(options.seconds)
            except Exception:  # noqa: BLE001  any error breaks a promise
                errors.append(traceback.format_exc())

        threads = [threading.Thread(target=run, args=[mixer]) for mixer in mixers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        edits = sum((mixer.edits for mixer in mixers), Counter[str]())
        fresh = StateStore(base)
        counted = {session_id: fresh.get_or_create_session("user", session_id) for session_id in SESSIONS}
        errors += map(str, fresh.check())
        stored = sum(session.get_metadata("count", {"of": [0]})["of"][0] for session in counted.values())
    print(*errors[:3], sep="\n", end="")
    print(
        f"{options.threads} threads: {sum(mixer.calls for mixer in mixers)} calls, {len(errors)} errors; "
        f"{edits.total()} edits, {edits.total() - stored} lost; {gil.state()}"
    )
    sys.exit(bool(errors) or edits.total() != stored)


if __name__ == "__main__":
    main()
