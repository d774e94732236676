"""The program: reads the command line, runs a command, turns bad input into one sentence."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

import tyro

import groundvae
from groundvae.cli.commands import Command
from groundvae.cli.console import note, say
from groundvae.cli.output import lasting_output
from groundvae.cli.usage import one_sentence, refuse_repeats
from groundvae.inference.heap import keep_freed
from groundvae.inference.interruption import Stopped, stopping
from groundvae.physics.errors import InputError, NonFiniteError

DESCRIPTION = "Generative models in which part of the latent space is grounded by physics."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 well, 2 bad input, 128 + n stopped by signal n."""
    with lasting_output():
        return obey(sys.argv[1:] if arguments is None else arguments)


def obey(arguments: Sequence[str]) -> int:
    """Run one command, and tell what stopped it in one sentence."""
    if list(arguments) in (["--version"], ["-V"]):
        say(f"groundvae {groundvae.__version__}")
        return 0
    try:
        with stopping():
            carry_out(read(arguments))
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


def read(arguments: Sequence[str]) -> Command:
    """The command that the arguments describe."""
    refuse_repeats(arguments)
    with one_sentence():
        return tyro.cli(
            Command,
            args=arguments,
            prog="groundvae",
            description=DESCRIPTION,
            config=(tyro.conf.OmitSubcommandPrefixes,),
        )


def carry_out(command: Command) -> None:
    """Do what was typed: the module of the command's name is loaded only now, with all it needs."""
    keep_freed()
    module = importlib.import_module(f"groundvae.cli.{type(command).__name__.lower()}")
    module.run(command)


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
