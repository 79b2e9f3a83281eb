"""A machine that holds a lock of a directory on NFS goes off the net, and comes back later. See `network`."""

from __future__ import annotations

import threading
import time

import booted
import clients

from oxios_state import SessionConflictError, StateStore


def main(_: list[str]) -> None:
    """Report how long the other machine waits for the lock, and which saves of the first succeed when it is back."""
    clients.serve()
    clients.mount_on_two_machines("vers=4.2")
    first, second = (StateStore(path / "state", lock_timeout=20 * clients.LEASE) for path in clients.MOUNTS)
    for session_id in ("edited", "other"):
        first.get_or_create_session(clients.USER, session_id)
    editing, back = threading.Event(), threading.Event()
    outcome: list[str] = []

    def edit() -> None:
        try:
            with first.edit_session("edited") as session:
                session.add_user_message("of the machine that went")
                editing.set()
                back.wait()
            outcome.append("saved")
        except SessionConflictError:
            outcome.append("conflict")

    thread = threading.Thread(target=edit)
    thread.start()
    editing.wait()
    booted.do("ip", "link", "set", "m0", "down")
    began = time.monotonic()
    with second.edit_session("edited") as session:
        booted.say(f"waited {time.monotonic() - began:.1f} s; the lease is {clients.LEASE} s")
        session.add_user_message("of the machine that stayed")
    booted.do("ip", "link", "set", "m0", "up")
    time.sleep(2 * clients.LEASE)  # until the first has noticed
    back.set()
    thread.join()
    loaded = second.load_session("edited")
    assert loaded is not None
    booted.say(f"the first machine: {outcome[0]}")
    booted.say(f"kept: {[message.content for message in loaded.user_messages]}")
    with first.edit_session("other") as session:
        session.add_user_message("again")
    booted.say("the first machine saves again")


if __name__ == "__main__":
    booted.run(main)
