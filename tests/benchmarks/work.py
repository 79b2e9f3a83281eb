"""The sessions that the benchmarks use: as the kernel writes them, of any size, with texts that are all distinct.

The texts are cut out of one long text at random places; building each from random words would take longer than the
measured work. One in five has characters beyond ASCII; all have line breaks and quotes, as real ones do.
"""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any, NamedTuple

from oxios_state import AgentResponse, Session, StateStore, TrajectoryStepRecord

SMALL, LARGE = 20, 500  # turns: about 73 KB and 1.8 MB
SETTLED = 2.5  # seconds after which a file's times show whether it has changed
_BOOK_LENGTH = 2**20


class Turn(NamedTuple):
    """One message, three tool calls and one answer, as plain JSON values without their times."""

    message: dict[str, Any]
    steps: list[dict[str, Any]]
    response: dict[str, Any]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The five records, for a store that keeps one list."""
        return [self.message, *self.steps, self.response]


class Writer:
    """Makes turns and documents: the same for the same seed, and no text twice."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        letters = "etaoinshrdlucmfwypvbgk"
        words = ["".join(self._random.choices(letters, k=self._random.randint(1, 9))) for _ in range(2000)]
        marks = self._random.choices([" ", ", ", ". ", ".\n", ' "', "; "], [80, 8, 6, 3, 2, 1], k=_BOOK_LENGTH // 4)
        book = "".join(self._random.choice(words) + mark for mark in marks)[:_BOOK_LENGTH]
        self._books = [book] * 4 + [book.replace("w", "ü").replace("k", "—")]
        self._number = 0

    def text(self, length: int) -> str:
        """Return a text of about this length: a number, which makes it distinct, and prose."""
        self._number += 1
        start = self._random.randrange(_BOOK_LENGTH // 2)
        length = self._random.randint(length // 2, length * 3 // 2)
        return f"{self._number} {self._random.choice(self._books)[start : start + length]}"

    def turn(self) -> Turn:
        """Return a turn, about 3.6 KB of the kernel's JSON."""
        return Turn(
            {"content": self.text(350)},
            [
                {
                    "tool_name": self._random.choice(["bash", "read", "search"]),
                    "tool_args": {"cmd": self.text(120), "timeout": self._random.randint(1, 600), "background": False},
                    "output_summary": self.text(420),
                    "duration_ms": self._random.randint(1, 9000),
                    "is_error": self._random.random() < 0.1,
                    "tool_call_id": f"call_{self._number}",
                }
                for _ in range(3)
            ],
            {
                "content": self.text(470),
                "session_id": "the-session",
                "seed_id": None,
                "phase_reached": "execute",
                "evaluation_passed": True,
            },
        )

    def time(self) -> str:
        """Return a time of the day, with nanoseconds as the kernel's clock has them."""
        second = self._random.randrange(24 * 3600)
        clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        return f"2026-03-01T{clock}.{self._random.randrange(10**9):09}Z"

    def document(self, session_id: str, turns: int) -> bytes:
        """Return a session's document, as the kernel writes it."""
        all_turns = [self.turn() for _ in range(turns)]
        document = {
            "id": session_id,
            "user_id": "ada",
            "user_messages": [turn.message | {"timestamp": self.time()} for turn in all_turns],
            "agent_responses": [turn.response | {"timestamp": self.time()} for turn in all_turns],
            "trajectory_steps": [step | {"timestamp": self.time()} for turn in all_turns for step in turn.steps],
            "active_seed_id": None,
            "active_persona_id": "dev",
            "created_at": self.time(),
            "updated_at": self.time(),
            "metadata": {"project_ids": "p-1"},
        }
        return json.dumps(document, indent=2, ensure_ascii=False).encode()


def put(base: Path, session_id: str, document: bytes) -> Path:
    """Write a session's document into a store's directory, as the kernel does: under another name, then renamed."""
    path = base / "sessions" / f"{session_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    bare_write(path, document)
    return path


def small(writer: Writer) -> bytes:
    """Return a document of about 1 KB: a message and an answer."""
    document = json.loads(writer.document("small", 1))
    return json.dumps(document | {"trajectory_steps": []}, indent=2, ensure_ascii=False).encode()


def fill(base: Path, sessions: int, documents: list[bytes]) -> None:
    """Write sessions that repeat these documents except for ids and times, which is fast."""
    directory = base / "sessions"
    directory.mkdir(parents=True, exist_ok=True)
    writer = Writer(6)
    parts = [_around_id_and_time(document) for document in documents]
    for number in range(sessions):
        head, middle, tail = parts[number % len(parts)]
        content = f"{head}s-{number}{middle}{writer.time()}{tail}".encode()
        (directory / f"s-{number}.json").write_bytes(content)


def _around_id_and_time(document: bytes) -> tuple[str, str, str]:
    match = re.fullmatch(r'(\{\s+"id": ")[^"]+(.*"updated_at": ")[^"]+(.*)', document.decode(), re.DOTALL)
    assert match is not None
    return match[1], match[2], match[3]


def bare_write(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace a file by system calls alone: the least that an atomic save costs."""
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    written = os.write(descriptor, content)
    assert written == len(content)
    if durable:
        os.fsync(descriptor)
    os.close(descriptor)
    os.replace(temporary, path)
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Sync a directory, so that the names in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def append(session: Session, turn: Turn) -> None:
    """Append a turn to a session."""
    session.add_user_message(turn.message["content"])
    session.extend_trajectory([TrajectoryStepRecord(**step) for step in turn.steps])
    session.add_agent_response(AgentResponse(**turn.response))


def edit(store: StateStore, session_id: str, turn: Turn) -> None:
    """Append a turn to a session in a transaction, an agent's most frequent operation."""
    with store.edit_session(session_id) as session:
        append(session, turn)


def read_all(session: Session) -> int:
    """Read every record, as a program does that shows a conversation or sends it to a model."""
    questions = sum(len(message.content) for message in session.user_messages)
    answers = sum(len(response.content) for response in session.agent_responses)
    return questions + answers + sum(len(step.output_summary) + len(step.tool_args) for step in session.trajectory)


def size(length: float) -> str:
    """Return a number of bytes as text with two or three digits."""
    for unit, scale in (("MB", 1e6), ("KB", 1e3)):
        if length >= scale:
            return f"{round(length / scale, 1 if length < 9.95 * scale else None):g} {unit}"
    return f"{length:.0f} B"
