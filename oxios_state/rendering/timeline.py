"""Timelines of tool calls, drawn as SVG: a lane for each tool, failures in red, long idle times cut out.

Positions are percentages, so that a timeline is as wide as its cell and its text stays readable in a narrow one. A few
calls are drawn one by one. Of many calls, the timeline shows how many ran at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from itertools import accumulate, chain, pairwise
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

from oxios_state.rendering.formatting import (
    call_arguments,
    count,
    duration,
    epoch_milliseconds,
    in_utc,
    one_line,
    period,
    time_of_day,
    tool_call_count,
)
from oxios_state.rendering.markup import Markup, element

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from oxios_state.model.records import TrajectoryStepRecord

_MAX_SINGLE = 120  # calls that are drawn one by one
_MAX_CUTS = 6
_MAX_ROWS = 4  # of calls in one lane that run at the same time
_COLUMNS = 80
# In per cent of the width:
_CUT_WIDTH = 2.5
_MIN_BAR_WIDTH = 0.7
_CHARACTER_WIDTH = 1.8  # in a narrow cell
_MIN_TICK_DISTANCE = 17
_ROW_HEIGHT, _CROWD_HEIGHT, _LABEL_HEIGHT = 10, 24, 19  # in pixels
# Visible on white and on black. A failure has a shape of its own too, for people who do not see colours.
_COLOURS = ("#3b82c4", "#b8791b", "#2a9d78", "#9b6dd0", "#7f8c2f", "#c2609a", "#7c8794")
_FAILED = "#e5484d"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000
_TICK_STEPS = [
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(
        1000 * seconds
        for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
    ),
    *(_DAY * days for days in (1, 2, 7, 14, 28, 91, 365)),
]  # milliseconds between ticks


class _AxisSpan(NamedTuple):
    """A stretch of time without cuts, and its place in the picture."""

    start: float  # in milliseconds
    end: float
    left: float  # per cent
    width: float


class _Scale:
    """The mapping between moments and percentages of the width."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        total = sum(end - start for start, end in spans)
        weights = [max(end - start, total / 50, 1) for start, end in spans]
        room = 100 - _CUT_WIDTH * (len(spans) - 1)
        self.spans: list[_AxisSpan] = []
        left = 0.0
        for (start, end), weight in zip(spans, weights, strict=True):
            width = room * weight / sum(weights)
            self.spans.append(_AxisSpan(start, end, left, width))
            left += width + _CUT_WIDTH
        self._starts = [span.start for span in self.spans]

    def position(self, moment: float) -> float:
        """Return the position of a moment, in per cent."""
        span = self.spans[bisect_right(self._starts, moment) - 1]
        if moment >= span.end:
            return span.left + (span.width if span.end > span.start else 0)
        return span.left + span.width * (moment - span.start) / (span.end - span.start)

    def moment(self, position: float) -> float:
        """Return the moment at a position, in milliseconds."""
        span = self.spans[bisect_right([span.left for span in self.spans], position) - 1]
        return span.start + (span.end - span.start) * min((position - span.left) / span.width, 1)


class _Calls:
    """Tool calls, with the milliseconds at which each started and ended."""

    # Lists of numbers, because the garbage collector would visit an object for each call.
    def __init__(self, steps: Sequence[TrajectoryStepRecord]) -> None:
        self.steps = steps
        self.starts = [epoch_milliseconds(step.timestamp) for step in steps]
        self.ends = [start + step.duration_ms for start, step in zip(self.starts, steps, strict=True)]
        self.order = sorted(range(len(steps)), key=self.starts.__getitem__)
        self.scale = _Scale(self._busy_spans())

    def _busy_spans(self) -> list[tuple[float, float]]:
        """Return the time from the first call to the last in spans, without the longest idle times."""
        starts = [self.starts[index] for index in self.order]
        ends = list(accumulate((self.ends[index] for index in self.order), max))
        gaps = nlargest(_MAX_CUTS, zip(map(sub, starts[1:], ends), ends, starts[1:], strict=False))
        rest = ends[-1] - starts[0]
        cuts = []
        for gap, end, start in gaps:
            if gap < max(0.15 * rest, 1000):
                break
            cuts.append((end, start))
            rest -= gap
        edges = [starts[0], *chain.from_iterable(sorted(cuts)), ends[-1]]
        return list(zip(edges[::2], edges[1::2], strict=True))

    def lanes(self) -> Iterator[tuple[str, list[int]]]:
        """Yield the name and the calls of each tool, in the order of first use. The rarest of many share a lane."""
        counts = Counter(self.steps[index].tool_name for index in self.order)
        own_lanes = len(counts) if len(counts) <= len(_COLOURS) else len(_COLOURS) - 1
        lanes: dict[str, list[int]] = {name: [] for name, _ in counts.most_common(own_lanes)}
        others: list[int] = []
        for index in self.order:
            lanes.get(self.steps[index].tool_name, others).append(index)
        yield from ((one_line(name, 30), lanes[name]) for name in counts if name in lanes)
        if others:
            yield count(len(counts) - own_lanes, "other tool"), others


def picture(steps: Sequence[TrajectoryStepRecord]) -> Markup:
    """Draw a timeline of at least one tool call: at most seven lanes, of 30 to 65 pixels."""
    calls = _Calls(steps)
    draw = _draw_singles if len(steps) <= _MAX_SINGLE else _draw_crowd
    parts: list[Markup] = []
    top = 0
    for (name, lane), colour in zip(calls.lanes(), _COLOURS, strict=False):
        bars, height = draw(calls, lane, top + _LABEL_HEIGHT, colour)
        parts.append(_lane_label(name, [steps[index] for index in lane], top))
        for span in calls.scale.spans:  # the background, with gaps where a time is cut out
            box = span.left, top + _LABEL_HEIGHT, span.width, height
            parts.append(_bar(*box, "currentColor", fill_opacity="0.07"))
        parts += bars
        top += _LABEL_HEIGHT + height + 7
    return element(
        "svg",
        *parts,
        *_axis(calls.scale, top),
        width="100%",
        height=top + (32 if len(calls.scale.spans) > 1 else 16),
        role="img",
        aria_label=f"Timeline of {count(len(steps), 'tool call')}",
        font_size=12,
        font_family="system-ui, sans-serif",
        fill="currentColor",
    )


def summary(steps: Sequence[TrajectoryStepRecord]) -> str:
    """Return how many tool calls there are, how long they ran, and when."""
    if not steps:
        return tool_call_count(steps)
    moments = [step.timestamp for step in steps]
    work = duration(sum(step.duration_ms for step in steps))
    return f"{tool_call_count(steps)}, {work} of work, {period(min(moments, key=in_utc), max(moments, key=in_utc))}"


def _lane_label(name: str, lane: Sequence[TrajectoryStepRecord], top: int) -> Markup:
    failed = sum(step.is_error for step in lane)
    lengths = [step.duration_ms for step in lane]
    facts = [count(len(lane), "call")]
    facts += [f"{failed:,} failed"] if failed else []
    facts.append(duration(sum(lengths)))
    longest = element("tspan", f", longest {duration(max(lengths))}" if len(lane) > 1 else "", class_="oxs-wide")
    dim = element("tspan", " · ".join(facts), longest, dx=8, opacity="0.7")
    return element("text", element("tspan", name, font_weight=600), dim, y=top + 13)


def _draw_singles(calls: _Calls, lane: Sequence[int], top: int, colour: str) -> tuple[list[Markup], int]:
    """Draw a bar for each call. Calls that run at the same time are drawn below each other."""
    bars: list[Markup] = []
    row_ends: list[float] = []  # where the last bar of each row ends
    for index in lane:
        left = min(calls.scale.position(calls.starts[index]), 100 - _MIN_BAR_WIDTH)
        width = max(calls.scale.position(calls.ends[index]) - left, _MIN_BAR_WIDTH)
        row = next((row for row, end in enumerate(row_ends) if end <= left), len(row_ends))
        if row == len(row_ends) < _MAX_ROWS:
            row_ends.append(0)
        row = min(row, len(row_ends) - 1)
        row_ends[row] = left + width
        y = top + 2 + row * _ROW_HEIGHT
        step = calls.steps[index]
        title = element("title", _description(index + 1, step))
        if step.is_error:
            bar = _bar(left, y, width, _ROW_HEIGHT - 2, _FAILED)
            pin = _pin(left + min(width, _MIN_BAR_WIDTH) / 2, y + _ROW_HEIGHT / 2 - 1)
            bars.append(element("g", title, bar, pin))
        else:
            bars.append(_bar(left, y, width, _ROW_HEIGHT - 2, colour, title, rx=1.5))
    return bars, len(row_ends) * _ROW_HEIGHT + 2


def _description(number: int, step: TrajectoryStepRecord) -> str:
    failed = ", failed" if step.is_error else ""
    call = f"{one_line(step.tool_name, 40)}({call_arguments(step.tool_args, 60)})"
    return f"{number}: {call}, {time_of_day(step.timestamp)}, {duration(step.duration_ms)}{failed}"


def _draw_crowd(calls: _Calls, lane: Sequence[int], top: int, colour: str) -> tuple[list[Markup], int]:
    """Draw a column for each part of the time: how many calls ran, and how many of them failed."""
    changes = {False: [0] * (_COLUMNS + 1), True: [0] * (_COLUMNS + 1)}  # by whether the calls failed
    for index in lane:
        of_outcome = changes[calls.steps[index].is_error]
        of_outcome[_column(calls.scale.position(calls.starts[index]))] += 1
        of_outcome[_column(calls.scale.position(calls.ends[index])) + 1] -= 1
    columns = list(zip(accumulate(changes[False]), accumulate(changes[True]), strict=True))
    most = max(map(sum, columns))
    bars = []
    for column, (good, bad) in enumerate(columns):
        if running := good + bad:
            height = max(round(_CROWD_HEIGHT * running / most), 3)
            red = max(round(height * bad / running), 3) if bad else 0
            failed = f", {bad:,} failed" if bad else ""
            time = _label(calls.scale.moment(column * 100 / _COLUMNS), 1000)
            parts = [element("title", f"{time}: {count(running, 'call')}{failed}")]
            middle = _CROWD_HEIGHT - red
            if height > red:
                parts.append(element("path", d=f"M{column} {_CROWD_HEIGHT - height}h.85V{middle}h-.85z"))
            if red:
                parts.append(element("path", d=f"M{column} {middle}h.85V{_CROWD_HEIGHT}h-.85z", fill=_FAILED))
            bars.append(element("g", *parts))
    # An inner picture in units of columns, because paths are a third of the size of elements with percentages.
    frame = {"viewBox": f"0 0 {_COLUMNS} {_CROWD_HEIGHT}", "preserveAspectRatio": "none", "width": "100%"}
    return [element("svg", *bars, **frame, y=top, height=_CROWD_HEIGHT, fill=colour)], _CROWD_HEIGHT


def _column(position: float) -> int:
    return int(position * _COLUMNS / 100.001)


def _axis(scale: _Scale, top: int) -> Iterator[Markup]:
    """Draw the times of day, and below them the lengths of the idle times that are cut out."""
    starts: list[tuple[float, str]] = []
    others: list[tuple[float, str]] = []
    day = ""
    for span in scale.spans:
        for moment, step in _ticks(span):
            today, text = _label(moment, _DAY), _label(moment, step)
            label = f"{today[5:]} {text}" if day not in {"", today} and step < _DAY else text
            (starts if moment == span.start else others).append((scale.position(moment), label))
            day = today
    yield from _labels([*starts, *others], top + 11, opacity="0.8")
    cuts = [
        (after.left - _CUT_WIDTH / 2, f"{duration(after.start - before.end)} idle")
        for before, after in pairwise(scale.spans)
    ]
    yield from _labels(cuts, top + 27, opacity="0.6", font_style="italic")


def _labels(labels: Iterable[tuple[float, str]], y: int, **attributes: str) -> Iterator[Markup]:
    """Draw the labels, each with its position, that fit beside each other in a narrow cell. Earlier ones go first."""
    taken: list[tuple[float, float]] = []
    for position, text in labels:
        half = len(text) * _CHARACTER_WIDTH / 2
        middle = min(max(position, half), 100 - half)
        left, right = middle - half - _CHARACTER_WIDTH / 2, middle + half + _CHARACTER_WIDTH / 2
        if all(right <= other_left or left >= other_right for other_left, other_right in taken):
            taken.append((left, right))
            anchor, x = ("start", 0) if middle == half else ("end", 100) if middle == 100 - half else ("middle", middle)
            yield element("text", text, x=f"{x:.4g}%", y=y, text_anchor=anchor, **attributes)


def _ticks(span: _AxisSpan) -> Iterator[tuple[float, float]]:
    """Yield the moments that get a label, each with the time to the next one."""
    length = span.end - span.start
    least = length * _MIN_TICK_DISTANCE / span.width
    step = next((step for step in _TICK_STEPS if step >= least), least)
    yield span.start, step
    moment = (span.start // step + 1) * step
    while moment <= span.end:
        yield moment, step
        moment += step


def _label(moment: float, step: float) -> str:
    try:
        text = (_EPOCH + timedelta(milliseconds=round(moment))).isoformat(" ", "milliseconds")
    except OverflowError:  # a call that lasts until after the year 9999
        return "later"
    if step >= _DAY:
        return text[:10]
    return text[11:16] if step >= 60_000 else text[11:19] if step >= 1000 else text[11:23].rstrip("0").rstrip(".")


def _bar(
    left: float, top: float, width: float, height: float, fill: str, *content: str, **attributes: str | float
) -> Markup:
    box = {"x": f"{left:.4g}%", "y": f"{top:g}", "width": f"{width:.4g}%", "height": f"{height:g}"}
    return element("rect", *content, **box, fill=fill, **attributes)


def _pin(position: float, y: float) -> Markup:
    position = min(max(position, 1), 99)  # a pin at the edge would be cut in half
    return element("circle", cx=f"{position:.4g}%", cy=f"{y:g}", r=4.5, fill=_FAILED, stroke="#fff", stroke_width=1)
