"""Hares and lynxes; known: how they grow and die alone; not known: what they do to each other.

    groundvae fit examples/lotka_volterra.py --out runs/lynx
    groundvae diagnose runs/lynx

Known: ``hares' = growth hares``, ``lynxes' = -death lynxes``. Left out, and in the data: hunting,
``-0.8 hares lynxes`` and ``+0.6 hares lynxes``, both in thousands, per year.
"""

import numpy as np
from scipy.integrate import solve_ivp

import groundvae as gv


class Wild(gv.Dynamics):
    """Two populations, each alone; left out: their interaction."""

    growth = gv.Latent(gv.LogNormal(0.0, 0.5), unit="1/year", meaning="of hares alone")
    death = gv.Latent(gv.LogNormal(0.0, 0.5), unit="1/year", meaning="of lynxes alone")
    first_hares = gv.Latent(gv.LogNormal(0.0, 0.5), unit="thousand", meaning="hares at first")
    first_lynxes = gv.Latent(gv.LogNormal(0.0, 0.5), unit="thousand", meaning="lynxes at first")
    states = ("hares", "lynxes")
    observed = ("hares", "lynxes")
    quantity, unit = "animals", "thousand"

    def initial(self, z, inputs):
        return {"hares": z.first_hares, "lynxes": z.first_lynxes}

    def rate(self, t, state, z, inputs):
        return {"hares": z.growth * state.hares, "lynxes": -z.death * state.lynxes}


TIMES = np.linspace(0.0, 8.0, 33)  # years
NOISE = 0.03


def simulate(n, seed):
    random = np.random.default_rng(seed)
    truth = {
        "growth": random.uniform(0.7, 1.3, n),
        "death": random.uniform(0.7, 1.3, n),
        "first_hares": random.uniform(0.6, 2.0, n),
        "first_lynxes": random.uniform(0.6, 2.0, n),
    }

    def law(_, state):
        hares, lynxes = state.reshape(2, n)
        met = hares * lynxes
        return np.concatenate(
            [truth["growth"] * hares - 0.8 * met, -truth["death"] * lynxes + 0.6 * met]
        )

    begin = np.concatenate([truth["first_hares"], truth["first_lynxes"]])
    solved = solve_ivp(law, (0, TIMES[-1]), begin, t_eval=TIMES, rtol=1e-8, atol=1e-8).y
    x = np.moveaxis(solved.reshape(2, n, -1), 0, -1)
    return gv.Dataset(x + NOISE * random.standard_normal(x.shape), {"t": TIMES}, truth)


residual = gv.Unknown(("hares", "lynxes"), degree=2, frequencies=0, span=1.0)
gv.register("lotka-volterra", Wild, residual=residual, simulate=simulate)
