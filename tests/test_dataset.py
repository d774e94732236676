"""Data files: round trip, splits, and damage told in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundvae.data.atomic import replacing
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.pendulum import RANGES, simulate
from groundvae.data.readers.named import load_dataset

LATENTS = tuple(RANGES)


def load(path: Path) -> Dataset:
    return load_dataset(path, coordinates=("t",), latents=LATENTS)


@pytest.fixture(scope="module")
def valid_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("npz") / "d.npz"
    simulate(3, seed=0).save(path)
    return path.read_bytes()


def test_simulation_repeats_by_seed() -> None:
    first, again, other = (simulate(5, seed) for seed in (1, 1, 2))
    for name, value in first.arrays().items():
        np.testing.assert_array_equal(value, again.arrays()[name])
    assert not np.isclose(first.x, other.x).any(axis=1).all()
    assert not np.isclose(first.truth["omega"], other.truth["omega"]).any()


def test_simulation_stays_in_its_ranges() -> None:
    data = simulate(60, seed=4)
    for name, (low, high) in RANGES.items():
        assert low <= data.truth[name].min() <= data.truth[name].max() <= high
    assert np.abs(data.x[:, 0] - data.truth["theta0"]).max() < 6 * 0.01


def test_save_and_load_are_equal(tmp_path: Path) -> None:
    data = simulate(4, seed=1)
    data.save(tmp_path / "d.npz")
    loaded = load(tmp_path / "d.npz")
    assert loaded.arrays().keys() == data.arrays().keys()
    for name, value in data.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], value)


def test_other_arrays_are_ignored_even_pickled_ones(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    notes = np.array([{"a": 1}], dtype=object)
    np.savez(path, x=np.zeros((2, 3)), note="text", notes=notes)
    assert load(path).arrays().keys() == {"x"}


@given(n=st.integers(2, 60), fraction=st.floats(0, 1), seed=st.integers(0, 9))
def test_split_is_a_partition(n: int, fraction: float, seed: int) -> None:
    data = Dataset(np.arange(2.0 * n).reshape(n, 2), truth={"omega": np.arange(float(n))})
    first, second = data.split(fraction, seed)
    assert min(len(first), len(second)) >= 1
    both = np.concatenate([first.truth["omega"], second.truth["omega"]])
    assert sorted(both) == list(range(n))
    np.testing.assert_array_equal(first.x[:, 0], 2 * first.truth["omega"])


def test_splits_differ_by_seed_and_repeat() -> None:
    data = simulate(20, seed=1)
    parts = [data.split(0.8, seed)[1].truth["omega"] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(parts[0], parts[1])
    assert set(parts[0]) != set(parts[2])


def test_missing_samples_are_masked() -> None:
    x = np.array([[1.0, np.nan], [3.0, 4.0]])
    batch = Batch.of(Dataset(x))
    assert batch.observed is not None
    assert batch.observed.tolist() == [[True, False], [True, True]]
    assert batch.x.tolist() == [[1.0, 0.0], [3.0, 4.0]]


def test_complete_data_carry_no_mask() -> None:
    assert Batch.of(simulate(2, seed=0)).observed is None


@pytest.mark.parametrize("shape", [(), (5,), (0, 5), (5, 0)])
def test_empty_or_flat_observations_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected"):
        Dataset(np.zeros(shape))


@pytest.mark.parametrize("times", [[0, 0, 1], [1, 0.5, 2], [0, np.nan, 2], [0, 1, np.inf], [0, 1]])
def test_bad_times_are_refused(times: list[float]) -> None:
    with pytest.raises(InputError, match=r"^t "):
        Dataset(np.zeros((2, 3)), {"t": np.array(times)})


def test_times_that_single_precision_merges_are_refused() -> None:
    with pytest.raises(InputError, match="single precision"):
        Dataset(np.zeros((2, 3)), {"t": 1.7e9 + 0.05 * np.arange(3)})


@pytest.mark.parametrize("x", [np.full((2, 3), "a"), np.full((2, 3), 1j), np.full((2, 3), 1e300)])
def test_what_are_no_finite_real_numbers_are_refused(tmp_path: Path, x: np.ndarray) -> None:
    np.savez(tmp_path / "d.npz", x=x)
    with pytest.raises(InputError, match=r"d\.npz"):
        load(tmp_path / "d.npz")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_never_raise_anything_else(
    tmp_path: Path, valid_bytes: bytes, choice: st.DataObject
) -> None:
    raw = bytearray(valid_bytes[: choice.draw(st.integers(0, len(valid_bytes)))])
    for _ in range(choice.draw(st.integers(0, 4))):
        if raw:
            raw[choice.draw(st.integers(0, len(raw) - 1))] = choice.draw(st.integers(0, 255))
    path = tmp_path / "damaged.npz"
    path.write_bytes(bytes(raw))
    try:
        assert load(path).x.ndim >= 2
        said = str(path)
    except InputError as error:
        said = str(error)
    assert str(path) in said


def fail_inside(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("new")
        raise RuntimeError


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        fail_inside(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        simulate(2, seed=0).save(tmp_path / "a" / "d.npz")
