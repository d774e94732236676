"""Galaxy images: the disc, its symmetries, the loaders, and the angle that has no seam."""

from __future__ import annotations

import math
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from groundvae.cli.data import report
from groundvae.cli.main import main
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.galaxy import (
    coordinates,
    from_array,
    read_galaxy10,
    read_galaxy_npz,
    read_pictures,
    simulate,
    splits,
)
from groundvae.inference.optimize import optimize
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import RunConfig, new_run
from groundvae.models.greybox import GreyBox
from groundvae.models.intervention import Change
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions, Recipe
from groundvae.models.symmetry import turn_and_flip, turned
from groundvae.models.systems import SYSTEMS
from groundvae.physics.galaxy import disc, positions

MEASURED = Path(os.environ.get("GROUNDVAE_DATA", "no-such-folder")) / "galaxy"
measured = pytest.mark.skipif(not MEASURED.is_dir(), reason="no measured galaxies here")
VARIANTS = SYSTEMS["galaxy"].variants
BY_GRADIENT = [name for name, v in VARIANTS.items() if v.recipe.guide != "modes"]
SIDE = 69
AT = positions(SIDE)
INPUTS = {k: torch.as_tensor(v, dtype=torch.float32) for k, v in coordinates(SIDE).items()}


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def physics(position_angle: float, n: int = 1) -> dict[str, torch.Tensor]:
    """Latents of the disc, in the order that ``disc`` takes them."""
    values = {"intensity": 0.8, "semi_axis": 0.3, "ellipticity": 0.6}
    return {
        k: torch.full((n,), v) for k, v in (values | {"position_angle": position_angle}).items()
    }


def galaxy(position_angle: float, n: int = 1) -> dict[str, torch.Tensor]:
    """Those, and a bulge's."""
    return physics(position_angle, n) | {"bulge": torch.full((n,), 0.2)}


def decoding(model: GreyBox) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters of a decoder: all but the noise's."""
    return [(k, v) for k, v in model.named_parameters() if not k.startswith("noise.")]


def inside() -> torch.Tensor:
    """Pixels that a turn of the image does not lose."""
    return AT.pow(2).sum(0) < 0.9


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 137.0])
def test_the_disc_is_a_round_one_stretched_and_turned_by_ndimage(degrees: float) -> None:
    ratio, scale = 0.4, 0.3
    found = disc(AT, tensor(0.8), tensor(scale), tensor(1 - ratio), tensor(math.radians(degrees)))
    fine = 4 * (SIDE - 1) + 1  # ndimage interpolates: on a finer grid its error is small
    x, y = np.meshgrid(np.linspace(-1, 1, fine), np.linspace(-1, 1, fine))
    flat = 0.8 * np.exp(-np.hypot(x, y / ratio) / scale)
    drawn = ndimage.rotate(flat, degrees, reshape=False, order=3, mode="nearest")[::4, ::4]
    error = np.abs(found.numpy() - drawn)[inside().numpy()]
    assert error.max() < 0.01
    assert error.mean() < 2e-4


def test_the_disc_fades_by_e_over_its_semi_axes() -> None:
    along = disc(tensor(0.3, 0.0), tensor(1.0), tensor(0.3), tensor(0.5), tensor(0.0))
    across = disc(tensor(0.0, 0.15), tensor(1.0), tensor(0.3), tensor(0.5), tensor(0.0))
    expected = math.exp(-1)
    assert float(along) == pytest.approx(expected, rel=1e-4)
    assert float(across) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("turn", [0.3, 1.2, 2.9])
def test_a_turned_galaxy_is_the_galaxy_turned(turn: float) -> None:
    at_zero = disc(AT, *(v[:, None, None] for v in physics(0.2).values()))
    at_turn = disc(AT, *(v[:, None, None] for v in physics(0.2 + turn).values()))
    by_pixels = turned(at_zero[..., None], tensor(turn), torch.tensor([False]))[..., 0]
    assert float((by_pixels - at_turn)[:, inside()].abs().max()) < 0.03
    assert float((by_pixels - at_turn)[:, inside()].abs().mean()) < 1e-3


def test_the_residual_turns_with_its_disc() -> None:
    torch.manual_seed(0)
    system = VARIANTS["hybrid"].build()
    painting = system.terms[-1]
    torch.nn.init.normal_(painting.network.head.weight, std=0.1)  # type: ignore[union-attr]
    z = torch.randn(1, system.auxiliary)
    quarter = z.clone()  # the centre's shift is in the image's frame: turn it too
    quarter[:, 0], quarter[:, 1] = -z[:, 1], z[:, 0]
    with torch.no_grad():
        one = system.decode(galaxy(0.2), z, INPUTS).full
        other = system.decode(galaxy(0.2 + math.pi / 2), quarter, INPUTS).full
    torch.testing.assert_close(torch.rot90(one, 1, (1, 2)), other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("variant", ["hybrid", "physics-only"])
def test_half_a_turn_changes_nothing(variant: str) -> None:
    torch.manual_seed(0)
    system = VARIANTS[variant].build()
    for painting in system.terms[1:]:
        torch.nn.init.normal_(painting.network.head.weight, std=0.1)  # type: ignore[union-attr]
    z = torch.randn(1, system.auxiliary) if system.auxiliary else None
    with torch.no_grad():
        ends = [system.decode(galaxy(a), z, INPUTS).full for a in (1e-6, math.pi - 1e-6)]
    torch.testing.assert_close(*ends, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", BY_GRADIENT)
def test_every_variant_decodes_and_reaches_all_its_parameters(variant: str) -> None:
    torch.manual_seed(0)
    system = VARIANTS[variant].build()
    with torch.no_grad():  # layers that begin at zero hide those below them
        for _, parameter in decoding(system):
            parameter.add_(0.05 * torch.randn_like(parameter))
    values = galaxy(0.5, n=2)
    z = {name: values[name] for name in system.latents.names}
    auxiliary = torch.randn(2, system.auxiliary) if system.auxiliary else None
    decoded = system.decode(z, auxiliary, INPUTS)
    assert decoded.full.shape == (2, SIDE, SIDE, 3)
    assert (decoded.physics is not None) == system.system.physics
    decoded.full.pow(2).sum().backward()
    for name, parameter in decoding(system):
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_many_draws_decode_as_each_alone() -> None:
    torch.manual_seed(0)
    system = VARIANTS["hybrid"].build()
    values = {k: v.expand(3, 2) for k, v in galaxy(0.5).items()}
    z = torch.randn(3, 2, system.auxiliary)
    with torch.no_grad():
        together = system.decode(values, z, INPUTS).full
        alone = system.decode({k: v[1, 1:] for k, v in values.items()}, z[1, 1:], INPUTS).full
    assert together.shape == (3, 2, SIDE, SIDE, 3)
    torch.testing.assert_close(together[1, 1:], alone)


def test_a_batch_is_turned_image_by_image() -> None:
    torch.manual_seed(0)
    batch = Batch.of(simulate(1, 0))
    same = batch[torch.zeros(6, dtype=torch.long)]
    varied = turn_and_flip(same).x
    apart = (varied[:, None] - varied[None]).abs().amax((2, 3, 4))
    assert float(apart[~torch.eye(6, dtype=torch.bool)].min()) > 0.1
    assert turn_and_flip(same).observed is None


def test_a_turn_of_a_gappy_image_is_gappy() -> None:
    data = simulate(2, 0)
    x = data.x.copy()
    x[:, 10:20] = np.nan
    varied = turn_and_flip(Batch.of(Dataset(x, data.coordinates)))
    assert varied.observed is not None
    assert 0.6 < float(varied.observed.float().mean()) < 0.9


def test_a_flip_and_a_turn_are_what_they_say() -> None:
    image = torch.rand(2, 9, 9, 3)
    found = turned(image, tensor(0.0, math.pi / 2), torch.tensor([True, False]))
    torch.testing.assert_close(found[0], image[0].flip(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], torch.rot90(image[1], 1), atol=1e-5, rtol=0)


def save_npz(path: Path, **changes: np.ndarray | None) -> Path:
    images = (255 * simulate(6, 0).x).astype(np.uint8)
    arrays: dict[str, np.ndarray | None] = {
        "images": images,
        "split": np.array(["train", "train", "train", "valid", "test", "test"]),
        "axis_ratio": np.linspace(0.2, 0.5, 6, dtype=np.float32),
        "pos_angle_deg": np.linspace(0, 180, 6, dtype=np.float32),
        **changes,
    }
    kept = {k: v for k, v in arrays.items() if v is not None}
    np.savez(path, allow_pickle=False, **kept)  # type: ignore[arg-type]
    return path


def test_the_shared_file_is_read_in_its_splits(tmp_path: Path) -> None:
    parts = read_galaxy_npz(save_npz(tmp_path / "edge_on.npz"))
    assert [len(parts[k]) for k in ("train", "valid", "test")] == [3, 1, 2]
    assert parts["train"].x.max() <= 1
    angle = parts["test"].truth["position_angle"][-1]
    assert angle == pytest.approx(0.0, abs=1e-6)  # 180 degrees are 0: an axis
    np.testing.assert_allclose(parts["train"].truth["ellipticity"][0], 0.8, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": None}, "no array 'images'"),
        ({"images": np.zeros((6, 60, 60, 3), np.uint8)}, "expected (image, 69, 69, 3)"),
        ({"images": np.full((6, 69, 69, 3), 200.0)}, "expected 0 .. 1"),
        ({"images": np.full((6, 69, 69, 3), np.nan)}, "expected bytes or numbers"),
        ({"split": np.array(["train"] * 6)}, "no images of the split 'valid'"),
        ({"split": np.array(["train"] * 5)}, "for every image"),
        ({"axis_ratio": np.zeros(3, np.float32)}, "axis_ratio"),
    ],
)
def test_a_wrong_file_is_refused(
    changes: dict[str, np.ndarray | None], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refusal:
        read_galaxy_npz(save_npz(tmp_path / "edge_on.npz", **changes))
    assert words in str(refusal.value)


def save_h5(path: Path, n: int = 12) -> Path:
    with h5py.File(path, "w") as content:
        content["images"] = (255 * simulate(n, 0).x).astype(np.uint8)
        content["ans"] = np.arange(n, dtype=np.uint8) % 3 + 4
    return path


def test_one_class_of_galaxy10_is_read_by_its_number(tmp_path: Path) -> None:
    path = save_h5(tmp_path / "Galaxy10.h5")
    expected = (255 * simulate(12, 0).x).astype(np.uint8)[2::3] / np.float32(255)
    np.testing.assert_array_equal(read_galaxy10(path, 6).x, expected)
    with pytest.raises(InputError, match="no images of class 3"):
        read_galaxy10(path, 3)
    with pytest.raises(InputError, match="no class 12"):
        read_galaxy10(path, 12)
    assert "class 5" in splits(tmp_path, 5).source


@pytest.mark.parametrize("share", [0.01, 0.4, 0.97])
def test_truncated_files_end_in_one_sentence(
    share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, save in (("Galaxy10.h5", save_h5), ("edge_on.npz", save_npz)):
        folder = tmp_path / name
        folder.mkdir()
        whole = save(folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError):
            splits(folder)
        assert main(["fit", "galaxy", "--root", str(folder), "--out", str(tmp_path / "r")]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert name in said[0]


def test_a_file_of_other_content_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "Galaxy10.h5", "w") as content:
        content["images"] = np.zeros((3, 69, 69, 3), np.uint8)
    with pytest.raises(InputError, match="no datasets"):
        read_galaxy10(tmp_path / "Galaxy10.h5")
    with h5py.File(tmp_path / "Galaxy10.h5", "a") as content:
        content["ans"] = np.zeros((3, 2))
    with pytest.raises(InputError, match="whole number"):
        read_galaxy10(tmp_path / "Galaxy10.h5")


def save_picture(path: Path, image: np.ndarray) -> None:
    Image.fromarray((255 * image).astype(np.uint8)).save(path)


def test_a_folder_of_pictures_is_read_and_damaged_ones_are_named(tmp_path: Path) -> None:
    images = simulate(5, 0).x
    for i, image in enumerate(images):
        save_picture(tmp_path / f"{i}.{'jpg' if i == 4 else 'png'}", image)
    data = read_pictures(tmp_path)
    np.testing.assert_allclose(data.x[:4], images[:4], atol=1 / 255)
    assert "5 PNG and JPEG files" in splits(tmp_path).source
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:300])
    with pytest.raises(InputError, match=r"1\.png: cannot be read"):
        read_pictures(tmp_path)
    (tmp_path / "1.png").unlink()
    save_picture(tmp_path / "0.png", np.zeros((40, 69, 3)))
    with pytest.raises(InputError, match="69 by 40"):
        read_pictures(tmp_path)


def test_without_data_a_stand_in_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GROUNDVAE_DATA", raising=False)
    assert splits().stand_in
    assert "STAND-IN" in "\n".join(report(find_system("galaxy"), None))
    with pytest.raises(InputError, match="holds neither"):
        splits(tmp_path)


@measured
def test_the_measured_images_are_found() -> None:
    found = splits(MEASURED)
    assert [len(found.train), len(found.valid), len(found.test)] == [400, 50, 52]


def test_an_array_may_be_bytes_or_numbers() -> None:
    numbers = simulate(2, 0).x
    as_bytes = (255 * numbers).astype(np.uint8)
    np.testing.assert_allclose(from_array(numbers).x, from_array(as_bytes).x, atol=1 / 255)


def test_a_tiny_fit_infers_and_turns_its_galaxies() -> None:
    options = FitOptions(steps=3, batch_size=5, sleep=0, calibrate=0)
    run = new_run(RunConfig("galaxy", SIDE, recipe=Recipe(options=options)))
    train, valid = simulate(10, 1), simulate(4, 2)
    run.fit = optimize(
        run.model, run.guide, run.loss(), Batch.of(train), Batch.of(valid), run.config.options
    )
    assert run.fit.stop == "finished"
    few = PosteriorOptions(draws=6, predictive_draws=3)
    seen = posterior(run, valid, few)
    done = posterior(run, valid, few, changes={"position_angle": Change(shift=3.0)})
    angles = done["posterior"]["position_angle"]
    assert float(angles.min()) >= 0
    assert float(angles.max()) <= math.pi
    moved = (angles - seen["posterior"]["position_angle"]) % math.pi
    np.testing.assert_allclose(moved, 3.0, rtol=1e-4)
    predicted = done["posterior_predictive"]["x"]
    assert predicted.dims[-3:] == ("row", "column", "band")
    assert predicted.shape == (1, 3, 4, SIDE, SIDE, 3)
