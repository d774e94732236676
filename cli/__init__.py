"""The commands: each a typed dataclass whose fields are its options."""

import warnings

# Before any command imports ArviZ: once a day it announces its next version to everybody.
warnings.filterwarnings("ignore", category=FutureWarning, module="arviz")
