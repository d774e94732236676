"""The program: reads the command line, runs a command, turns bad input into one sentence."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from groundvae.cli.check import Check
from groundvae.cli.compare import Compare
from groundvae.cli.console import note
from groundvae.cli.data import Data
from groundvae.cli.diagnose import Diagnose
from groundvae.cli.fit import Fit
from groundvae.cli.listing import List
from groundvae.cli.output import lasting_output
from groundvae.cli.posterior import Posterior, Predict
from groundvae.cli.simulate import Simulate
from groundvae.cli.usage import one_sentence, refuse_repeats, tell_version
from groundvae.data.errors import InputError
from groundvae.inference.interruption import Stopped, stopping
from groundvae.physics.errors import NonFiniteError

Command = (
    Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Posterior, tyro.conf.subcommand("posterior")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Diagnose, tyro.conf.subcommand("diagnose")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[List, tyro.conf.subcommand("list")]
)

DESCRIPTION = "Generative models in which part of the latent space is grounded by physics."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 well, 2 bad input, 128 + n stopped by signal n."""
    with lasting_output():
        return obey(arguments)


def obey(arguments: Sequence[str] | None) -> int:
    """Run one command, and tell what stopped it in one sentence."""
    try:
        with stopping():
            read(arguments).run()
    except (InputError, NonFiniteError) as error:
        return refuse(str(error))
    except OSError as error:
        return refuse(f"{error.filename or 'a file'}: {error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return refuse("out of memory, expected fewer observations or draws")
    except KeyboardInterrupt as stop:
        note(str(stop) or "interrupted")
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)
    return 0


def read(arguments: Sequence[str] | None) -> Command:
    """The command that the arguments describe."""
    words = sys.argv[1:] if arguments is None else arguments
    tell_version(words)
    refuse_repeats(words)
    with one_sentence():
        return tyro.cli(
            Command,
            args=arguments,
            prog="groundvae",
            description=DESCRIPTION,
            config=(tyro.conf.OmitSubcommandPrefixes,),
        )


def out_of_memory(error: Exception) -> bool:
    """Whether that is what an error says: torch tells it in words.

    >>> out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    words = ("allocate memory", "out of memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def refuse(reason: str) -> int:
    """Say in one line what is wrong; returns the exit code of bad input."""
    sentence = reason.split("Trace Shapes:")[0]  # Pyro's table of sites is no sentence
    note("error: " + " ".join(sentence.split()))
    return 2


if __name__ == "__main__":
    sys.exit(main())
