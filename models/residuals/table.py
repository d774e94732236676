"""A function of time, tabulated for a solver."""

from __future__ import annotations

import bisect

from torch import Tensor


class Table:
    """A function of time, tabulated at the times at which a solver will ask, (stage, ...)."""

    def __init__(self, times: Tensor, values: Tensor) -> None:
        self._times, self._all = times.tolist(), values
        self._values = values.unbind(0)  # one backward node for all look-ups, not one for each

    def __call__(self, time: Tensor) -> Tensor:
        """The value at the known time nearest to ``time``, (...); of many times, (time, ...)."""
        nearest = [self._nearest(wanted) for wanted in time.reshape(-1).tolist()]
        return self._values[nearest[0]] if len(nearest) == 1 else self._all[nearest]

    def _nearest(self, wanted: float) -> int:
        after = bisect.bisect_left(self._times, wanted)
        near = [i for i in (after - 1, after) if 0 <= i < len(self._times)]
        return min(near, key=lambda i: abs(self._times[i] - wanted))
