"""The commands: each a typed dataclass whose fields are its options."""

import os
import warnings

from groundvae.data.cache import ensure_cache

ensure_cache()  # before ArviZ is imported, which needs one
# Once a day it announces its next version to everybody.
warnings.filterwarnings("ignore", category=FutureWarning, module="arviz")
# Before torch is imported: threads that have nothing to do sleep, and leave the machine to others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before NumPy is: its small matrices are no work for several threads, which would only wait.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
