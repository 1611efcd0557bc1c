"""What all figures of a report share: lines, bands, dots with intervals, axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rllib_calsheq.results.palette import FURTHER, GOAL, GUIDE, MAIN, PAIR

Trace = dict[str, Any]
#: Points of a line, at most; those of all runs of a figure together.
MOST_POINTS, MOST_OF_ALL = 400, 3000
#: Points that a line keeps in any case.
LEAST_POINTS = 40
#: Digits that are kept of a number.
DIGITS = 5
#: Opacity of a band around a line.
BAND = 0.16
#: Colours of several runs; dashes tell those apart that have one colour.
RUN_COLOURS = (*PAIR, GOAL, *FURTHER)
DASHES = ("solid", "dash", "dot", "dashdot")
#: Height of a row of dots, of what stands around them, and of a figure of lines, in pixels.
ROW_HEIGHT, AROUND_ROWS, LINES_HEIGHT = 26, 110, 380


def compact(values: npt.ArrayLike) -> list[float | None]:
    """Numbers with as many digits as a figure shows, None for those that are not finite."""
    array = np.asarray(values, dtype=np.float64).ravel()
    return [float(f"{v:.{DIGITS}g}") if math.isfinite(v) else None for v in array]


def thinned(history: pd.DataFrame, runs: int) -> pd.DataFrame:
    """Some rows of a history, evenly, the first and the last among them."""
    most = max(LEAST_POINTS, min(MOST_POINTS, MOST_OF_ALL // max(runs, 1)))
    if len(history) <= most:
        return history
    return history.iloc[np.unique(np.linspace(0, len(history) - 1, most).round().astype(int))]


def run_colour(k: int) -> str:
    """Colour of the k-th run."""
    return RUN_COLOURS[k % len(RUN_COLOURS)]


def run_dash(k: int) -> str:
    """Dash of the k-th run."""
    return DASHES[k // len(RUN_COLOURS) % len(DASHES)]


def clear(colour: str, opacity: float = BAND) -> str:
    """A colour ``#rrggbb``, so opaque."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def line(x: npt.ArrayLike, y: npt.ArrayLike, name: str, colour: str = MAIN, **more: Any) -> Trace:
    """A line; ``run``, ``group``, ``dash`` and ``shown`` (in the legend) may be given."""
    trace: Trace = {
        "type": "scatter", "mode": "lines", "name": name, "x": compact(x), "y": compact(y),
        "line": {"color": colour, "width": 2, "dash": more.get("dash", "solid")},
        "hovertemplate": f"{name}: %{{y:.4g}}<extra>stage %{{x}}</extra>",
    }  # fmt: skip
    return _placed(trace, more)


def band(
    x: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, colour: str = MAIN, **more: Any
) -> Trace:
    """What lies between two lines, shaded; in no legend."""
    ends = np.asarray(low, float), np.asarray(high, float)
    known = np.isfinite(ends[0]) & np.isfinite(ends[1])
    at, below, above = (values[known] for values in (np.asarray(x, float), *ends))
    trace: Trace = {
        "type": "scatter", "mode": "lines", "fill": "toself", "hoverinfo": "skip",
        "x": compact(np.concatenate([at, at[::-1]])),
        "y": compact(np.concatenate([above, below[::-1]])),
        "fillcolor": clear(colour, more.pop("opacity", BAND)), "line": {"width": 0},
    }  # fmt: skip
    return _placed(trace, {**more, "shown": False})


def level(x: npt.ArrayLike, y: float, name: str, colour: str = GOAL, **more: Any) -> Trace:
    """A horizontal line over the range of x, dashed."""
    ends = np.asarray(x, float)[[0, -1]]
    return line(ends, [y, y], name, colour, **{"dash": "dash", **more})


def dots(
    names: Sequence[str],
    values: npt.ArrayLike,
    name: str,
    colour: str = MAIN,
    ends: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    texts: Sequence[str] | None = None,
    **more: Any,
) -> Trace:
    """A dot in each named row, with an interval if there is one; ``symbol`` may be given."""
    trace: Trace = {
        "type": "scatter", "mode": "markers", "name": name, "y": list(names),
        "x": compact(values),
        "marker": {"color": colour, "size": more.get("size", 9),
                   "symbol": more.get("symbol", "circle")},
        "text": list(texts) if texts is not None else list(names),
        "hovertemplate": "%{text}<extra>" + name + "</extra>",
    }  # fmt: skip
    if ends is not None:
        at = np.asarray(values, float)
        trace["error_x"] = {
            "type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 0,
            "array": compact(np.asarray(ends[1], float) - at),
            "arrayminus": compact(at - np.asarray(ends[0], float)),
        }  # fmt: skip
    return _placed(trace, more)


def bars(
    names: Sequence[str], lows: npt.ArrayLike, highs: npt.ArrayLike, name: str, colour: str,
    width: float, **more: Any,
) -> Trace:  # fmt: skip
    """An interval in each named row as a thick line."""
    x: list[float | None] = []
    y: list[str | None] = []
    ends = zip(names, compact(lows), compact(highs), strict=True)
    for row, low, high in ends:
        x += [low, high, None]
        y += [row, row, None]
    trace: Trace = {
        "type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "hoverinfo": "skip",
        "line": {"color": colour, "width": width},
    }  # fmt: skip
    return _placed(trace, more)


def _placed(trace: Trace, more: Mapping[str, Any]) -> Trace:
    if more.get("run") is not None:
        trace["meta"] = more["run"]
    if more.get("group") is not None:
        trace["legendgroup"] = more["group"]
    trace["showlegend"] = more.get("shown", True)
    if more.get("axis") is not None:
        trace["xaxis"] = more["axis"]
    return trace


def lines_layout(y: str, height: int = LINES_HEIGHT, **more: Any) -> dict[str, Any]:
    """Layout of lines over the stages."""
    return {
        "height": height, "hovermode": "x unified" if more.pop("unified", False) else "closest",
        "xaxis": {"title": {"text": "stage"}, "zeroline": False},
        "yaxis": {"title": {"text": y}, "zeroline": False, "automargin": True, **more},
    }  # fmt: skip


def rows_layout(names: Sequence[str], x: str, **more: Any) -> dict[str, Any]:
    """Layout of named rows, the first on top."""
    return {
        "height": AROUND_ROWS + ROW_HEIGHT * len(names),
        "hovermode": "closest",
        "xaxis": {"title": {"text": x}, "zeroline": False, "automargin": True, **more},
        "yaxis": {
            "type": "category", "categoryorder": "array", "categoryarray": list(names)[::-1],
            "range": [-0.7, len(names) - 0.3], "automargin": True, "ticklabelstandoff": 4,
        },
    }  # fmt: skip


def span(low: float, high: float, colour: str = GOAL, opacity: float = 0.12) -> dict[str, Any]:
    """A vertical strip over the whole height, as a shape of a layout."""
    return {
        "type": "rect", "xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1,
        "fillcolor": clear(colour, opacity), "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def upright(x: float, colour: str = GUIDE, dash: str = "solid") -> dict[str, Any]:
    """A vertical line over the whole height, as a shape of a layout."""
    return {
        "type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1,
        "line": {"color": colour, "width": 1, "dash": dash}, "layer": "below",
    }  # fmt: skip
