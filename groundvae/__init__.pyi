# The public names, each once: type checkers read them here, and so does groundvae/__init__.py,
# which imports a name from its module when it is first used (scientific Python's SPEC 1).
from pyro.distributions import LogNormal as LogNormal
from pyro.distributions import Normal as Normal
from pyro.distributions import Uniform as Uniform

from groundvae.data.dataset import Dataset as Dataset
from groundvae.data.input import Input as Input
from groundvae.data.reading import read as read
from groundvae.data.windows import windows as windows
from groundvae.diagnostics.reporting import report as report
from groundvae.inference.citation import citation as citation
from groundvae.inference.discovery import discovered as discovered
from groundvae.inference.fit import fit as fit
from groundvae.inference.generation import generate as generate
from groundvae.inference.posterior import PosteriorOptions as PosteriorOptions
from groundvae.inference.posterior import posterior as posterior
from groundvae.inference.run import Run as Run
from groundvae.inference.run import load_run as load_run
from groundvae.models.declared import register as register
from groundvae.models.dynamics import Dynamics as Dynamics
from groundvae.models.function import Function as Function
from groundvae.models.greybox import GreyBox as GreyBox
from groundvae.models.hamiltonian import Hamiltonian as Hamiltonian
from groundvae.models.intervention import Change as Change
from groundvae.models.latent import Latent as Latent
from groundvae.models.noises.correlated import Correlated as Correlated
from groundvae.models.noises.gaussian import Gaussian as Gaussian
from groundvae.models.noises.matern import Matern as Matern
from groundvae.models.noises.perchannel import PerChannel as PerChannel
from groundvae.models.noises.poisson import Poisson as Poisson
from groundvae.models.noises.spectral import Spectral as Spectral
from groundvae.models.noises.studentt import StudentT as StudentT
from groundvae.models.recipe import FitOptions as FitOptions
from groundvae.models.recipe import Recipe as Recipe
from groundvae.models.residuals.deeponet import DeepONet as DeepONet
from groundvae.models.residuals.network import Network as Network
from groundvae.models.residuals.offset import Offset as Offset
from groundvae.models.residuals.residual import Residual as Residual
from groundvae.models.residuals.unknown import Unknown as Unknown
from groundvae.models.residuals.unknownfield import UnknownField as UnknownField
from groundvae.models.residuals.waves import Waves as Waves

__version__: str
