"""The plot of how times grow."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from growth import THREADS, Panel
from timing import duration
from work import size

STYLE = {
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "svg.fonttype": "none",  # text is text, in the reader's font
    "svg.hashsalt": "oxios_state",
}


def draw(panels: list[Panel], path: Path) -> None:
    """Draw the panels as an SVG file of text and lines, which the same figures make the same again."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update(STYLE)
    figure, grid = import_module("matplotlib.pyplot").subplots(2, 2, figsize=(9, 7), layout="constrained")
    for axes, panel in zip(grid.flat, panels, strict=True):
        for name, curve in panel.curves.items():
            style = "o-" if name in panel.ours else "s--"
            axes.loglog(*zip(*curve, strict=True), style, markersize=3, linewidth=1, label=name)
        axes.set(title=panel.title, xlabel=panel.across, ylabel=panel.up)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.margins(y=0.15)
        axes.minorticks_off()
        if panel.across == "threads":
            axes.set(xticks=THREADS, yscale="linear", ylim=(0, None))
        axes.xaxis.set_major_formatter(_formatter(panel.across))
        axes.yaxis.set_major_formatter(_formatter(panel.up))
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def _formatter(unit: str) -> Any:
    """Return the formatter of the labels of an axis."""
    write = {"bytes": size, "seconds": duration, "seconds per session": duration}.get(unit, "{:,.0f}".format)
    return import_module("matplotlib.ticker").FuncFormatter(lambda value, _: write(value))
