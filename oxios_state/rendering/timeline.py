"""A timeline of tool calls as an SVG picture: a lane for each tool, what failed in red, long idle times cut out.

Positions are percentages, so that it is as wide as its cell and its text stays readable in a narrow one. A few calls
are drawn one by one; of many, how many ran at a time.
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
    arguments,
    clock,
    count,
    duration,
    in_utc,
    line,
    milliseconds,
    period,
    tool_calls,
)
from oxios_state.rendering.markup import Markup, element

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from oxios_state.model.records import TrajectoryStepRecord

_MOST_SINGLE = 120  # calls that are drawn one by one
_MOST_CUTS = 6
_MOST_ROWS = 4  # of calls that run at a time, in one lane
_COLUMNS = 80
_CUT = 2.5  # per cent of the width
_LEAST = 0.7  # per cent: what is shorter is drawn as wide as this
_CHARACTER = 1.8  # per cent: what a character takes of a narrow cell
_BETWEEN = 17  # per cent between the times below, at least
_ROW, _BARS, _LABEL = 10, 24, 19  # heights in pixels
# Seen on white and on black alike. What failed has a shape of its own too, for those who do not see colours.
_COLOURS = ("#3b82c4", "#b8791b", "#2a9d78", "#9b6dd0", "#7f8c2f", "#c2609a", "#7c8794")
_FAILED = "#e5484d"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000
_STEPS = [
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(
        1000 * seconds
        for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
    ),
    *(_DAY * days for days in (1, 2, 7, 14, 28, 91, 365)),
]  # milliseconds between labels


class _Segment(NamedTuple):
    start: float  # in milliseconds
    end: float
    left: float  # per cent
    width: float


class _Scale:
    """From moments to percentages of the width."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        whole = sum(end - start for start, end in spans)
        weights = [max(end - start, whole / 50, 1) for start, end in spans]
        room = 100 - _CUT * (len(spans) - 1)
        self.segments: list[_Segment] = []
        left = 0.0
        for (start, end), weight in zip(spans, weights, strict=True):
            width = room * weight / sum(weights)
            self.segments.append(_Segment(start, end, left, width))
            left += width + _CUT
        self._starts = [segment.start for segment in self.segments]

    def at(self, moment: float) -> float:
        """Give the place of a moment, in per cent."""
        segment = self.segments[bisect_right(self._starts, moment) - 1]
        if moment >= segment.end:
            return segment.left + (segment.width if segment.end > segment.start else 0)
        return segment.left + segment.width * (moment - segment.start) / (segment.end - segment.start)

    def moment(self, place: float) -> float:
        """Give the moment at a place, in milliseconds."""
        segment = self.segments[bisect_right([segment.left for segment in self.segments], place) - 1]
        return segment.start + (segment.end - segment.start) * min((place - segment.left) / segment.width, 1)


class _Calls:
    """Tool calls, with the milliseconds in which each started and ended."""

    # Lists of numbers, not an object for each call: of these the garbage collector would look at every one.
    def __init__(self, steps: Sequence[TrajectoryStepRecord]) -> None:
        self.steps = steps
        self.starts = [milliseconds(step.timestamp) for step in steps]
        self.ends = [start + step.duration_ms for start, step in zip(self.starts, steps, strict=True)]
        self.order = sorted(range(len(steps)), key=self.starts.__getitem__)
        self.scale = _Scale(self._busy_spans())

    def _busy_spans(self) -> list[tuple[float, float]]:
        """Give the time from the first call to the last, less the longest times in which nothing ran."""
        starts = [self.starts[index] for index in self.order]
        ends = list(accumulate((self.ends[index] for index in self.order), max))
        gaps = nlargest(_MOST_CUTS, zip(map(sub, starts[1:], ends), ends, starts[1:], strict=False))
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
        """Give the calls of each tool, in the order of first use; those of the rarest together, if there are many."""
        counted = Counter(self.steps[index].tool_name for index in self.order)
        most = len(counted) if len(counted) <= len(_COLOURS) else len(_COLOURS) - 1
        lanes: dict[str, list[int]] = {name: [] for name, _ in counted.most_common(most)}
        others: list[int] = []
        for index in self.order:
            lanes.get(self.steps[index].tool_name, others).append(index)
        yield from ((line(name, 30), lanes[name]) for name in counted if name in lanes)
        if others:
            yield count(len(counted) - most, "other tool"), others


def picture(steps: Sequence[TrajectoryStepRecord]) -> Markup:
    """Draw a timeline of some tool calls: at most seven lanes, of 30 to 65 pixels."""
    calls = _Calls(steps)
    draw = _singles if len(steps) <= _MOST_SINGLE else _crowd
    parts: list[Markup] = []
    top = 0
    for (name, lane), colour in zip(calls.lanes(), _COLOURS, strict=False):
        bars, height = draw(calls, lane, top + _LABEL, colour)
        parts.append(_lane_label(name, [steps[index] for index in lane], top))
        for segment in calls.scale.segments:  # with gaps where a time is cut out
            place = segment.left, top + _LABEL, segment.width, height
            parts.append(_bar(*place, "currentColor", fill_opacity="0.07"))
        parts += bars
        top += _LABEL + height + 7
    return element(
        "svg",
        *parts,
        *_axis(calls.scale, top),
        width="100%",
        height=top + (32 if len(calls.scale.segments) > 1 else 16),
        role="img",
        aria_label=f"Timeline of {count(len(steps), 'tool call')}",
        font_size=12,
        font_family="system-ui, sans-serif",
        fill="currentColor",
    )


def summary(steps: Sequence[TrajectoryStepRecord]) -> str:
    """Say how many tool calls there are, and of one or more, how long they ran and when."""
    if not steps:
        return tool_calls(steps)
    moments = [step.timestamp for step in steps]
    worked = duration(sum(step.duration_ms for step in steps))
    return f"{tool_calls(steps)}, {worked} of work, {period(min(moments, key=in_utc), max(moments, key=in_utc))}"


def _lane_label(name: str, lane: Sequence[TrajectoryStepRecord], top: int) -> Markup:
    failed = sum(step.is_error for step in lane)
    lengths = [step.duration_ms for step in lane]
    facts = [count(len(lane), "call")]
    facts += [f"{failed:,} failed"] if failed else []
    facts.append(duration(sum(lengths)))
    longest = element("tspan", f", longest {duration(max(lengths))}" if len(lane) > 1 else "", class_="oxs-wide")
    dim = element("tspan", " · ".join(facts), longest, dx=8, opacity="0.7")
    return element("text", element("tspan", name, font_weight=600), dim, y=top + 13)


def _singles(calls: _Calls, lane: Sequence[int], top: int, colour: str) -> tuple[list[Markup], int]:
    """Draw each call, below another one that runs at the same time."""
    drawn: list[Markup] = []
    taken: list[float] = []  # where the last bar of each row ends
    for index in lane:
        left = min(calls.scale.at(calls.starts[index]), 100 - _LEAST)
        width = max(calls.scale.at(calls.ends[index]) - left, _LEAST)
        row = next((row for row, end in enumerate(taken) if end <= left), len(taken))
        if row == len(taken) < _MOST_ROWS:
            taken.append(0)
        row = min(row, len(taken) - 1)
        taken[row] = left + width
        y = top + 2 + row * _ROW
        step = calls.steps[index]
        title = element("title", _description(index + 1, step))
        if step.is_error:
            bar = _bar(left, y, width, _ROW - 2, _FAILED)
            drawn.append(element("g", title, bar, _pin(left + min(width, _LEAST) / 2, y + _ROW / 2 - 1)))
        else:
            drawn.append(_bar(left, y, width, _ROW - 2, colour, title, rx=1.5))
    return drawn, len(taken) * _ROW + 2


def _description(number: int, step: TrajectoryStepRecord) -> str:
    failed = ", failed" if step.is_error else ""
    given = f"{line(step.tool_name, 40)}({arguments(step.tool_args, 60)})"
    return f"{number}: {given}, {clock(step.timestamp)}, {duration(step.duration_ms)}{failed}"


def _crowd(calls: _Calls, lane: Sequence[int], top: int, colour: str) -> tuple[list[Markup], int]:
    """Draw how many calls ran at a time, and how many of these failed."""
    changes = {False: [0] * (_COLUMNS + 1), True: [0] * (_COLUMNS + 1)}
    for index in lane:
        of_kind = changes[calls.steps[index].is_error]
        of_kind[_column(calls.scale.at(calls.starts[index]))] += 1
        of_kind[_column(calls.scale.at(calls.ends[index])) + 1] -= 1
    columns = list(zip(accumulate(changes[False]), accumulate(changes[True]), strict=True))
    most = max(map(sum, columns))
    drawn = []
    for column, (good, bad) in enumerate(columns):
        if running := good + bad:
            height = max(round(_BARS * running / most), 3)
            red = max(round(height * bad / running), 3) if bad else 0
            failed = f", {bad:,} failed" if bad else ""
            when = _label(calls.scale.moment(column * 100 / _COLUMNS), 1000)
            parts = [element("title", f"{when}: {count(running, 'call')}{failed}")]
            parts += [element("path", d=f"M{column} {_BARS - height}h.85V{_BARS - red}h-.85z")] if height > red else []
            parts += [element("path", d=f"M{column} {_BARS - red}h.85V{_BARS}h-.85z", fill=_FAILED)] if red else []
            drawn.append(element("g", *parts))
    # A picture of its own, in units of columns: paths are a third of the size of what has percentages.
    frame = {"viewBox": f"0 0 {_COLUMNS} {_BARS}", "preserveAspectRatio": "none", "width": "100%"}
    return [element("svg", *drawn, **frame, y=top, height=_BARS, fill=colour)], _BARS


def _column(place: float) -> int:
    return int(place * _COLUMNS / 100.001)


def _axis(scale: _Scale, top: int) -> Iterator[Markup]:
    """Draw the times below, and how long the times are that are cut out."""
    starts: list[tuple[float, str]] = []
    others: list[tuple[float, str]] = []
    day = ""
    for segment in scale.segments:
        for moment, step in _ticks(segment):
            today, text = _label(moment, _DAY), _label(moment, step)
            place = scale.at(moment), f"{today[5:]} {text}" if day not in {"", today} and step < _DAY else text
            (starts if moment == segment.start else others).append(place)
            day = today
    yield from _labels([*starts, *others], top + 11, opacity="0.8")
    cuts = [
        (after.left - _CUT / 2, f"{duration(after.start - before.end)} idle")
        for before, after in pairwise(scale.segments)
    ]
    yield from _labels(cuts, top + 27, opacity="0.6", font_style="italic")


def _labels(places: Iterable[tuple[float, str]], y: int, **attributes: str) -> Iterator[Markup]:
    """Write what fits beside each other in a narrow cell; what comes first takes its place first."""
    taken: list[tuple[float, float]] = []
    for place, text in places:
        half = len(text) * _CHARACTER / 2
        middle = min(max(place, half), 100 - half)
        left, right = middle - half - _CHARACTER / 2, middle + half + _CHARACTER / 2
        if all(right <= other_left or left >= other_right for other_left, other_right in taken):
            taken.append((left, right))
            anchor, at = (
                ("start", 0) if middle == half else ("end", 100) if middle == 100 - half else ("middle", middle)
            )
            yield element("text", text, x=f"{at:.4g}%", y=y, text_anchor=anchor, **attributes)


def _ticks(segment: _Segment) -> Iterator[tuple[float, float]]:
    """Give moments that are worth a label, each with the time to the next."""
    length = segment.end - segment.start
    least = length * _BETWEEN / segment.width
    step = next((step for step in _STEPS if step >= least), least)
    yield segment.start, step
    moment = (segment.start // step + 1) * step
    while moment <= segment.end:
        yield moment, step
        moment += step


def _label(moment: float, step: float) -> str:
    try:
        text = (_EPOCH + timedelta(milliseconds=round(moment))).isoformat(" ", "milliseconds")
    except OverflowError:  # what lasts until after the year 9999
        return "later"
    if step >= _DAY:
        return text[:10]
    return text[11:16] if step >= 60_000 else text[11:19] if step >= 1000 else text[11:23].rstrip("0").rstrip(".")


def _bar(
    left: float, top: float, width: float, height: float, fill: str, *content: str, **attributes: str | float
) -> Markup:
    place = {"x": f"{left:.4g}%", "y": f"{top:g}", "width": f"{width:.4g}%", "height": f"{height:g}"}
    return element("rect", *content, **place, fill=fill, **attributes)


def _pin(place: float, y: float) -> Markup:
    place = min(max(place, 1), 99)  # or it would be cut in half
    return element("circle", cx=f"{place:.4g}%", cy=f"{y:g}", r=4.5, fill=_FAILED, stroke="#fff", stroke_width=1)
