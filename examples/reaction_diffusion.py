"""Something that spreads and reacts; known: diffusion; not known: the reaction.

    groundvae fit examples/reaction_diffusion.py --out runs/reaction
    groundvae diagnose runs/reaction

Known: ``u_t = D u_ss`` on a line with absorbing ends. Left out, and in the data: Fisher's reaction,
``+ r u (1 - u)`` with a rate of each experiment's own.
"""

import numpy as np

import groundvae as gv
from groundvae.physics.advection_diffusion import curvature

POINTS = 24
PLACES = np.linspace(0.0, 1.0, POINTS)  # m
SPACING = float(PLACES[1] - PLACES[0])
TIMES = np.linspace(0.0, 1.0, 11)  # s
NOISE = 0.01


class Spread(gv.Dynamics):
    """Diffusion on a line; left out: a reaction."""

    diffusion = gv.Latent(gv.LogNormal(-4.5, 0.5), unit="m^2/s", meaning="diffusion coefficient")
    height = gv.Latent(gv.Uniform(0.1, 1.0), unit="1", meaning="concentration at the middle")
    states = {"u": POINTS}
    observed = "u"
    axes = ("time", "space")
    coordinates = {"t": "time", "s": "space"}
    quantity, unit = "concentration", "1"

    def initial(self, z, inputs):
        return {"u": z.height * z.height.new_tensor(np.sin(np.pi * PLACES))}

    def rate(self, t, state, z, inputs):
        return {"u": z.diffusion * curvature(state.u, SPACING)}


def simulate(n, seed):
    random = np.random.default_rng(seed)
    truth = {"diffusion": random.uniform(0.006, 0.02, n), "height": random.uniform(0.2, 0.8, n)}
    rate = random.uniform(1.0, 3.0, (n, 1))
    field, step = truth["height"][:, None] * np.sin(np.pi * PLACES), 0.002
    x = [field]
    for _ in range(len(TIMES) - 1):
        for _ in range(round(TIMES[1] / step)):
            padded = np.pad(field, ((0, 0), (1, 1)))
            bent = (padded[:, 2:] - 2 * field + padded[:, :-2]) / SPACING**2
            spread = truth["diffusion"][:, None] * bent
            field = field + step * (spread + rate * field * (1 - field))
        x.append(field)
    x = np.stack(x, 1)
    x += NOISE * random.standard_normal(x.shape)
    return gv.Dataset(x, {"t": TIMES, "s": PLACES}, truth)


residual = gv.UnknownField("u", spacing=SPACING)
gv.register("reaction-diffusion", Spread, residual=residual, simulate=simulate)
