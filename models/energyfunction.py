"""A learned energy: what is known of a law is only that it keeps one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from groundvae.models.hamiltonian import Hamiltonian
from groundvae.models.values import Values


class EnergyFunction(nn.Module):
    """``H = 1/2 sum_i rate_i (p_i^2 + q_i^2) + V(q)``, V a perceptron of one hidden layer.

    Quadratic in the momenta, so separable: an explicit symplectic solver keeps it. It begins
    as oscillators at the angular frequencies ``rates`` (coordinate,), rad/s. The gradient is
    written out: it is asked for at every step, and automatic differentiation twice over would
    cost several times as much.
    Source: Greydanus, Dzamba & Yosinski (2019), Hamiltonian neural networks.
    """

    def __init__(self, rates: Tensor, *, width: int = 128) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(torch.log(rates))
        self.hidden = nn.Linear(len(rates), width)
        self.height = nn.Parameter(0.1 * torch.randn(width) / math.sqrt(width))

    def forward(self, state: Tensor) -> Tensor:
        """H (...) of states (..., 2 dimension), 1/s."""
        q, p = state.chunk(2, dim=-1)
        quadratic = 0.5 * (self.log_rate.exp() * (q**2 + p**2)).sum(-1)
        return quadratic + functional.softplus(self.hidden(q)) @ self.height

    def velocity(self, p: Tensor) -> Tensor:
        """``dT/dp`` of momenta (..., dimension)."""
        return self.log_rate.exp() * p

    def force(self, q: Tensor) -> Tensor:
        """``-dV/dq`` of positions (..., dimension)."""
        pull = -(self.height[:, None] * self.hidden.weight).T
        return functional.linear(torch.sigmoid(self.hidden(q)), pull) - self.log_rate.exp() * q


class LearnedHamiltonian(Hamiltonian):
    """Mechanics of which nothing is known but that it keeps an energy: that is learned."""

    keeps_energy = True
    hamiltonian: EnergyFunction

    def velocity(self, p: Tensor) -> Tensor:
        return self.hamiltonian.velocity(p)

    def force(self, q: Tensor) -> Tensor:
        return self.hamiltonian.force(q)

    def energy(self, states: Tensor, z: Values) -> Tensor:
        energy: Tensor = self.hamiltonian(states)
        return energy
