"""Answer messages in eight threads; save each turn in a transaction; prune hourly.

python docs/examples/threaded_workers.py PATH
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from oxios_state import AgentResponse, PruneConfig, PruneThrottle, Session, StateStore


def think(session: Session, text: str) -> str:
    """Stand in for a call of the model, which is slow."""
    return f"{text} is message {len(session.user_messages) + 1}."


def take_turn(
    store: StateStore, throttle: PruneThrottle, session_id: str, text: str
) -> None:
    """Answer one message."""
    session = store.get_or_create_session("ada", session_id)
    answer = think(session, text)  # slow: hold no lock here
    with store.edit_session(session_id) as session:  # loaded anew, under the lock
        session.add_user_message(text)
        session.add_agent_response(AgentResponse(answer, session_id=session_id))
    if throttle.should_prune():  # true in one thread, once an hour
        store.prune(PruneConfig(max_sessions=1000, ttl_hours=24 * 30))


def main() -> None:
    """Send 25 messages to each of four sessions."""
    store = StateStore(sys.argv[1])  # shared by all threads
    throttle = PruneThrottle(cooldown=3600)  # shared as well
    jobs = [(f"session-{number % 4}", f"message {number}") for number in range(100)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        turns = [pool.submit(take_turn, store, throttle, *job) for job in jobs]
    for turn in turns:
        turn.result()  # raises the turn's exception, if there was one
    for summary in sorted(store.list_sessions(), key=lambda summary: summary.id):
        print(summary.id, summary.message_count)


if __name__ == "__main__":
    main()
