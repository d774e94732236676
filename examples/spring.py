"""Your own physics: a mass on a spring, whose stiffness is known to matter; its drag is not known.

One file, and all commands of groundvae are there for it:

    groundvae fit examples/spring.py --out runs/spring
    groundvae diagnose runs/spring

Known: ``x'' = -omega^2 x``. Left out, and in the data: quadratic drag, ``-drag |x'| x'``. The mass
is let go at rest, ``start`` from where it hangs. Copy the file, and replace the law, the latents
and the data with yours.
"""

import numpy as np
from scipy.integrate import solve_ivp

import groundvae as gv


class Spring(gv.Dynamics):
    """A mass on a spring; known: the spring; left out: drag."""

    omega = gv.Latent(gv.LogNormal(0.5, 0.5), unit="rad/s", meaning="sqrt(k / m)")
    start = gv.Latent(gv.Normal(0.0, 1.0), unit="m", meaning="where the mass is let go")
    states = ("position", "velocity")
    observed = "position"
    quantity, unit = "position", "m"

    def initial(self, z, inputs):
        return {"position": z.start, "velocity": 0.0}

    def rate(self, t, state, z, inputs):
        return {"position": state.velocity, "velocity": -(z.omega**2) * state.position}


# Where data come from: here a simulator; with data of your own, ``--data FILE``.
TIMES = np.linspace(0.0, 3.0, 31)
NOISE = 0.02  # m


def simulate(n, seed):
    random = np.random.default_rng(seed)
    truth = {
        "omega": random.uniform(1.0, 3.0, n),
        "start": random.uniform(0.3, 1.0, n) * random.choice([-1.0, 1.0], n),
        "drag": random.uniform(0.0, 1.0, n),  # 1/m
    }

    def law(_, state):
        position, velocity = state.reshape(2, n)
        drag = truth["drag"] * np.abs(velocity) * velocity
        return np.concatenate([velocity, -(truth["omega"] ** 2) * position - drag])

    begin = np.concatenate([truth["start"], np.zeros(n)])
    solved = solve_ivp(law, (0, TIMES[-1]), begin, t_eval=TIMES, rtol=1e-8, atol=1e-8)
    x = solved.y[:n] + NOISE * random.standard_normal((n, len(TIMES)))
    return gv.Dataset(x, {"t": TIMES}, truth)


# What is missing: something that pushes or brakes, of which nothing is known.
gv.register(
    "spring",
    Spring,
    residual=gv.Unknown("velocity"),
    simulate=simulate,
    references=("omega", "start", "drag"),
)
