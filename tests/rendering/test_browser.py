"""HTML of sessions and stores in a real browser: Chromium without a window."""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
import pytest

from oxios_state import (
    AgentResponse,
    Session,
    SessionList,
    SessionSummary,
    StateStore,
    Trajectory,
    TrajectoryStepRecord,
    UserMessage,
)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (on Debian: apt-get install chromium)")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ATTACKS = [
    "<script>pwned(1)</script>",
    "</script><script>pwned(2)</script>",
    "</style><script>pwned(3)</script>",
    "</pre></details></div><script>pwned(4)</script>",
    "</title></text></svg><script>pwned(5)</script>",
    "<ScRiPt src=//attack.invalid/a.js></sCrIpT>",
    "<img src=x onerror=pwned(6)>",
    "<img src=x onerror='pwned(7)'>",
    '"><img src=x onerror="pwned(8)">',
    "' onmouseover='pwned(9)' x='",
    '" onmouseover="pwned(10)" autofocus onfocus="pwned(11)" x="',
    "` onmouseover=pwned(12) x=`",
    "<svg onload=pwned(13)>",
    "<svg><script>pwned(14)</script></svg>",
    "<svg><animate onbegin=pwned(15) attributeName=x dur=1s>",
    "<svg><a xlink:href='javascript:pwned(16)'><text y=20>click</text></a></svg>",
    "<svg><foreignObject><iframe srcdoc='<script>parent.pwned(17)</script>'></foreignObject></svg>",
    "<svg><use href='data:image/svg+xml,<svg id=x xmlns=\"http://www.w3.org/2000/svg\"></svg>#x'></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=pwned(18)&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=pwned(19)>'>",
    "<details open ontoggle=pwned(20)>",
    "<video><source onerror=pwned(21)></video>",
    "<audio src=x onerror=pwned(22)>",
    "<input autofocus onfocus=pwned(23)>",
    "<form action='javascript:pwned(24)'><button>click</button></form>",
    "<a href='javascript:pwned(25)'>click</a>",
    "<a href='java\tscript:pwned(26)'>click</a>",
    "javascript:pwned(27)",
    "<iframe src='javascript:pwned(28)'></iframe>",
    "<iframe srcdoc='<script>parent.pwned(29)</script>'></iframe>",
    "<object data='javascript:pwned(30)'></object>",
    "<embed src='data:text/html,<script>pwned(31)</script>'>",
    "<meta http-equiv=refresh content='0;url=http://attack.invalid/'>",
    "<base href='http://attack.invalid/'>",
    "<link rel=stylesheet href='http://attack.invalid/a.css'>",
    "<style>@import 'http://attack.invalid/b.css'; *{background:url(http://attack.invalid/c.png)!important}</style>",
    "<div style='background:url(http://attack.invalid/d.png)'>",
    "}*{background:url(http://attack.invalid/e.png)}",
    "x;background:url(http://attack.invalid/f.png)",
    "<style>@keyframes x{}</style><div style='animation:x' onanimationend=pwned(32)>",
    "<template shadowrootmode=open><script>pwned(33)</script></template>",
    "<x-foo onclick=pwned(34)>click</x-foo>",
    "<!--><script>pwned(35)</script>-->",
    "<![CDATA[<script>pwned(36)</script>]]>",
    "<?xml version='1.0'?><script>pwned(37)</script>",
    "&lt;script&gt;pwned(38)&lt;/script&gt;",
    "&#60;script&#62;pwned(39)&#60;/script&#62;",
    "&amp;lt;script&amp;gt;pwned(40)",
    "\\u003cscript\\u003epwned(41)\\u003c/script\\u003e",
    "%3Cscript%3Epwned(42)%3C/script%3E",
    "\uff1cscript\uff1epwned(43)\uff1c/script\uff1e",
    "<scr\0ipt>pwned(44)</scr\0ipt>",
    "<script\x0b>pwned(45)</script>",
    "<img\x0csrc=x\x0conerror=pwned(46)>",
    "+ADw-script+AD4-pwned(47)+ADw-/script+AD4-",
    "\u202e<script>pwned(48)</script>\u2066",
    "\ud83d<script>pwned(49)</script>\udc00",
    "\U000e003cscript\U000e003epwned(50)",
    "\u2028<script>pwned(51)</script>\u2029",
    "{{constructor.constructor('pwned(52)')()}}",
    "{% raw %}<script>pwned(53)</script>{% endraw %}",
    "${pwned(54)}",
    "<%= pwned(55) %>",
    "[click](javascript:pwned(56))",
    "![x](http://attack.invalid/g.png)",
    "```\n</code></pre><script>pwned(57)</script>\n```",
    "\n\n<script>pwned(58)</script>\n\n",
    "$$\\href{javascript:pwned(59)}{x}$$ \\(\\unicode{x3c}script>\\)",
    '$\\class{x" onclick="pwned(60)}{y}$',
    "</textarea><script>pwned(61)</script>",
    "</xmp></noembed></noframes></plaintext><script>pwned(62)</script>",
    "<plaintext>",
    "<marquee onstart=pwned(63)>",
    "<body onload=pwned(64)>",
    "<isindex type=image src=x onerror=pwned(65)>",
    "<button popovertarget=x onbeforetoggle=pwned(66)>",
    "__proto__",
    "constructor",
]
TAGS = {
    *("b", "circle", "code", "details", "div", "g", "path", "pre", "rect", "span", "style", "summary", "svg", "table"),
    *("tbody", "td", "text", "th", "thead", "time", "title", "tr", "tspan"),
}
ATTRIBUTES = {
    *(
        "aria-label",
        "class",
        "colspan",
        "cx",
        "cy",
        "d",
        "dir",
        "dx",
        "fill",
        "fill-opacity",
        "font-family",
        "font-size",
    ),
    *("font-style", "font-weight", "height", "opacity", "open", "preserveAspectRatio", "r", "role", "rx", "stroke"),
    *("stroke-width", "style", "text-anchor", "title", "viewBox", "width", "x", "y"),
}


def look(
    directory: Path, content: str, width: int = 1100, height: int = 900, *, dark: bool = False, body: str = ""
) -> dict[str, Any]:
    """Open a page with *content* in the browser, and return the report of its harness."""
    page = directory / "page.html"
    harness = Path(__file__).with_name("browser_harness.html").read_text()
    page.write_text(harness.replace("WIDTH", str(width)).replace("BODY", body, 1).replace("CONTENT", content, 1))
    command = [
        *(str(CHROMIUM), "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        f"--user-data-dir={directory / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000", f"--window-size={width},{height}"),
    ]
    picture = directory / "picture.png"  # pytest keeps the pictures of the last runs for people to look at
    command += ["--dump-dom", f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, check=True, timeout=50)
    drawn = picture.read_bytes()
    assert drawn[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", drawn[16:24]) == (width, height)
    encoded = done.stdout.decode().rpartition('id="report">')[2].partition("<")[0]
    report: dict[str, Any] = json.loads(unquote(base64.b64decode(encoded).decode()))
    report["console"] = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return report


def step(seconds: float, number: int = 0, **changes: Any) -> TrajectoryStepRecord:
    values: dict[str, Any] = {
        "tool_name": ("bash", "read_file", "grep")[number % 3],
        "tool_args": {"cmd": "git log --oneline"},
    }
    values |= {"output_summary": "a1b2c3 Fix the parser\n" * 5, "duration_ms": 340, "is_error": number % 11 == 5}
    return TrajectoryStepRecord(**{**values, **changes}, timestamp=NOON + timedelta(seconds=seconds))


def conversation(turns: int) -> Session:
    session = Session("ada", "release-notes", active_persona_id="dev", created_at=NOON, metadata={"tags": ["a", "b"]})
    for turn in range(turns):
        start = NOON + timedelta(minutes=4 * turn)
        session.user_messages.append(UserMessage("Summarise what changed, and draft the notes.", timestamp=start))
        session.trajectory_steps += [step(240 * turn + 2 + n, turn + n) for n in range(turn % 7)]
        text = f"Three things:\n\n1. It is faster.\n2. {'A-long-word' * 20}\n\n```python\nrun(fast=True)\n```\nShall I?"
        end = start + timedelta(seconds=20)
        response = AgentResponse(text, phase_reached="execute", evaluation_passed=bool(turn % 4), timestamp=end)
        session.agent_responses.append(response)
    return session


def attacked(attack: str, number: int) -> Session:
    """Return a session with an attack in every field that holds text."""
    moment = NOON + timedelta(seconds=number)
    deep = {attack: [attack, {attack: attack}]}
    return Session(
        attack,
        attack,
        user_messages=[UserMessage(attack, timestamp=moment, extra={"x": attack})],
        agent_responses=[
            AgentResponse(
                f"```\n{attack}\n```\n{attack}",
                session_id=attack,
                seed_id=attack,
                phase_reached=attack,
                evaluation_passed=False,
                timestamp=moment,
            )
        ],
        trajectory_steps=[
            TrajectoryStepRecord(attack, deep, attack, 5, is_error=True, tool_call_id=attack, timestamp=moment),
            TrajectoryStepRecord(attack, attack, attack, 5, tool_call_id=attack, timestamp=moment),
        ],
        active_seed_id=attack,
        active_persona_id=attack,
        created_at=NOON,
        metadata={"title": attack, **deep},
        extra=deep,
    )


def pages(directory: Path) -> list[str]:
    """Return the HTML of every kind of object, with all attacks in all places."""
    with attrs.validators.disabled():  # some attacks cannot be recorded
        sessions = [attacked(attack, number) for number, attack in enumerate(ATTACKS)]
    summaries = SessionList(SessionSummary(attack, attack, 1, attack, attack, attack, NOON, NOON) for attack in ATTACKS)
    all_steps = [step for session in sessions for step in session.trajectory_steps]
    store = StateStore(directory / "<script>pwned(90)<|script><img src=x onerror=pwned(91)>", durable=False)
    for number, session in enumerate(sessions):
        name = session.id.replace("/", "|").replace("\\", "|").replace("..", "|")
        clean = "".join(char for char in name if char.isprintable()).strip()[:80]
        store.save_markdown(f"{clean}/{number}", clean or "x", "text")
        with_name = attrs.evolve(Session(clean, clean), metadata={"title": clean})
        store.save_session(with_name)
    objects: list[Any] = [*sessions, summaries, *summaries, Trajectory(all_steps), Trajectory(all_steps[:60]), store]
    return [thing._repr_html_() for thing in objects]


def test_the_harness_detects_scripts_and_requests(tmp_path: Path) -> None:
    attacks = ["<script>pwned(1)</script>", "<img src=x onerror=pwned(2)>", "<details open ontoggle=pwned(3)>"]
    attacks += [
        "<div style='background:url(http://attack.invalid/d.png)'>x</div>",
        "<script>console.error('x')</script>",
    ]
    report = look(tmp_path, "".join(attacks))
    assert {"ran 1", "ran 2", "ran 3"} <= set(report["ran"])
    assert "http://attack.invalid/d.png" in report["loaded"]
    assert report["console"]


def test_no_content_runs_a_script_or_loads_anything(tmp_path: Path) -> None:
    report = look(tmp_path, "".join(pages(tmp_path)))
    assert report["ran"] == []
    assert report["loaded"] == []
    assert report["console"] == []
    assert set(report["tags"]) <= TAGS
    assert set(report["attributes"]) <= ATTRIBUTES
    assert all(style.startswith("width:") for style in report["styles"])
    assert "url(" not in report["rules"]
    assert "@import" not in report["rules"]
    for attack in ("<script>pwned(1)</script>", "<svg onload=pwned(13)>", "{{constructor", "&lt;script&gt;pwned(38)"):
        assert attack in report["text"]  # as text


def things(directory: Path) -> list[Any]:
    """Return an object of each kind and size."""
    store = StateStore(directory / "state", durable=False)
    for number in range(12):
        store.save_session(attrs.evolve(conversation(2), id=f"session-{number}"))
        store.save_markdown("memory/knowledge", f"notes-{number}", "x" * 3000)
    sessions = store.list_sessions()
    return [
        conversation(3),
        Trajectory([step(0)]),
        conversation(12).trajectory,
        Trajectory([step(n, n) for n in range(1000)]),
        sessions,
        sessions[0],
        store,
        StateStore(directory / "none"),
        conversation(400),
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [420, 1100])
def test_html_is_readable_in_each_theme_and_width(tmp_path: Path, width: int, *, dark: bool) -> None:
    html = "".join(thing._repr_html_() for thing in things(tmp_path))
    report = look(tmp_path, html, width, 8000, dark=dark)
    assert report["console"] == report["ran"] == report["loaded"] == []
    assert report["overflow"] <= 0
    assert report["background"] == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert report["contrast"] >= 4.5  # required by WCAG, level AA


def test_the_theme_of_the_notebook_overrides_that_of_the_system(tmp_path: Path) -> None:
    content = conversation(2)._repr_html_()
    jupyter = "data-jp-theme-light=false style='--jp-layout-color0:#111111;--jp-content-font-color1:#ffffff'"
    report = look(tmp_path, content, body=jupyter)
    assert report["background"] == "rgb(17, 17, 17)"
    assert report["contrast"] >= 4.5
    assert look(tmp_path, content, body="class=vscode-dark")["background"] == "rgb(21, 24, 28)"
    assert look(tmp_path, content, dark=True, body="data-jp-theme-light=true")["background"] == "rgb(255, 255, 255)"
