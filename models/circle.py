"""Angles that wrap: the short way round, the mean direction, and a circle cut open.

Statistics of a line (means, variances, ranks, intervals) are right for an angle only on a line
that is cut where there are no draws. One formula for tensors, arrays and labelled arrays alike.
Source: Mardia & Jupp (2000), Directional Statistics, section 2.2.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

Angles = TypeVar("Angles", np.ndarray, Tensor, xr.DataArray)


def difference(a: Angles, b: Angles, period: float) -> Angles:
    """``a - b`` (...) the short way round, within half a period.

    >>> difference(np.array([0.1]), np.array([2.9]), 3.0).round(3)
    array([0.2])
    """
    return (a - b + period / 2) % period - period / 2


def mean_direction(angles: Angles, period: float, over: Any = 0) -> Angles:
    """Mean direction over an axis (or several, or named ones), in [0, period).

    >>> mean_direction(np.array([0.1, 2.9]), 3.0).round(3) % 3.0
    np.float64(0.0)
    """
    library: Any = torch if isinstance(angles, Tensor) else np
    turn = 2 * math.pi / period
    sine, cosine = (f(turn * angles).mean(over) for f in (library.sin, library.cos))
    direction: Angles = library.arctan2(sine, cosine) / turn % period
    return direction


def cut_open(angles: Angles, period: float, over: Any = 0) -> Angles:
    """Angles (draw, ...) on the line that is cut opposite to their mean direction ``over`` an axis.

    >>> bool(np.ptp(cut_open(np.array([0.1, 2.9]), 3.0)) < 0.21)
    True
    """
    centre = mean_direction(angles, period, over)
    return difference(angles, centre, period) + centre
