"""Images of edge-on galaxies: measured ones, or a simulated stand-in.

Reads ``edge_on.npz`` (images in splits), ``Galaxy10.h5`` (one class of it), folders of PNG and JPEG
or of FITS files, and plain arrays. Images are (row, column, band), scaled to 0 .. 1.
Source: York et al. (2000); Abazajian et al. (2009), SDSS DR7; classes: Lintott et al. (2011).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image, UnidentifiedImageError

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.fits import east_of_north, read_fits
from groundvae.data.measurement import measure_image
from groundvae.data.npz import full_scale, read_npz
from groundvae.data.root import STAND_IN, Splits, find_folder
from groundvae.data.source import Source

SIDE = 69  # pixels
BANDS = ("i", "r", "g")
CLASSES = {
    0: "disk, face-on, no spiral",
    1: "smooth, completely round",
    2: "smooth, in-between round",
    3: "smooth, cigar shaped",
    4: "disk, edge-on, rounded bulge",
    5: "disk, edge-on, boxy bulge",
    6: "disk, edge-on, no bulge",
    7: "disk, face-on, tight spiral",
    8: "disk, face-on, medium spiral",
    9: "disk, face-on, loose spiral",
}
EDGE_ON = 6
REFERENCES = ("intensity", "semi_axis", "ellipticity", "position_angle", "north", "parity")
"""Latents, and of FITS images where north is, and on which side of it east (``data.fits``)."""
SPLITS = ("train", "valid", "test")
FEW = 20  # images, of which half are left to validate and test on
PICTURES = (".png", ".jpg", ".jpeg")
FITS = (".fits", ".fit", ".fts", ".gz")
FILES = {
    "edge_on.npz": "images in three splits, with measured axes",
    "Galaxy10.h5": f"Galaxy10 SDSS, of which class {EDGE_ON} is taken",
    "*.png": "one image each, 69 by 69 pixels",
    "*.jp*g": "one image each, 69 by 69 pixels",
    "*.fit*": "one image of three bands each, cut to its middle",
}
PUBLIC = (
    "Galaxy10 SDSS, Galaxy10.h5, class 6 (astroNN documents it), from Sloan Digital Sky Survey "
    "images (CC BY 4.0) and Galaxy Zoo"
)


def from_array(images: np.ndarray, where: str = "images") -> Dataset:
    """Images (image, 69, 69, 3), whole numbers or numbers in 0 .. 1, as a Dataset.

    >>> from_array(np.full((2, 69, 69, 3), 255, dtype=np.uint8)).x.max()
    np.float32(1.0)
    """
    expected = (SIDE, SIDE, len(BANDS))
    if images.ndim != 4 or images.shape[1:] != expected or not len(images):
        raise InputError(f"{where}: images have shape {images.shape}, expected (image, 69, 69, 3)")
    if images.dtype.kind in "iu":
        images = images / full_scale(images, images.dtype)
    elif images.dtype.kind != "f" or not np.isfinite(images).all():
        raise InputError(f"{where}: images are of type {images.dtype}, expected bytes or numbers")
    x = images.astype(np.float32)
    if x.min() < -0.5 or x.max() > 1.5:
        raise InputError(
            f"{where}: images reach from {x.min():.3g} to {x.max():.3g}, expected 0 .. 1"
        )
    return Dataset(x, coordinates(SIDE))


def coordinates(side: int) -> dict[str, np.ndarray]:
    """Where rows and columns lie on the image, in half sides; the first row is the top."""
    along = np.linspace(-1, 1, side)
    return {"up": -along, "right": along}


def read_galaxy_npz(path: Path) -> dict[str, Dataset]:
    """The splits of an ``edge_on.npz`` by name, with axes measured from the images' isophotes.

    Raises:
        InputError: not such a file.

    """
    arrays = read_npz(path, ("images", "split", "axis_ratio", "pos_angle_deg"))
    for name in ("images", "split"):
        if name not in arrays:
            raise InputError(f"{path}: has no array {name!r}, expected images in splits")
    data = from_array(arrays["images"], str(path))
    split = arrays["split"]
    if split.shape != (len(data),) or not set(split.tolist()) <= set(SPLITS):
        raise InputError(f"{path}: split does not name one of {', '.join(SPLITS)} for every image")
    missing = [name for name in SPLITS if name not in split]
    if missing:
        raise InputError(f"{path}: has no images of the split {missing[0]!r}")
    truth = _axes(arrays, len(data), path)
    whole = Dataset(data.x, data.coordinates, truth)
    return {name: whole.subset(split == name) for name in SPLITS}


def _axes(arrays: dict[str, np.ndarray], n: int, path: Path) -> dict[str, np.ndarray]:
    truth = {}
    for name, values in arrays.items():
        if name in ("images", "split"):
            continue
        if values.shape != (n,) or values.dtype.kind != "f" or not np.isfinite(values).all():
            raise InputError(f"{path}: {name} is not one finite number for each of {n} images")
        if name == "axis_ratio":
            if not ((values > 0) & (values <= 1)).all():
                raise InputError(f"{path}: axis_ratio is not within 0 .. 1")
            truth["ellipticity"] = 1 - values.astype(float)
        else:
            truth["position_angle"] = np.deg2rad(values.astype(float)) % math.pi
    return truth


def read_galaxy10(path: Path, number: int = EDGE_ON) -> Dataset:
    """The images of one class of ``Galaxy10.h5``, by its ``number``, see ``CLASSES``.

    Raises:
        InputError: not such a file, or no such class.

    """
    if number not in CLASSES:
        raise InputError(f"no class {number}, expected one of 0 to {max(CLASSES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected Galaxy10.h5")
    try:
        with h5py.File(path, "r") as content:
            images, labels = content.get("images"), content.get("ans")
            if not isinstance(images, h5py.Dataset) or not isinstance(labels, h5py.Dataset):
                raise InputError(f"{path}: has no datasets 'images' and 'ans'")
            if (
                labels.ndim != 1
                or labels.dtype.kind not in "iu"
                or images.shape[:1] != labels.shape
            ):
                raise InputError(f"{path}: 'ans' is not one whole number for each of 'images'")
            chosen = np.flatnonzero(labels[:] == number)
            if not len(chosen):
                raise InputError(f"{path}: has no images of class {number} ({CLASSES[number]})")
            pictures = images[chosen]
    except InputError:
        raise
    except Exception as error:  # a damaged file can make the reader fail in any way
        raise InputError(f"{path}: cannot be read as an HDF5 file") from error
    return from_array(np.asarray(pictures), str(path))


def read_pictures(folder: Path) -> Dataset:
    """All PNG and JPEG files of a folder, in the order of their names."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
    if not paths:
        raise InputError(f"{folder}: holds no PNG or JPEG files")
    return from_array(np.stack([_picture(path) for path in paths]), str(folder))


def _picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            if picture.size != (SIDE, SIDE):
                size = " by ".join(map(str, picture.size))
                raise InputError(f"{path}: is {size} pixels, expected {SIDE} by {SIDE}")
            if picture.mode.startswith("I"):
                raise InputError(f"{path}: has 16 bits a band, expected 8")
            return np.asarray(picture.convert("RGB"))
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: cannot be read as a PNG or JPEG image") from error


def read_fits_folder(folder: Path) -> Dataset:
    """All FITS images of a folder, in the order of their names."""
    return read_fits_files(sorted(p for p in folder.iterdir() if p.suffix.lower() in FITS))


def read_fits_files(paths: Sequence[Path]) -> Dataset:
    """FITS images, one a file, and where north is in them.

    Raises:
        InputError: one of them is no image of three bands.

    """
    found = [read_fits(path, SIDE, len(BANDS)) for path in paths]
    truth = {}
    if not np.isnan([north for _, north, _ in found]).any():
        truth = {name: np.array([f[i] for f in found]) for i, name in ((1, "north"), (2, "parity"))}
    return Dataset(np.stack([image for image, _, _ in found]), coordinates(SIDE), truth)


def derive(
    draws: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, str, str]]:
    """The angle (..., image) as astronomers give it, where it is known where north is."""
    if not {"north", "parity"} <= set(known):
        return {}
    angle = east_of_north(draws["position_angle"], known["north"], known["parity"])
    meaning = "position angle of the major axis, from north through east, modulo pi"
    return {"position_angle_east_of_north": (angle, "rad", meaning)}


def splits(root: Path | None = None, number: int = EDGE_ON) -> Splits:
    """Measured images where they are found, else the simulated stand-in.

    ``number`` chooses the class of ``Galaxy10.h5``.
    """
    folder = find_folder("galaxy", root)
    if folder is not None and (folder / "edge_on.npz").is_file() and number == EDGE_ON:
        parts = read_galaxy_npz(folder / "edge_on.npz")
        return Splits(parts["train"], parts["valid"], parts["test"], "measured, edge_on.npz")
    if folder is not None and (folder / "Galaxy10.h5").is_file():
        images = read_galaxy10(folder / "Galaxy10.h5", number)
        what = f"{len(images)} images of class {number} ({CLASSES[number]}) of Galaxy10.h5"
        return _cut(images, f"measured, {what}", folder)
    if folder is not None and any(p.suffix.lower() in PICTURES for p in folder.iterdir()):
        images = read_pictures(folder)
        return _cut(images, f"measured, {len(images)} PNG and JPEG files", folder)
    if folder is not None and any(p.suffix.lower() in FITS for p in folder.iterdir()):
        images = read_fits_folder(folder)
        return _cut(images, f"measured, {len(images)} FITS files", folder)
    if root is not None:
        raise InputError(
            f"{root}: holds neither edge_on.npz, Galaxy10.h5 nor PNG, JPEG or FITS files"
        )
    source = f"{STAND_IN}, no measured galaxies were found"
    return Splits(simulate(200, 1), simulate(50, 2), simulate(50, 3), source, stand_in=True)


def _cut(images: Dataset, source: str, folder: Path) -> Splits:
    if len(images) < 4:
        raise InputError(f"{folder}: holds {len(images)} images, expected 4 or more")
    train, rest = images.split(0.8 if len(images) >= FEW else 0.5, seed=0)
    valid, test = rest.split(0.5, seed=0)
    return Splits(train, valid, test, source)


def simulate(n: int, seed: int) -> Dataset:
    """A stand-in that looks like galaxies and is none: stretched discs with bulges, and stars.

    >>> simulate(2, seed=1).x.shape
    (2, 69, 69, 3)
    """
    rng = np.random.default_rng(seed)
    truth = {
        "intensity": rng.uniform(0.4, 0.9, n),
        "semi_axis": rng.uniform(0.2, 0.4, n),
        "ellipticity": rng.uniform(0.4, 0.85, n),
        "position_angle": rng.uniform(0, math.pi, n),
    }
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), -np.linspace(-1, 1, SIDE))
    shape = {name: value[:, None, None] for name, value in truth.items()}
    cos, sin = np.cos(shape["position_angle"]), np.sin(shape["position_angle"])
    along = (cos * x + sin * y) / shape["semi_axis"]
    across = (cos * y - sin * x) / (shape["semi_axis"] * (1 - shape["ellipticity"]))
    bulge = rng.uniform(0, 0.3, (n, 1, 1)) * np.exp(-(x**2 + y**2) / 0.01)
    light = shape["intensity"] * np.exp(-np.hypot(along, across)) + bulge
    for _ in range(2):
        where = rng.uniform(-1, 1, (2, n, 1, 1))
        star = np.exp(-((x - where[0]) ** 2 + (y - where[1]) ** 2) / 0.002)
        light = light + rng.uniform(0, 0.4, (n, 1, 1)) * star
    tint = np.array([1.15, 1.0, 0.85]) + 0.08 * rng.normal(size=(n, 1, 1, 3))
    images = light[..., None] * tint + 0.02 + 0.015 * rng.normal(size=(n, SIDE, SIDE, 3))
    return Dataset(np.clip(images, 0, 1).astype(np.float32), coordinates(SIDE), truth)


READERS = {suffix: lambda path: read_fits_files([path]) for suffix in FITS} | {".h5": read_galaxy10}
SOURCE = Source(simulate, REFERENCES, splits, FILES, PUBLIC, CLASSES, READERS, measure_image)
