"""First calls from several threads at once, each case in a fresh process in which nothing is imported yet."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from oxios_state import AgentResponse, Session, StateStore, TrajectoryStepRecord

if TYPE_CHECKING:
    from collections.abc import Callable


def run_afresh(scenario: Callable[[Path], object], directory: Path) -> None:
    """Run the source of a function, which imports what it needs, in a process of its own."""
    lines = (
        "import sys",
        "from pathlib import Path",
        inspect.getsource(scenario),
        f"{scenario.__name__}(Path(sys.argv[1]))",
    )
    command = [sys.executable, "-P", "-c", "\n".join(lines), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def get_the_converter(_: Path) -> None:
    import threading

    import oxios_state
    from oxios_state.codec import documents
    from oxios_state.codec.converter import make_converter

    together = threading.Barrier(2)

    def make_together() -> object:
        together.wait()
        return make_converter()

    def get() -> None:
        converters.append(oxios_state.converter)

    setattr(documents, "make_converter", make_together)  # noqa: B010  # a type checker knows another type
    converters: list[object] = []
    threads = [threading.Thread(target=get) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert converters == [oxios_state.converter] * 2


def test_threads_that_first_need_the_converter_get_the_same_one(tmp_path: Path) -> None:
    run_afresh(get_the_converter, tmp_path)


def save_while_another_thread_imports_json(directory: Path) -> None:
    import importlib
    import threading
    import time
    from importlib.machinery import ModuleSpec, PathFinder

    from oxios_state import StateStore

    store = StateStore(directory, durable=False)
    importing = threading.Event()

    def pause(_: object) -> None:
        importing.set()
        time.sleep(0.3)  # until the other thread imports it too

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> ModuleSpec | None:
            if name != "json":
                return None
            spec = PathFinder.find_spec(name)
            setattr(spec and spec.loader, "create_module", pause)  # noqa: B010  # a type checker knows another type
            return spec

    for name in ("json", "json.decoder", "json.encoder", "json.scanner"):
        sys.modules.pop(name, None)  # coverage may have imported it
    sys.meta_path.insert(0, Finder)
    threads = [threading.Thread(target=importlib.import_module, args=["json"])]
    threads[0].start()
    assert importing.wait(5)
    assert "oxios_state.codec.json_text" not in sys.modules
    threads.append(threading.Thread(target=store.save_json, args=["c", "new", 1]))
    threads[1].start()
    for thread in threads:
        thread.join()
    assert store.load_json("c", "new") == 1


def test_a_first_save_while_another_thread_imports_json_does_not_deadlock(tmp_path: Path) -> None:
    run_afresh(save_while_another_thread_imports_json, tmp_path)


@attrs.define
class Kept:
    number: int
    words: set[str]


def do_everything_first(base: Path) -> None:
    """Make a first call of every kind from many threads: one process of the test below."""
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from operator import methodcaller

    store = StateStore(base, durable=False)
    calls: list[Callable[[StateStore], object]] = [
        methodcaller("load_session", "s"),
        methodcaller("list_sessions", updated_after="1 March 2020"),
        methodcaller("check"),
        methodcaller("get_or_create_session", "u"),
        methodcaller("save_json", "c", "kept", Kept(1, {"a"})),
        methodcaller("load_json", "c", "there", Kept),
        methodcaller("__str__"),
        methodcaller("_repr_html_"),
        lambda store: list(store.search_sessions("hello")),
    ]
    together = threading.Barrier(len(calls) * 3)

    def call(number: int) -> None:
        together.wait()
        calls[number % len(calls)](store)

    with ThreadPoolExecutor(together.parties) as pool:
        for future in [pool.submit(call, number) for number in range(together.parties)]:
            future.result()


def test_first_calls_of_every_kind_in_many_threads_succeed(tmp_path: Path) -> None:
    session = Session("u", "s")
    session.add_user_message("hello")
    session.add_agent_response(AgentResponse("hi"))
    session.extend_trajectory([TrajectoryStepRecord("t", {"a": [1]})])
    store = StateStore(tmp_path, durable=False)
    store.save_session(session)
    store.save_json("c", "there", Kept(1, {"a"}))
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-P", __file__, str(tmp_path)], capture_output=True, text=True, timeout=15, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


if __name__ == "__main__":
    do_everything_first(Path(sys.argv[1]))
