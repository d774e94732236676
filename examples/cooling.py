"""A cup that cools; known: Newton's law, the room is measured; not known: what else cools.

    groundvae fit examples/cooling.py --out runs/cooling
    groundvae diagnose runs/cooling

Known: ``T' = -rate (T - room)``, the room's temperature a known input. Left out, and in the data: a
draught that comes and goes, of each cup's own. It is a function of time, ``sees=()``: a loss that
grew with the temperature would be Newton's own by another name, and no data could tell them apart.
"""

import numpy as np
from scipy.integrate import solve_ivp

import groundvae as gv


class Cooling(gv.Dynamics):
    """A cup towards the room; left out: other losses."""

    rate_constant = gv.Latent(gv.LogNormal(-3.0, 0.5), unit="1/min", meaning="Newton's constant")
    start = gv.Latent(gv.Normal(80.0, 10.0), unit="degC", meaning="temperature at first")
    room = gv.Input(unit="degC", meaning="temperature of the room")
    states = ("temperature",)
    observed = "temperature"
    quantity, unit = "temperature", "degC"

    def initial(self, z, inputs):
        return {"temperature": z.start}

    def rate(self, t, state, z, inputs):
        return {"temperature": -z.rate_constant * (state.temperature - inputs.room)}


TIMES = np.linspace(0.0, 60.0, 31)  # min
NOISE = 0.2  # degC


def simulate(n, seed):
    random = np.random.default_rng(seed)
    truth = {"rate_constant": random.uniform(0.03, 0.08, n), "start": random.uniform(70, 90, n)}
    room, wind = random.uniform(15, 25, n), random.uniform(0, 0.5, n)
    period, phase = random.uniform(10, 30, n), random.uniform(0, 2 * np.pi, n)

    def law(t, warm):
        draught = wind * np.sin(2 * np.pi * t / period + phase)
        return -truth["rate_constant"] * (warm - room) - draught

    x = solve_ivp(law, (0, TIMES[-1]), truth["start"], t_eval=TIMES, rtol=1e-8, atol=1e-8).y
    x = x + NOISE * random.standard_normal(x.shape)
    return gv.Dataset(x, {"t": TIMES}, truth, {"room": room}, frozenset({"room"}))


gv.register("cooling", Cooling, residual=gv.Unknown("temperature", sees=()), simulate=simulate)
