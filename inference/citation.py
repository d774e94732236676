"""What to cite: the papers behind what a run used."""

from __future__ import annotations

from collections.abc import Iterator

from groundvae.guides.catalogue import GUIDES
from groundvae.inference.run import Run
from groundvae.models.dynamics import Dynamics
from groundvae.models.residuals.population import PopulationResidual

PAPERS = {
    "method": "Takeishi & Kalousis (2021), Physics-integrated variational autoencoders for robust "
    "and interpretable generative modeling, NeurIPS 34",
    "pyro": "Bingham et al. (2019), Pyro: deep universal probabilistic programming, Journal of "
    "Machine Learning Research 20(28)",
    "forces": "Alvarez, Luengo & Lawrence (2013), Linear latent force models using Gaussian "
    "processes, IEEE Transactions on Pattern Analysis and Machine Intelligence 35(11)",
    "evidence": "MacKay (1992), Bayesian interpolation, Neural Computation 4(3)",
    "relevance": "Tipping (2001), Sparse Bayesian learning and the relevance vector machine, "
    "Journal of Machine Learning Research 1",
    "flow": "Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows, NeurIPS 32",
    "shared": "Minka (2001), Expectation propagation for approximate Bayesian inference, "
    "Uncertainty in Artificial Intelligence 17",
    "solver": "Hairer, Norsett & Wanner (1993), Solving ordinary differential equations I",
    "simulation": "Hinton, Dayan, Frey & Neal (1995), The wake-sleep algorithm for "
    "unsupervised neural networks, Science 268",
    "importance": "Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance "
    "sampling, Journal of Machine Learning Research 25(72)",
    "arviz": "Kumar, Carroll, Hartikainen & Martin (2019), ArviZ, a unified library for "
    "exploratory analysis of Bayesian models in Python, Journal of Open Source Software 4(33)",
}


def citation(run: Run) -> str:
    """The papers of what a run used, a line each; groundvae itself is cited by CITATION.cff."""
    return "\n".join(PAPERS[name] for name in dict.fromkeys(_used(run)))


def _used(run: Run) -> Iterator[str]:
    yield "method"
    guide = run.config.how.guide
    if any(isinstance(each, PopulationResidual) for each in run.model.residuals):
        yield from ("forces", "evidence", "relevance")
    elif guide in GUIDES and run.config.options.sleep > 0:
        yield "simulation"
    if "flow" in guide:
        yield "flow"
    if run.model.shared:
        yield "shared"
    if isinstance(run.model.system, Dynamics):
        yield "solver"
    yield from ("importance", "pyro", "arviz")
