"""FITS images: bands, counts, and where north is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from groundvae.cli.source import read_data
from groundvae.data.errors import InputError
from groundvae.data.fits import east_of_north, read_fits
from groundvae.data.galaxy import from_array, splits
from groundvae.models.ownfile import find_system

fits = pytest.importorskip("astropy.io.fits")


def save(path: Path, counts: np.ndarray, turn: float = 0.0, mirror: float = 1.0) -> Path:
    """Counts (band, row, column), north ``turn`` (rad) counter-clockwise from up."""
    header = fits.Header()
    cos, sin, scale = math.cos(turn), math.sin(turn), 1e-4
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 180.0, 30.0
    header["CRPIX1"], header["CRPIX2"] = counts.shape[2] / 2, counts.shape[1] / 2
    header["CD1_1"], header["CD1_2"] = -mirror * scale * cos, -mirror * scale * sin
    header["CD2_1"], header["CD2_2"] = -scale * sin, scale * cos
    fits.PrimaryHDU(counts, header).writeto(path)
    return path


def counts(side: int = 101) -> np.ndarray:
    """A bright bar towards the upper right on a sky of 100 counts."""
    up, right = np.mgrid[:side, :side] - (side - 1) / 2
    along, across = (right + up) / math.sqrt(2), (up - right) / math.sqrt(2)
    bar = 1000 * np.exp(-0.5 * ((along / 15) ** 2 + (across / 4) ** 2))
    sky = np.random.default_rng(0).normal(100, 1, (3, side, side))
    return (sky + bar).astype(np.float32)


def test_the_first_row_is_the_top_and_the_middle_is_kept(tmp_path: Path) -> None:
    image, _, _ = read_fits(save(tmp_path / "a.fits", counts()), 69, 3)
    assert image.shape == (69, 69, 3)
    assert image[10, -11].mean() > image[10, 10].mean() + 0.1  # upper right, not upper left
    assert np.abs(np.median(image)) < 0.05
    assert image.max() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("turn", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_an_angle_is_turned_east_of_north(turn: float, mirror: float, tmp_path: Path) -> None:
    _, north, parity = read_fits(save(tmp_path / "a.fits", counts(), turn, mirror), 69, 3)
    assert (north - math.pi / 2 - turn + math.pi) % (2 * math.pi) - math.pi == pytest.approx(
        0.0, abs=1e-3
    )
    assert parity == mirror
    axis = np.array([north + parity * 0.4])
    found = east_of_north(axis, np.array([north]), np.array([parity]))
    assert float(found[0]) == pytest.approx(0.4, abs=1e-9)


def test_a_folder_and_a_file_are_read_and_gaps_are_kept(tmp_path: Path) -> None:
    for i in range(4):
        gap = counts()
        gap[:, 40:43, 40:43] = np.nan
        save(tmp_path / f"{i}.fits", gap, 0.1 * i)
    found = splits(tmp_path)
    assert "4 FITS files" in found.source
    one = read_data(tmp_path / "2.fits", find_system("galaxy"))
    assert int(np.isnan(one.x).sum()) == 27
    assert one.truth["north"][0] == pytest.approx(math.pi / 2 + 0.2, abs=1e-3)
    derived = (
        find_system("galaxy")
        .build()
        .system.derive({"position_angle": np.full((1, 2, 1), 0.3)}, one.truth)[
            "position_angle_east_of_north"
        ]
    )
    assert derived[0].shape == (1, 2, 1)
    assert derived[0][0, 0, 0] == pytest.approx((0.3 - math.pi / 2 - 0.2) % math.pi, abs=1e-3)


def test_other_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.fits").write_bytes(b"SIMPLE")
    with pytest.raises(InputError, match="cannot be read as a FITS file"):
        read_fits(tmp_path / "bad.fits", 69, 3)
    with pytest.raises(InputError, match="expected 3 bands of one size"):
        read_fits(save(tmp_path / "two.fits", counts()[:2]), 69, 3)
    with pytest.raises(InputError, match="expected 69 by 69"):
        read_fits(save(tmp_path / "small.fits", counts(51)), 69, 3)


def test_whole_numbers_of_any_length_are_images() -> None:
    bytes_ = np.random.default_rng(0).integers(0, 256, (2, 69, 69, 3))
    expected = from_array(bytes_.astype(np.uint8)).x
    for kind in (np.int64, np.int32, np.uint16):
        np.testing.assert_array_equal(from_array(bytes_.astype(kind)).x, expected)
