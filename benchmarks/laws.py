"""Hidden laws: simulators of motions whose physics is known in part, to try residuals on.

Each law is a known physics and something that it leaves out. States are those of the physics
(``pendulum`` and ``spring``: position and velocity; ``oscillator``: the same, with a known linear
friction; ``lotka``: prey and predators). Nothing here is given to a model but ``x``, ``t`` and
the name of the physics; the true latents are for scoring.

Sources: the pendulum and its ranges are those of Takeishi & Kalousis (2021), section 4.1
(data/pendulum.py); the spring is that of examples/spring.py; the others are textbook terms
(Coulomb friction, Duffing's cubic, a diode-like conductor, crowding of prey), ranges ours.
Every jump is smoothed over a few milliseconds, so that DOP853 at 1e-9 is exact enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

Array = NDArray[np.float64]
Latents = dict[str, Array]
Push = Callable[[float, Array, Array, Mapping[str, Array]], Array]

TOGETHER = 50  # series solved as one system
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Law:
    """What moves, what is known of it, what is hidden.

    Attributes:
        name: of the law.
        physics: what a model is told: ``pendulum``, ``spring``, ``oscillator`` or ``lotka``.
        latents: names of the physics latents, in the order of the physics.
        times: where it is observed, s (``lotka``: years).
        noise: standard deviation of an observation, in the unit of the state.
        observed: indices of the states observed.
        draw: latents of n series, physical and hidden, from a generator.
        initial: states at the start, (state, series).
        rate: time derivative of the states, (state, series).
        doubled: the latent of the counterfactual.

    """

    name: str
    physics: str
    latents: tuple[str, ...]
    times: Array
    noise: float
    observed: tuple[int, ...]
    draw: Callable[[np.random.Generator, int], Latents]
    initial: Callable[[Mapping[str, Array]], Array]
    rate: Callable[[float, Array, Mapping[str, Array]], Array]
    doubled: str = "omega"

    def simulate(self, n: int, seed: int) -> Latents:
        """``x`` (series, time[, channel]), ``t`` (time,), true latents by name (series,)."""
        random = np.random.default_rng(seed)
        latents = self.draw(random, n)
        path = self.path(latents, self.times)
        x = path + self.noise * random.standard_normal(path.shape)
        return {"x": x, "t": self.times, **latents}

    def truth(
        self, sample: Mapping[str, Array], horizon: float = 4.0, factor: float = 1.0
    ) -> tuple[Array, Array]:
        """Times to ``horizon`` windows, and noiseless motion with ``doubled`` times ``factor``."""
        step = self.times[1] - self.times[0]
        times = step * np.arange(round(horizon * (len(self.times) - 1)) + 1)
        latents = {k: v for k, v in sample.items() if k not in ("x", "t")}
        latents[self.doubled] = factor * latents[self.doubled]
        return times, self.path(latents, times)

    def path(self, latents: Mapping[str, Array], times: Array) -> Array:
        """Noiseless observations, (series, time) or (series, time, channel) of several channels."""
        n = len(latents[self.latents[0]])
        states = np.concatenate(
            [
                self._together({k: v[i : i + TOGETHER] for k, v in latents.items()}, times)
                for i in range(0, n, TOGETHER)
            ]
        )
        seen = states[..., list(self.observed)]
        return seen[..., 0] if len(self.observed) == 1 else seen

    def _together(self, latents: Mapping[str, Array], times: Array) -> Array:
        start = self.initial(latents)

        def flat(t: float, y: Array) -> Array:
            return self.rate(t, y.reshape(start.shape), latents).ravel()

        solved = solve_ivp(
            flat,
            (times[0], times[-1]),
            start.ravel(),
            "DOP853",
            t_eval=times,
            rtol=TOLERANCE,
            atol=TOLERANCE,
            max_step=float(times[1] - times[0]),
        )
        return np.asarray(np.moveaxis(solved.y.reshape(*start.shape, len(times)), 0, -1))


def _none(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    return 0.0 * q


def _law(
    name: str,
    physics: str,
    hidden: Mapping[str, tuple[float, float]],
    push: Push,
    **changes: object,
) -> Law:
    """A law of position and velocity: known physics, plus ``push`` on the velocity's rate.

    ``hidden`` are uniform ranges of what the push depends on; ``*name`` draws thirty of a kind.
    """
    pendulum = physics == "pendulum"
    ranges = {"omega": (0.785, 3.14) if pendulum else (1.0, 3.0)}
    if physics == "oscillator":
        ranges["gamma"] = (0.1, 0.8)

    def draw(random: np.random.Generator, n: int) -> Latents:
        out = {k: random.uniform(*b, n) for k, b in ranges.items()}
        if pendulum:
            out["theta0"] = random.uniform(-1.57, 1.57, n)
        else:
            out["start"] = random.uniform(0.3, 1.0, n) * random.choice([-1.0, 1.0], n)
        for k, b in hidden.items():
            out[k.strip("*")] = random.uniform(*b, (n, 30) if k.startswith("*") else n)
        return out

    first = "theta0" if pendulum else "start"

    def initial(z: Mapping[str, Array]) -> Array:
        return np.stack([z[first], np.zeros_like(z[first])])

    def rate(t: float, y: Array, z: Mapping[str, Array]) -> Array:
        q, v = y
        known = -(z["omega"] ** 2) * (np.sin(q) if pendulum else q)
        if physics == "oscillator":
            known = known - z["gamma"] * v
        return np.stack([v, known + push(t, q, v, z)])

    law = Law(
        name,
        physics,
        (*ranges, first),
        0.05 * np.arange(50) if pendulum else np.linspace(0.0, 3.0, 31),
        0.01 if pendulum else 0.02,
        (0,),
        draw,
        initial,
        rate,
    )
    return replace(law, **changes)  # type: ignore[arg-type]


def _wave(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    drive = z["amplitude"] * z["omega"] ** 2 * np.cos(2 * np.pi * z["frequency"] * t)
    return drive - z["friction"] * v


def _chirp(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    phase = 2 * np.pi * (z["frequency"] * t + 0.5 * z["sweep"] * t * t)
    return z["amplitude"] * np.cos(phase) - z["friction"] * v


def _step(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    on = 0.5 * (1 + np.tanh((t - z["when"]) / 0.005))
    return z["height"] * on - z["friction"] * v


def _smooth(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """Random Fourier features of a process correlated over about 0.3 s."""
    phase = 2 * np.pi * (2 * z["rates"] ** 2 * t + z["phases"])
    return z["amplitude"] * np.sqrt(2 / 30) * np.cos(phase).sum(1)


def _tones(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    phase = 2 * np.pi * (z["frequencies"][:, :3] * t + z["phases"][:, :3])
    return (z["amplitudes"][:, :3] * np.cos(phase)).sum(1) - z["friction"] * v**3


def _square_dry(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    wave = np.tanh(8 * np.sin(2 * np.pi * (z["frequency"] * t + z["phase"])))
    return z["amplitude"] * wave - z["friction"] * np.tanh(v / 0.02)


def _pulse(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    return z["height"] * np.exp(-0.5 * ((t - z["when"]) / z["width"]) ** 2)


def _angle(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    return -(z["friction"] + z["more"] * q * q) * v


def _softer(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """Gravity's pull fades linearly; ``omega`` is that of the start."""
    return z["omega"] ** 2 * z["loss"] * t / 2.45 * np.sin(q) * (t < 2.45 / 0.8) + (
        z["omega"] ** 2 * z["loss"] / 0.8 * np.sin(q) * (t >= 2.45 / 0.8)
    )


def _drag(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    return -z["drag"] * np.abs(v) * v


def _dry(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    return -z["friction"] * np.tanh(v / 0.02)


def _duffing(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    return -z["cubic"] * q**3 - z["friction"] * v


def _detent(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """A push at one place: outside what polynomials follow."""
    return z["height"] * np.exp(-0.5 * ((q - 0.4) / 0.15) ** 2) - z["friction"] * v


def _stop(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """A stiff stop on one side, at 0.45 m: what no dictionary of smooth functions follows."""
    return -z["stiffness"] * 0.03 * np.logaddexp(0, (q - 0.45) / 0.03) - z["friction"] * v


def _stribeck(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """Dry friction that is stronger where it is slow."""
    return -z["friction"] * np.tanh(v / 0.03) * (1 + z["slow"] * np.exp(-((v / 0.4) ** 2)))


def _limit_cycle(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    return z["strength"] * (1 - (q / 0.5) ** 2) * v


def _parametric(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """Gravity that swings, as where the pivot is shaken."""
    swing = z["share"] * np.sin(z["frequency"] * t + z["phase"])
    return -(z["omega"] ** 2) * swing * np.sin(q) - z["friction"] * v


def _diode(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """A conductor that saturates: voltage over inductance, with the current v."""
    return -z["knee"] * np.tanh(3 * v) - z["knee"] * 0.3 * v * v


def _drive(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    phase = 2 * np.pi * (z["frequencies"][:, :2] * t + z["phases"][:, :2])
    return (z["amplitudes"][:, :2] * np.cos(phase)).sum(1)


def _coupled() -> Law:
    """A spring that drags a second mass behind it, which nobody sees."""
    ranges = {
        "omega": (1.0, 3.0),
        "drag": (0.1, 0.6),
        "other_omega": (2.0, 5.0),
        "other_mass": (0.5, 2.0),
    }

    def draw(random: np.random.Generator, n: int) -> Latents:
        start = random.uniform(0.3, 1.0, n) * random.choice([-1.0, 1.0], n)
        return {"start": start, **{k: random.uniform(*b, n) for k, b in ranges.items()}}

    def initial(z: Mapping[str, Array]) -> Array:
        return np.stack([z["start"], *3 * [np.zeros_like(z["start"])]])

    def rate(t: float, y: Array, z: Mapping[str, Array]) -> Array:
        q, v, other, speed = y
        force = z["drag"] * (speed - v)
        pull = -(z["other_omega"] ** 2) * other - force / z["other_mass"]
        return np.stack([v, -(z["omega"] ** 2) * q + force, speed, pull])

    times = np.linspace(0.0, 3.0, 31)
    return Law("coupled", "spring", ("omega", "start"), times, 0.02, (0,), draw, initial, rate)


def _lotka(name: str, crowding: tuple[float, float], season: tuple[float, float]) -> Law:
    """Prey and predators (thousands), twelve years; hidden: the prey's crowding and seasons."""
    middle = {"alpha": 1.0, "beta": 0.5, "gamma": 0.8, "delta": 0.4, "prey": 2.0, "hunters": 1.0}

    def draw(random: np.random.Generator, n: int) -> Latents:
        out = {k: m * np.exp(0.25 * random.uniform(-1.7, 1.7, n)) for k, m in middle.items()}
        out["crowding"], out["season"] = random.uniform(*crowding, n), random.uniform(*season, n)
        out["phase"] = random.uniform(0, 1, n)
        return out

    def rate(t: float, y: Array, z: Mapping[str, Array]) -> Array:
        prey, hunters = y
        extra = -z["crowding"] * prey**2
        extra = extra + z["season"] * np.cos(2 * np.pi * (t + z["phase"]))
        return np.stack(
            [
                z["alpha"] * prey - z["beta"] * prey * hunters + extra,
                -z["gamma"] * hunters + z["delta"] * prey * hunters,
            ]
        )

    return Law(
        name,
        "lotka",
        tuple(middle),
        np.linspace(0.0, 12.0, 41),
        0.05,
        (0, 1),
        draw,
        lambda z: np.stack([z["prey"], z["hunters"]]),
        rate,
        "alpha",
    )


FRICTION = (0.0, 0.8)  # 1/s
LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        _law("nothing", "pendulum", {}, _none),
        _law(
            "wave",
            "pendulum",
            {"amplitude": (0, 40), "frequency": (3.14, 6.28), "friction": FRICTION},
            _wave,
        ),
        _law(
            "chirp",
            "pendulum",
            {"amplitude": (0, 15), "frequency": (0.5, 3), "sweep": (0, 1.5), "friction": FRICTION},
            _chirp,
        ),
        _law(
            "step", "pendulum", {"height": (-3, 3), "when": (0.3, 2.0), "friction": FRICTION}, _step
        ),
        _law(
            "smooth",
            "pendulum",
            {"amplitude": (0, 2.5), "*rates": (-0.7, 0.7), "*phases": (0, 1)},
            _smooth,
        ),
        _law(
            "tones",
            "pendulum",
            {
                "*amplitudes": (0, 15),
                "*frequencies": (1, 6),
                "*phases": (0, 1),
                "friction": (0, 0.15),
            },
            _tones,
        ),
        _law(
            "square_dry",
            "pendulum",
            {"amplitude": (0, 10), "frequency": (1, 3), "phase": (0, 1), "friction": (0, 1)},
            _square_dry,
        ),
        _law(
            "pulse",
            "pendulum",
            {"height": (-15, 15), "when": (0.2, 2.2), "width": (0.03, 0.15)},
            _pulse,
        ),
        _law("angle", "pendulum", {"friction": (0, 0.3), "more": (0, 1)}, _angle),
        _law("softer", "pendulum", {"loss": (0, 0.4)}, _softer),
        _law("spring_drag", "spring", {"drag": (0, 1)}, _drag),
        _law("spring_dry", "spring", {"friction": (0, 0.8)}, _dry),
        _law("duffing", "spring", {"cubic": (0, 1.5), "friction": (0, 0.4)}, _duffing),
        _law("detent", "spring", {"height": (0.5, 2.5), "friction": (0, 0.2)}, _detent),
        _law("stop", "spring", {"stiffness": (10, 40), "friction": (0, 0.3)}, _stop),
        _law("stribeck", "spring", {"friction": (0.1, 0.5), "slow": (0, 1.5)}, _stribeck),
        _law("limit_cycle", "spring", {"strength": (0.2, 1.0)}, _limit_cycle),
        _law(
            "parametric",
            "pendulum",
            {"share": (0, 0.3), "frequency": (2, 6), "phase": (0, 6.28), "friction": (0, 0.3)},
            _parametric,
        ),
        _coupled(),
        _law("diode", "oscillator", {"knee": (0, 0.8)}, _diode),
        _law(
            "drive",
            "oscillator",
            {"*amplitudes": (0, 2), "*frequencies": (0.3, 2.5), "*phases": (0, 1)},
            _drive,
        ),
        _lotka("lotka_crowding", (0.0, 0.15), (0.0, 0.0)),
        _lotka("lotka_season", (0.0, 0.1), (0.0, 0.6)),
    )
}
