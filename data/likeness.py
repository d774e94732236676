"""What data a run was fitted on, in a few numbers, and in what later data are unlike them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from groundvae.data.dataset import Dataset

NEAR = 0.25  # relative: how near a ratio of sizes is to that of two units
SAME = 0.05  # likewise: below, steps are the same
OTHER = 0.5  # likewise: beyond, a time grid is another one
UNITS = {
    180 / math.pi: "degrees where it knows radians",
    1000.0: "thousandths of the unit that it knows",
    1 / 1000.0: "thousands of the unit that it knows",
    math.pi / 180: "radians where it knows degrees",
}


def describe(data: Dataset) -> dict[str, float]:
    """The size of what was observed and, where there are times, their start, end and step, s.

    >>> found = describe(Dataset(np.ones((2, 3)), {"t": np.array([0.0, 0.1, 0.2])}))
    >>> {name: round(value, 6) for name, value in found.items()}
    {'size': 1.0, 'start': 0.0, 'end': 0.2, 'step': 0.1}
    """
    flat = np.abs(data.x.reshape(len(data), -1).astype(float))
    some = ~np.isnan(flat).all(axis=1)
    found = {"size": float(np.median(np.nanmax(flat[some], axis=1)))} if some.any() else {}
    times = data.coordinates.get("t")
    if times is None or times.shape[-1] < 2:
        return found
    rows = np.atleast_2d(times)
    return found | {
        "start": float(np.nanmin(rows)),
        "end": float(np.median(np.nanmax(rows, axis=1))),
        "step": float(np.nanmedian(np.diff(rows, axis=1))),
    }


def differences(known: Mapping[str, float], data: Dataset) -> Iterator[str]:
    """In what ``data`` are unlike those that were described as ``known``, each in a sentence."""
    found = describe(data)
    if known.get("size", 0) and found.get("size", 0):
        yield from _units("x is", found["size"] / known["size"])
    if not known.get("step") or "step" not in found:
        return
    told = list(_units("the steps of t are", found["step"] / known["step"]))
    yield from told
    if told:
        return
    if abs(found["start"] - known["start"]) > found["step"] + known["step"]:
        yield (
            f"t starts at {found['start']:.4g} s and the run was fitted on times from "
            f"{known['start']:.4g} s on, expected the same start: the model begins there"
        )
    spans = found["end"] - found["start"], known["end"] - known["start"]
    if any(abs(math.log(a / b)) > math.log1p(OTHER) for a, b in (spans, _steps(found, known))):
        yield (
            f"t has other steps or another length ({found['step']:.3g} s up to {found['end']:.3g} "
            f"s) than the run was fitted on ({known['step']:.3g} s up to {known['end']:.3g} s): "
            "where samples are few, intervals may hold less than they claim; fit on such times, or "
            "use --nuts"
        )


def other_times(known: Mapping[str, float], data: Dataset) -> bool:
    """Whether ``data`` begin or end at other times than those described, or have other steps."""
    found = describe(data)
    if "step" not in found or "step" not in known:
        return False
    off = {k: abs(found[k] - known[k]) for k in ("start", "end", "step")}
    return off["step"] > SAME * known["step"] or max(off["start"], off["end"]) > known["step"] / 2


def _steps(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[float, float]:
    return one["step"], other["step"]


def _units(what: str, ratio: float) -> Iterator[str]:
    for unit, words in UNITS.items():
        if abs(math.log(ratio / unit)) < math.log1p(NEAR):
            yield (
                f"{what} {ratio:.3g} times as large as what the run was fitted on, as {words} are"
            )
