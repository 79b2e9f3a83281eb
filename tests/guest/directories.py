"""A guest program: mounts file systems, probes each, and tries names on them that some take for one.

    directories.py TYPE=DEVICE ...          tmpfs has no device: TYPE=

Each line that it says is a JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from booted import do, run, say

PLACE = Path("/tmp/mounted")
MAKE = {
    "ext4": ["mkfs.ext4", "-q"],
    "xfs": ["mkfs.xfs", "-q"],
    "btrfs": ["mkfs.btrfs", "-q"],
    "vfat": ["mkfs.vfat"],
}
LAX = {"vfat"}  # which take several names for one
OPTIONS = {"vfat": ["-o", "utf8"]}  # as desktops mount it; without, names beyond ASCII are those bytes all the same


def tell(**fields: object) -> None:
    """Send an object to the host."""
    say(json.dumps(fields))


def main(arguments: list[str]) -> None:
    """Mount one after another."""
    PLACE.mkdir()
    for argument in arguments:
        kind, _, device = argument.partition("=")
        subprocess.run(["modprobe", "-q", kind], check=False)  # not a module, if the kernel has it built in
        if kind in MAKE:
            do(*MAKE[kind], device)
        do("mount", "-t", kind, *OPTIONS.get(kind, []), device or kind, str(PLACE))
        _probe(kind)
        if kind in LAX:
            _name(kind)
        do("umount", str(PLACE))


def _probe(kind: str) -> None:
    from oxios_state import StateStore

    base = PLACE / "probed"
    for finding in StateStore(base).probe():
        tell(file_system=kind, what=finding.what, holds=finding.holds, detail=finding.detail)
    left = sorted(path.relative_to(base).as_posix() for path in base.rglob("*"))
    tell(file_system=kind, left=left)


def _name(kind: str) -> None:
    """Do with one name what is done with another of its spelling, and look at what the other holds then."""
    from oxios_state import PruneConfig, Session, StateStore

    everything = PruneConfig(max_sessions=0, ttl_hours=sys.float_info.min)
    store = StateStore(PLACE / "named", lock_timeout=1)

    def session(session_id: str, said: str) -> Session:
        made = Session("ada", session_id)
        made.add_user_message(said)
        return made

    def edit(session_id: str) -> None:
        with store.edit_session(session_id) as found:
            found.add_user_message("edited")

    def archive() -> None:
        store.prune(everything, archive="Sessions")

    def archive_both() -> list[str]:
        """Archive a session of either name, one after another."""
        for session_id in ("Foo", "foo"):
            store.get_or_create_session("ada", session_id)
            store.prune(everything, archive="archive")
        return store.list_category("archive")

    def restore() -> None:
        """Put a file back where there is one by another name."""
        (store.base_path / "c" / "Foo.json").write_text("{")
        (corrupt,) = (problem for problem in store.check() if problem.kind.name == "CORRUPT")
        entry = store.quarantine.add(corrupt)
        assert entry is not None
        store.save_json("c", "foo", "in its place")
        store.quarantine.restore(entry)

    def sound() -> dict[str, Any]:
        found = store.load_session("Foo")
        return {
            "Foo": found and [message.content for message in found.user_messages],
            "listed": sorted(summary.id for summary in store.list_sessions()),
            "json": store.load_json("c", "Foo"),
            "markdown": store.load_markdown("c", "Long name"),
            "caf\u00e9": store.load_json("c", "caf\u00e9"),
            "dot": store.load_json("notes", "a"),
            "quarantine": len(store.quarantine),
        }

    store.save_session(session("Foo", "kept"))
    store.save_json("c", "Foo", "kept")
    store.save_markdown("c", "Long name", "kept")
    store.save_json("c", "caf\u00e9", "kept")
    store.save_json("notes", "a", "kept")
    before = sound()
    tried: dict[str, Callable[[], object]] = {
        "load_session": lambda: store.load_session("foo"),
        "get_or_create_session": lambda: store.get_or_create_session("ada", "foo"),
        "edit_session": lambda: edit("foo"),
        "update_session": lambda: store.update_session(session("foo", "other")),
        "save_session": lambda: store.save_session(session("foo", "other")),
        "list_sessions": lambda: [summary.id for summary in store.list_sessions()],
        "prune into Sessions": archive,
        "delete_session": lambda: store.delete_session("foo"),
        "load_json": lambda: store.load_json("c", "foo"),
        "save_json": lambda: store.save_json("c", "foo", "other"),
        "save_json in C": lambda: store.save_json("C", "Foo", "other"),
        "lock of C": lambda: store.lock("C").__enter__(),
        "delete_file": lambda: store.delete_file("c", "foo"),
        "save_markdown short": lambda: store.save_markdown("c", "LONGNA~1", "other"),
        "save_json decomposed": lambda: store.save_json("c", "cafe\u0301", "other"),
        "save_json in notes.": lambda: store.save_json("notes.", "a", "other"),
    }
    for what, act in tried.items():
        tell(file_system=kind, did=what, gave=_outcome(act), lost=_lost(before, sound()))
    by_their_own: dict[str, Callable[[], object]] = {
        "save_json of Foo": lambda: store.save_json("c", "Foo", "new"),
        "edit_session of Foo": lambda: edit("Foo"),
        "archive both": archive_both,
        "restore": restore,
    }
    for what, act in by_their_own.items():
        tell(file_system=kind, did=what, gave=_outcome(act), lost=[])


def _outcome(act: Callable[[], object]) -> str:
    try:
        return repr(act())
    except Exception as error:
        return f"{type(error).__name__}: {error}".replace(os.fspath(PLACE), "")


def _lost(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [what for what, held in before.items() if what != "listed" and after[what] != held] + [
        f"{name} is not listed" for name in before["listed"] if name not in after["listed"]
    ]


if __name__ == "__main__":
    run(main)
