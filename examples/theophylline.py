r"""Theophylline in 12 people; known: one compartment, mass balance; not known: how it is absorbed.

    groundvae fit examples/theophylline.py --data theophylline.csv --out runs/theophylline \
        --columns observation=Subject time=Time value=conc
    groundvae diagnose runs/theophylline --data theophylline.csv \
        --columns observation=Subject time=Time value=conc

The data are those of R (``datasets::Theoph``: Subject, Wt, Dose, Time, conc; oral doses in mg/kg,
concentrations in mg/L over 25 h), Boeckmann, Sheiner & Beal (1994), NONMEM users guide, part V.

What is swallowed leaves the gut at a rate that may change as it likes: a state, ``log_rate``, that
only the unknown moves. So mass is kept whatever the unknown does, and clearance and volume are
clearance and volume. The same trick serves any unknown that multiplies: contacts in an epidemic, a
friction that wears.
"""

import torch

import groundvae as gv

FASTEST = 8.0  # 1/h, of absorption: what may go up without bound becomes stiff for any solver


class Theophylline(gv.Dynamics):
    """One compartment; left out: how absorption goes."""

    clearance = gv.Latent(gv.LogNormal(-3.0, 0.5), unit="L/(h kg)", meaning="clearance")
    volume = gv.Latent(gv.LogNormal(-0.7, 0.4), unit="L/kg", meaning="volume of distribution")
    absorption = gv.Latent(
        gv.LogNormal(0.3, 0.7), unit="1/h", meaning="rate of absorption at first"
    )
    Dose = gv.Input(unit="mg/kg", meaning="oral dose")
    states = ("gut", "log_rate", "concentration")
    observed = "concentration"
    quantity, unit = "serum concentration", "mg/L"

    def initial(self, z, inputs):
        return {"gut": inputs.Dose, "log_rate": torch.log(z.absorption), "concentration": 0.0}

    def rate(self, t, state, z, inputs):
        absorbed = torch.exp(state.log_rate).clamp(max=FASTEST) * state.gut
        cleared = z.clearance * state.concentration
        return {
            "gut": -absorbed,
            "log_rate": 0.0,
            "concentration": (absorbed - cleared) / z.volume,
        }


residual = gv.Unknown("log_rate", sees=(), frequencies=4, span=12.0)
gv.register("theophylline", Theophylline, residual=residual)
