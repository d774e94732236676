"""Balls dropped from a bridge, measured; known: gravity, one for all; not known: the air.

    groundvae fit examples/ball_drops.py --data ball_drops.csv --out runs/balls
    groundvae diagnose runs/balls --data ball_drops.csv

Data: columns observation,time,value with heights in m, as in de Silva et al. (2020), Discovery of
physics from data, Frontiers in artificial intelligence 3, repository
``briandesilva/discovery-of-physics-from-data``. Of each ball height and speed at first are not
known either. Gravity is ``shared``: one value for all balls, inferred from all of them.
"""

import groundvae as gv


class Ball(gv.Dynamics):
    """Free fall; left out: drag."""

    gravity = gv.Latent(gv.LogNormal(2.3, 0.3), unit="m/s^2", meaning="free fall", shared=True)
    height0 = gv.Latent(gv.Normal(47.0, 2.0), unit="m", meaning="height of the release")
    velocity0 = gv.Latent(gv.Normal(0.0, 1.0), unit="m/s", meaning="velocity at the first sample")
    states = ("height", "velocity")
    observed = "height"
    quantity, unit = "height", "m"
    release = None  # initial() holds at each ball's first sample

    def initial(self, z, inputs):
        return {"height": z.height0, "velocity": z.velocity0}

    def rate(self, t, state, z, inputs):
        return {"height": state.velocity, "velocity": -z.gravity}


residual = gv.Unknown("velocity", sees=("velocity",), frequencies=0, span=1.0)
gv.register("ball-drops", Ball, residual=residual)
