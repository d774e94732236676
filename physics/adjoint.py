"""The gradient of a recursion, all its steps differentiated at once.

Going backwards through a solver one step after the other pays the overhead of thousands of small
operations. But once a path is known, its steps do not depend on each other: each step's Jacobian
and its gradient in the parameters are one pass for all of them, and what is left to be done in
order is ``lambda_n = g_n + J_n^T lambda_{n+1}``, a product with a small matrix. This is the
gradient of the discrete recursion itself, to rounding, not an approximation of it. Source: Sandu
(2006), On the properties of Runge-Kutta discrete adjoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def linked(start: Tensor, path: Tensor, advance: Callable[[Tensor], Tensor]) -> Tensor:
    """A known ``path`` again, now with the gradient of the recursion that made it.

    Args:
        start: (..., dimension), ``path[0]``, with its gradient.
        path: (step + 1, ..., dimension).
        advance: takes states (step, ..., dimension), one for each step, to those that follow them;
            whatever stands in the same place along ``...`` must not depend on its neighbours.

    """
    before = path[:-1].detach().requires_grad_()
    with torch.enable_grad():
        after = advance(before)
    rows = [
        torch.autograd.grad(component.sum(), before, retain_graph=True)[0]
        for component in after.unbind(-1)
    ]
    reached = torch.cat([start.unsqueeze(0), after])
    linked: Tensor = _Recursion.apply(reached, torch.stack(rows, -2))
    return linked


class _Recursion(torch.autograd.Function):
    """States as they are; a gradient in one state is one in all those before it."""

    @staticmethod
    def forward(ctx: Any, reached: Tensor, jacobians: Tensor) -> Tensor:
        ctx.save_for_backward(jacobians)
        return reached.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (jacobians,) = ctx.saved_tensors
        *earlier, last = gradient.unbind(0)
        carried = [last]
        for own, jacobian in zip(reversed(earlier), reversed(jacobians.unbind(0)), strict=True):
            carried.append(own + (carried[-1].unsqueeze(-1) * jacobian).sum(-2))
        return torch.stack(carried[::-1]), None
