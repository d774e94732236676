"""A driven RLC circuit, one element of which is not what its label says.

    groundvae fit examples/rlc.py --out runs/rlc
    groundvae diagnose runs/rlc

Known: ``L i' = drive(t) - q / C - R i`` with L = 1 H, and the drive, a measured signal of each
circuit's own. Left out, and in the data: a second resistor that saturates, ``-2 tanh(3 i)``.
The current and the charge are measured.
"""

import numpy as np
from scipy.integrate import solve_ivp

import groundvae as gv


class Circuit(gv.Dynamics):
    """A coil, a capacitor and a known drive; left out: an element that is not linear."""

    capacity = gv.Latent(gv.LogNormal(-2.0, 0.5), unit="F", meaning="of the capacitor")
    drive = gv.Input(unit="V", meaning="of the source", over=("time",))
    states = ("charge", "current")
    observed = ("charge", "current")
    quantity, unit = "charge (C) and current (A)", ""

    def initial(self, z, inputs):
        return {"charge": 0.0, "current": 0.0}

    def rate(self, t, state, z, inputs):
        return {"charge": state.current, "current": inputs.drive - state.charge / z.capacity}


TIMES = np.linspace(0.0, 6.0, 61)
NOISE = 0.01


def simulate(n, seed):
    random = np.random.default_rng(seed)
    truth = {"capacity": random.uniform(0.08, 0.25, n)}
    frequency, phase = random.uniform(1.0, 4.0, n), random.uniform(0, 2 * np.pi, n)
    drive = 2 * np.sin(frequency[:, None] * TIMES + phase[:, None])

    def law(t, state):
        charge, current = state.reshape(2, n)
        volts = np.array([np.interp(t, TIMES, row) for row in drive])
        return np.concatenate(
            [current, volts - charge / truth["capacity"] - 2 * np.tanh(3 * current)]
        )

    solved = solve_ivp(law, (0, TIMES[-1]), np.zeros(2 * n), t_eval=TIMES, max_step=0.05).y
    x = np.moveaxis(solved.reshape(2, n, -1), 0, -1)
    x = x + NOISE * random.standard_normal(x.shape)
    return gv.Dataset(x, {"t": TIMES}, truth, {"drive": drive}, frozenset({"drive"}))


residual = gv.Unknown("current", sees=("current",), frequencies=0, span=1.0)
gv.register("rlc", Circuit, residual=residual, simulate=simulate)
