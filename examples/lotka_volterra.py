"""Hares and lynxes; known: births, deaths and what is eaten; not known: how well the lynxes hunt.

    groundvae fit examples/lotka_volterra.py --out runs/lynx
    groundvae diagnose runs/lynx

Known: ``hares' = growth hares - hunt hares lynxes`` and ``lynxes' = worth hunt hares lynxes - death
lynxes``. The interaction is not: ``hunt`` is what it likes to be, a state whose logarithm only the
unknown moves, so what is eaten is never negative and feeds whom it should. In the data lynxes get
full (Holling's second type): ``hunt = attack / (1 + 0.5 hares)``.
"""

import numpy as np
import torch
from scipy.integrate import solve_ivp

import groundvae as gv


class Wild(gv.Dynamics):
    """Two populations; left out: how well one hunts the other."""

    growth = gv.Latent(gv.LogNormal(0.0, 0.5), unit="1/year", meaning="of hares alone")
    death = gv.Latent(gv.LogNormal(-0.5, 0.5), unit="1/year", meaning="of lynxes alone")
    worth = gv.Latent(gv.LogNormal(-0.5, 0.3), unit="1", meaning="lynxes fed by a hare")
    attack = gv.Latent(gv.LogNormal(-0.5, 0.7), unit="1/year", meaning="the hunt at first")
    first_hares = gv.Latent(gv.LogNormal(0.0, 0.7), unit="thousand", meaning="hares at first")
    first_lynxes = gv.Latent(gv.LogNormal(0.0, 0.7), unit="thousand", meaning="lynxes at first")
    states = ("hares", "lynxes", "log_hunt")
    observed = ("hares", "lynxes")
    quantity, unit = "animals", "thousand"

    def initial(self, z, inputs):
        start = torch.log(z.attack)
        return {"hares": z.first_hares, "lynxes": z.first_lynxes, "log_hunt": start}

    def rate(self, t, state, z, inputs):
        eaten = torch.exp(state.log_hunt) * state.hares * state.lynxes
        return {
            "hares": z.growth * state.hares - eaten,
            "lynxes": z.worth * eaten - z.death * state.lynxes,
            "log_hunt": 0.0,
        }


TIMES = np.linspace(0.0, 8.0, 33)  # years
NOISE = 0.03


def simulate(n, seed):
    random = np.random.default_rng(seed)
    truth = {
        "growth": random.uniform(0.7, 1.3, n),
        "death": random.uniform(0.4, 0.8, n),
        "worth": random.uniform(0.5, 0.8, n),
        "first_hares": random.uniform(0.6, 2.0, n),
        "first_lynxes": random.uniform(0.6, 2.0, n),
    }
    attack = random.uniform(0.9, 1.5, n)
    truth["attack"] = attack / (1 + 0.2 * truth["first_hares"])

    def law(_, state):
        hares, lynxes = state.reshape(2, n)
        eaten = attack / (1 + 0.2 * hares) * hares * lynxes
        grown = truth["growth"] * hares - eaten
        return np.concatenate([grown, truth["worth"] * eaten - truth["death"] * lynxes])

    begin = np.concatenate([truth["first_hares"], truth["first_lynxes"]])
    solved = solve_ivp(law, (0, TIMES[-1]), begin, t_eval=TIMES, rtol=1e-8, atol=1e-8).y
    x = np.moveaxis(solved.reshape(2, n, -1), 0, -1)
    return gv.Dataset(x + NOISE * random.standard_normal(x.shape), {"t": TIMES}, truth)


residual = gv.Unknown("log_hunt", sees=(), frequencies=10)
gv.register("lotka-volterra", Wild, residual=residual, simulate=simulate)
