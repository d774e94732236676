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

What may become fast is no state by itself: the share of the dose that is left in the gut is one by
its logarithm, and what the body holds is what has not been cleared less what the gut holds. Then no
step is too long for it, and no draw gives more than was swallowed.
"""

import torch

import groundvae as gv


class Theophylline(gv.Dynamics):
    """One compartment; left out: how absorption goes."""

    clearance = gv.Latent(gv.LogNormal(-3.0, 0.5), unit="L/(h kg)", meaning="clearance")
    volume = gv.Latent(gv.LogNormal(-0.7, 0.4), unit="L/kg", meaning="volume of distribution")
    absorption = gv.Latent(
        gv.LogNormal(0.0, 1.0), unit="1/h", meaning="rate of absorption at first"
    )
    Dose = gv.Input(unit="mg/kg", meaning="oral dose")
    states = ("kept", "log_left", "log_rate")
    quantity, unit, time_unit = "serum concentration", "mg/L", "h"

    def initial(self, z, inputs):
        return {"kept": inputs.Dose, "log_left": 0.0, "log_rate": torch.log(z.absorption)}

    def gut(self, state, inputs):  # what it still holds, mg/kg
        return inputs.Dose * torch.exp(state.log_left.clamp(max=0.0))

    def rate(self, t, state, z, inputs):
        cleared = z.clearance * (state.kept - self.gut(state, inputs)) / z.volume
        return {"kept": -cleared, "log_left": -torch.exp(state.log_rate), "log_rate": 0.0}

    def observe(self, state, z, inputs):
        return (state.kept - self.gut(state, inputs)) / z.volume


residual = gv.Unknown("log_rate", sees=())
gv.register("theophylline", Theophylline, residual=residual)
