"""Timelines of tool calls, as an XML parser reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import attrs
import pytest

from oxios_state import TrajectoryStepRecord
from oxios_state.rendering import timeline

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RED = "#e5484d"


def step(
    seconds: float, tool: str = "bash", milliseconds: int = 100, *, is_error: bool = False
) -> TrajectoryStepRecord:
    moment = NOON + timedelta(seconds=seconds)
    return TrajectoryStepRecord(tool, {"n": 1}, "", milliseconds, is_error, timestamp=moment)


def draw(*steps: TrajectoryStepRecord) -> ET.Element:
    return ET.fromstring(timeline.picture(steps))


def texts(svg: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in svg.findall("text")]


def bars(svg: ET.Element) -> dict[str, tuple[float, float, float]]:
    """Return the left edge, the width and the top of each bar, by its title."""
    boxes = {}
    for parent in (svg, *svg.findall("g")):
        title = parent.findtext("title")
        for bar in parent.findall("rect"):
            left, width = (float(bar.attrib[key].removesuffix("%")) for key in ("x", "width"))
            if text := bar.findtext("title") or title:
                boxes[text] = left, width, float(bar.attrib["y"])
    return boxes


def test_a_single_call_spans_the_picture() -> None:
    svg = draw(step(0, milliseconds=412))
    assert bars(svg) == {"1: bash(n=1), 12:00:00, 412 ms": (0, 100, 21)}
    assert texts(svg)[:2] == ["bash1 call · 412 ms", "12:00:00"]


def test_an_instant_call_is_visible() -> None:
    assert bars(draw(step(0, milliseconds=0))) == {"1: bash(n=1), 12:00:00, 0 ms": (0, 0.7, 21)}
    (*_, last) = bars(draw(step(0, milliseconds=1000), step(1, milliseconds=0))).values()
    assert last == (99.3, 0.7, 31)


def test_bars_are_in_proportion_to_time() -> None:
    svg = draw(step(0, milliseconds=1000), step(1, "grep", 1000), step(2, milliseconds=2000))
    assert [left for left, _, _ in bars(svg).values()] == [0, 50, 25]
    assert [width for _, width, _ in bars(svg).values()] == [25, 50, 25]


def test_tools_have_lanes_in_the_order_of_first_use() -> None:
    assert texts(draw(step(0, "b"), step(1, "a"), step(2, "b", is_error=True)))[:2] == [
        "b2 calls · 1 failed · 200 ms, longest 100 ms",
        "a1 call · 100 ms",
    ]


def test_the_rarest_of_many_tools_share_a_lane() -> None:
    steps = [step(n, f"tool{tool}") for n in range(3) for tool in range(6)] + [step(9, "rare"), step(9, "rarer")]
    labels = texts(draw(*steps))
    assert sum(label.startswith("tool") for label in labels) == 6
    assert "2 other tools2 calls · 200 ms, longest 100 ms" in labels
    assert sum("calls" in label for label in labels) == 7


def test_concurrent_calls_are_in_four_rows_at_most() -> None:
    svg = draw(*(step(0) for _ in range(6)), step(1))
    assert [top for _, _, top in bars(svg).values()] == [21, 31, 41, 51, 51, 51, 21]


def test_a_failed_call_is_red_and_has_a_pin() -> None:
    svg = draw(step(0), step(1, is_error=True))
    (failed,) = svg.findall("g")
    assert failed.findtext("title") == "2: bash(n=1), 12:00:01, 100 ms, failed"
    assert [part.attrib["fill"] for part in failed if part.tag != "title"] == [RED, RED]
    assert len(failed.findall("circle")) == 1
    assert svg.findall("circle") == []


def test_long_idle_times_are_cut_out_and_labelled() -> None:
    svg = draw(step(0), step(1), step(7200), step(7201), step(90_000))
    assert [text for text in texts(svg) if "idle" in text] == ["1 h 59 min idle", "22 h 59 min idle"]
    assert [text for text in texts(svg) if ":" in text] == ["12:00:00", "14:00:00", "03-02 13:00:00"]
    lefts = [left for left, _, _ in bars(svg).values()]
    assert lefts == sorted(lefts)
    assert lefts[1] > 20  # far apart, although an hour is cut out


def test_axis_labels_do_not_overlap() -> None:
    for seconds in (0.01, 1, 7, 60, 500, 5000, 86_400, 10**6, 10**8):
        svg = draw(*(step(seconds * n / 9) for n in range(10)))
        boxes = []
        for text in svg.findall("text")[1:]:
            width = 1.8 * len(text.text or "")
            position = float(text.attrib["x"].removesuffix("%"))
            left = position - {"start": 0, "middle": width / 2, "end": width}[text.attrib["text-anchor"]]
            boxes.append((left, left + width))
        ends = [edge for label in sorted(boxes) for edge in label]
        assert ends == sorted(ends)
        assert ends[0] >= 0
        assert ends[-1] <= 100
        assert len(boxes) >= 3


def test_a_call_beyond_the_calendar_is_drawn() -> None:
    svg = draw(step(0, milliseconds=2**64 - 1), step(5))
    assert len(bars(svg)) == 2
    assert "later" in texts(svg)


def test_many_calls_are_drawn_as_columns_of_bounded_size() -> None:
    steps = [step(n, f"tool{n % 3}", is_error=n % 50 == 0) for n in range(1000)]
    svg = draw(*steps, step(0, "long", 1_000_000))
    lanes = svg.findall("svg")
    assert len(lanes) == 4
    titles = [title.text or "" for title in lanes[0].iter("title")]
    assert titles[0] == "12:00:00: 5 calls, 1 failed"
    assert len(titles) == 80
    assert len(lanes[3].findall("g")) == 80  # it ran from the beginning to the end
    fills = {path.attrib.get("fill") for path in lanes[0].iter("path")}
    assert fills == {None, RED}
    assert len(timeline.picture(steps)) < 60_000


def test_all_columns_are_red_if_all_calls_failed() -> None:
    svg = draw(*(step(n, is_error=True) for n in range(200)))
    assert {path.attrib.get("fill") for path in svg.iter("path")} == {RED}


@pytest.mark.parametrize("number", [1, 2, 100, 200])
def test_the_order_of_the_records_does_not_matter(number: int) -> None:
    steps = [step(n * 7 % number, is_error=n % 9 == 0) for n in range(number)]
    assert texts(draw(*steps)) == texts(draw(*reversed(steps)))


def test_the_summary_has_number_duration_and_period() -> None:
    assert timeline.summary([]) == "0 tool calls"
    text = "2 tool calls, 1 failed, 200 ms of work, 2026-03-01 12:00:00 to 12:00:05 UTC"
    assert timeline.summary([step(5), step(0, is_error=True)]) == text


def test_a_naive_timestamp_is_drawn() -> None:
    with attrs.validators.disabled():
        naive = TrajectoryStepRecord("bash", None, timestamp=datetime(2026, 3, 1, 12))  # noqa: DTZ001  # the subject of the test
    assert len(bars(draw(naive, step(1)))) == 2
