"""Units that a file states are those of the law, or one sentence says so."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import groundvae as gv
from groundvae.data.errors import InputError
from groundvae.data.units import check_units
from groundvae.inference.fit import prepare


class Slide(gv.Dynamics):
    """What slides, in minutes."""

    speed0 = gv.Latent(gv.LogNormal(0.0, 0.5), unit="m/min")
    mass = gv.Input(unit="kg")
    states = ("place",)
    observed = "place"
    unit, time_unit = "m", "min"

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"place": 0.0}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        return {"place": z.speed0}


def written(folder: Path, x: str, mass: str, time: str) -> Path:
    dims = ("observation", "time")
    made = xr.Dataset(
        {
            "x": (dims, np.arange(15.0).reshape(3, 5), {"units": x}),
            "mass": ("observation", np.ones(3), {"units": mass}),
        },
        {"time": ("time", 60.0 * np.arange(5.0), {"units": time})},
    )
    made.to_netcdf(folder / "slides.nc", engine="h5netcdf")
    return folder / "slides.nc"


def test_units_that_agree_are_taken_and_times_are_the_laws(tmp_path: Path) -> None:
    path = written(tmp_path, "m", "kg", "s")
    data = gv.read(path, inputs=Slide.inputs, time_unit=Slide.time_unit)
    np.testing.assert_allclose(data.coordinates["t"], np.arange(5.0))  # minutes
    run = prepare(gv.GreyBox(Slide()), data)
    assert run.batch(data).x.shape == (3, 5)


@pytest.mark.parametrize(
    ("x", "mass", "said"),
    [
        ("cm", "kg", "x is in 'cm' in the data and in 'm' in the law, expected one unit: values "),
        ("m", "g", "mass is in 'g' in the data and in 'kg' in the law, expected one unit: values"),
        ("K", "kg", "x is in 'K' in the data and in 'm' in the law, expected one unit"),
        ("bananas", "kg", "x is in 'bananas' in the data and in 'm' in the law, expected one unit"),
    ],
)
def test_other_units_are_one_sentence(tmp_path: Path, x: str, mass: str, said: str) -> None:
    pytest.importorskip("pint")
    path = written(tmp_path, x, mass, "s")
    data = gv.read(path, inputs=Slide.inputs, time_unit="min")
    with pytest.raises(InputError) as refused:
        prepare(gv.GreyBox(Slide()), data)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_two_ways_of_writing_a_unit_are_one() -> None:
    pytest.importorskip("pint")
    check_units({"v": "m s**-1", "w": ""}, {"v": "m/s", "w": "kg"})
    with pytest.raises(InputError, match=r"values times 1 -273\.15 are"):
        check_units({"x": "kelvin"}, {"x": "degC"})


def test_without_pint_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def missing(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "pint":
            raise ImportError(name)
        return usual(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    check_units({"x": "m"}, {"x": "m"})
    with pytest.raises(InputError, match=r"expected `pip install groundvae\[units\]` or the same"):
        check_units({"x": "metre"}, {"x": "m"})


def test_times_in_a_unit_that_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, "m", "kg", "s")
    with pytest.raises(InputError, match="the law's times are in 'year'"):
        gv.read(path, time_unit="year")
