"""Options of guides: how large their networks are, and of how many pieces a flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from groundvae.data.errors import InputError


@dataclass(frozen=True)
class GuideOptions:
    """Sizes of a guide's networks; None is the guide's own choice.

    >>> GuideOptions(width=64).given()
    {'width': 64}
    """

    width: int | None = None
    """Units of a hidden layer of the networks that read the features; 128."""
    blocks: int | None = None
    """Skip blocks of these networks: 2, or 3 in a joint guide."""
    transforms: int | None = None
    """Of a flow: autoregressive transforms; 1."""
    hidden: int | None = None
    """Of a flow: units of both hidden layers of a transform; 64."""
    bins: int | None = None
    """Of a flow: bins of its splines; 8."""

    rounds: int | None = None
    """Of a laplace guide: Gauss-Newton steps from the first answer; 4."""

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            least = 2 if name == "bins" else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(
                    f"option {name} of the guide is {value!r}, expected a whole number of {least} "
                    "or more"
                )

    def given(self) -> dict[str, int]:
        """The options that are not left to the guide."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def pick(self, name: str, usual: int) -> int:
        """One option, or what is usual for it."""
        return self.given().get(name, usual)


KNOWN = tuple(field.name for field in fields(GuideOptions))


def guide_options(values: Mapping[str, int | None]) -> GuideOptions:
    """Options by name, as a saved run has them.

    Raises:
        InputError: an unknown option; the message lists the known ones.

    """
    unknown = sorted(set(values) - set(KNOWN))
    if unknown:
        raise InputError(f"no guide option {unknown[0]!r}, known: {', '.join(KNOWN)}")
    return GuideOptions(**values)


def check_options(guide: str, options: GuideOptions, known: tuple[str, ...]) -> None:
    """Refuse an option that is another guide's."""
    wrong = [name for name in options.given() if name not in known]
    if wrong:
        raise InputError(f"{guide} has no option {wrong[0]!r}, known: {', '.join(known)}")
