"""``gv.read``: what people write is read as it is, and what is wrong is told in one sentence."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.input import Input
from groundvae.data.reading import read
from groundvae.data.root import find_folder
from groundvae.data.times import stacked

MEASURED = find_folder("measured") or Path("measured")  # where GROUNDVAE_DATA says
EACH = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def data_sets(draw: st.DrawFn, *, shared: bool = False) -> Dataset:
    """Data sets of a few observations, with gaps, inputs and true latents."""
    n, channels = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    lengths = [draw(st.integers(1, 6)) for _ in range(1 if shared else n)]
    grids = [np.cumsum(rng.uniform(0.01, 1, length)).round(6) for length in lengths]
    grids = grids * n if shared else grids
    shape = (channels,) if channels > 1 else ()
    rows = [rng.standard_normal((len(g), *shape)) for g in grids]
    for row in rows:
        row[rng.random(row.shape) < 0.2] = np.nan
        row[0] = 1.0
    x = stacked(rows).astype(np.float32)
    times = grids[0] if shared else stacked(grids)
    drive = np.where(np.isnan(np.broadcast_to(times, x.shape[:2])), np.nan, np.arange(x.shape[1]))
    inputs = {"mass": rng.uniform(1, 2, n), "drive": drive}
    labels = {"observation": tuple(f"run {i}" for i in range(n))}
    if channels > 1:
        labels["channel"] = ("here", "there")
    truth = {"omega": rng.uniform(1, 2, n)}
    return Dataset(x, {"t": times}, truth, inputs, frozenset(inputs), labels=labels)


INPUTS = {"mass": Input("kg"), "drive": Input("N", over=("time",))}


def agree(found: Dataset, data: Dataset) -> None:
    """Refuse a difference; an own grid may be read as a shared one where the longest has it."""
    assert found.labels == data.labels
    assert found.own == data.own
    steps = found.x.shape[1]
    assert found.x.shape == data.x[:, :steps].shape
    times = np.broadcast_to(data.coordinates["t"], data.x.shape[:2])
    read_times = np.broadcast_to(found.coordinates["t"], found.x.shape[:2])
    for i in range(len(data)):
        there = ~np.isnan(times[i])
        places = np.searchsorted(read_times[i], times[i][there])
        np.testing.assert_array_equal(read_times[i][places], times[i][there])
        np.testing.assert_array_equal(found.x[i][places], data.x[i][there])
        drive, expected = found.inputs["drive"][i], data.inputs["drive"][i]
        np.testing.assert_array_equal(drive[places], expected[there])
        assert np.isfinite(found.x[i]).sum() == np.isfinite(data.x[i]).sum()
    np.testing.assert_array_equal(found.inputs["mass"], data.inputs["mass"])
    np.testing.assert_array_equal(found.truth["omega"], data.truth["omega"])


def long_frame(data: Dataset) -> pd.DataFrame:
    """One row a sample."""
    channels = data.labels.get("channel", ("",))
    x = data.x.reshape(*data.x.shape[:2], -1)
    times = np.broadcast_to(data.coordinates["t"], data.x.shape[:2])
    rows = [
        {
            "observation": data.labels["observation"][i],
            "time": times[i, k],
            "channel": channels[c],
            "value": x[i, k, c],
            "mass": data.inputs["mass"][i],
            "drive": data.inputs["drive"][i, k],
            "omega": data.truth["omega"][i],
        }
        for i in range(len(data))
        for k in range(data.lengths[i])
        for c in range(x.shape[2])
    ]
    frame = pd.DataFrame(rows)
    return frame if len(channels) > 1 else frame.drop(columns="channel")


@EACH
@given(data_sets())
def test_npz_round_trip(tmp_path: Path, data: Dataset) -> None:
    path = tmp_path / "d.npz"
    data.save(path)
    found = read(path)
    assert found.arrays().keys() == data.arrays().keys()
    for name, value in data.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], value)
    assert (found.own, found.labels, found.units) == (data.own, data.labels, data.units)
    assert found.inputs.keys() == data.inputs.keys()
    assert found.truth.keys() == data.truth.keys()


@EACH
@given(data_sets())
def test_long_round_trip(tmp_path: Path, data: Dataset) -> None:
    path = tmp_path / "d.csv"
    frame = long_frame(data)
    frame.to_csv(path, index=False)
    for source in (path, frame, frame.set_index("observation")):
        agree(read(source, inputs=INPUTS, truth=["omega"]), data)


@EACH
@given(data_sets(shared=True))
def test_wide_round_trip(tmp_path: Path, data: Dataset) -> None:
    x = data.x if data.x.ndim == 2 else data.x[..., 0]
    path = tmp_path / "d.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        times = data.coordinates["t"].tolist()
        writer.writerow(["observation", "mass", *(f"t={t!r}" for t in times)])
        for name, mass, row in zip(
            data.labels["observation"], data.inputs["mass"].tolist(), x.tolist(), strict=True
        ):
            writer.writerow([name, mass, *("" if np.isnan(v) else repr(v) for v in row)])
    found = read(path)
    np.testing.assert_array_equal(found.x, x)
    np.testing.assert_array_equal(found.coordinates["t"], data.coordinates["t"])
    np.testing.assert_array_equal(found.inputs["mass"], data.inputs["mass"])
    assert found.labels["observation"] == data.labels["observation"]


def labelled(data: Dataset) -> xr.Dataset:
    """The same as xarray has it."""
    dims = ("observation", "time", *(("channel",) if data.x.ndim == 3 else ()))
    own = ("observation", "time") if data.own_times else ("time",)
    return xr.Dataset(
        {
            "x": (dims, data.x, {"units": "m"}),
            "mass": ("observation", data.inputs["mass"], {"units": "kg"}),
            "drive": (("observation", "time"), data.inputs["drive"], {"units": "N"}),
            "omega": ("observation", data.truth["omega"]),
        },
        {
            "t": (own, data.coordinates["t"], {"units": "s"}),
            **{axis: list(names) for axis, names in data.labels.items()},
        },
    )


@EACH
@given(data_sets())
def test_netcdf_round_trip(tmp_path: Path, data: Dataset) -> None:
    path = tmp_path / "d.nc"
    made = labelled(data)
    made.to_netcdf(path, engine="h5netcdf")
    for source in (path, made):
        found = read(source, truth=["omega"])
        for name, value in data.arrays().items():
            np.testing.assert_array_equal(found.arrays()[name], value)
        assert (found.own, found.labels) == (data.own, data.labels)
        assert found.units == {"x": "m", "mass": "kg", "drive": "N"}


def test_one_record_is_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("# a comment\nt; angle; push\n0; 1.0; 0\n0.1; ; 1\n0.3; 0.8; 2\n")
    found = read(path, x="angle")
    assert found.x.tolist() == [[1.0, pytest.approx(np.nan, nan_ok=True), pytest.approx(0.8)]]
    assert found.coordinates["t"].tolist() == [0, 0.1, 0.3]
    assert found.inputs["push"].tolist() == [[0, 1, 2]]
    record = xr.DataArray([1.0, 2.0], {"time": [0.0, 500.0]}, ["time"], name="height")
    record["time"].attrs["units"] = "ms"
    found = read(record)
    assert found.x.shape == (1, 2)
    assert found.coordinates["t"].tolist() == [0.0, 0.5]
    assert read(np.ones((1, 4)), t=0.5).coordinates["t"].tolist() == [0, 0.5, 1, 1.5]
    assert read(np.ones((1, 4)), t=[0, 1, 2, 4]).coordinates["t"].tolist() == [0, 1, 2, 4]


def test_several_columns_are_channels(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("Year, Lynx, Hare\n1900, 4.0, 30.0\n1901, 6.1, 47.2\n")
    found = read(path, t="Year", x=["Lynx", "Hare"])
    assert found.x.shape == (1, 2, 2)
    assert found.labels == {"channel": ("Lynx", "Hare")}
    assert read(path, x="Hare", t=2.0).coordinates["t"].tolist() == [0, 2]


def test_errors_and_censoring_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("time,value,error,censored\n0,1,0.1,none\n1,2,0.2,left\n2,,,\n3,9,0.1,right\n")
    found = read(path)
    assert found.error is not None
    assert found.censored is not None
    assert found.error[0, :2].tolist() == [0.1, 0.2]
    assert found.censored[0].tolist() == [0, -1, 0, 1]
    assert not found.inputs
    found.save(tmp_path / "d.npz")
    np.testing.assert_array_equal(read(tmp_path / "d.npz").censored, found.censored)


def test_dates_are_seconds() -> None:
    days = pd.to_datetime(["2026-01-01", "2026-01-02"])
    frame = pd.DataFrame({"time": days, "value": [1.0, 2.0]})
    assert read(frame).coordinates["t"].tolist() == [0, 86400]
    record = xr.DataArray([1.0, 2.0], {"time": frame["time"]}, ["time"])
    assert read(record).coordinates["t"].tolist() == [0, 86400]


def test_arrays_by_name() -> None:
    x, times = np.zeros((2, 3)), np.arange(3.0)
    found = read({"x": x, "t": times, "omega": np.ones(2), "u": np.ones(3), "label": np.array("a")})
    assert set(found.truth) == {"omega"}
    assert set(found.inputs) == {"u"}
    declared = {"omega": Input("rad/s"), "u": Input(over=("time",))}
    found = read({"x": x, "t": times, "omega": np.ones(2), "u": np.ones((2, 3))}, inputs=declared)
    assert found.own == {"omega", "u"}
    finer = {"x": x, "t": times, "u": np.ones(5), "t_u": np.linspace(0, 2, 5)}
    found = read(finer, inputs={"u": Input(over=("time",))})
    assert found.inputs.keys() == {"u", "t_u"}
    assert not found.signals
    with pytest.raises(InputError, match="may be one number an observation or a signal"):
        read({"x": np.zeros((3, 3)), "u": np.ones(3)}, inputs=["u"])
    with pytest.raises(InputError, match="the arrays: has no input 'v', found: u"):
        read({"x": x, "u": np.ones(3)}, inputs=["v"])


HOSTILE = {
    "": "is empty",
    "\n\n# nothing\n": "is empty",
    "time,value\n": "has a header and no rows",
    ",,\n1,2,3\n": "names no column",
    "time,time\n0,1\n": "two columns 'time'",
    "when,what,why\n0,1,2\n": "has the columns when, what, why, expected observation, time",
    "time,a,b\n0,1,2\n": "expected the name (or names) of what is observed",
    "time,value\n0,1\n1,abc\n": "line 3: value is 'abc', expected a number",
    "time,value\n0,1\n\n# x\n1,1_0\n": "line 5: value is '1_0', expected a number",
    "time,value\n0,1\n1,inf\n": "line 3: value is infinite",
    "time,value\n0,1\n1,1e99\n": "infinite",
    "time,value\n0,1\nsoon,2\n": "line 3: time is 'soon'",
    "time,value\n0,1\n,2\n": "line 3: time is missing",
    "time,value\n0,1\n0,2\n": "twice, expected increasing times (of what was",
    "time,value\n1,1\n0,2\n": "line 3: time 0 comes after 1, expected increasing",
    "time,value\n0\n": "line 2 has 1 cells, expected 2",
    "time,value\n0,1,2\n": "line 2 has 3 cells, expected 2",
    "time,value\n0,\n1,NA\n": "observation 0 has no samples",
    "observation,time,value\na,0,1\nb,0,\n": "observation b has no samples",
    "observation,time,value\na,0,1\nb,1,1\nb,0,2\n": "line 4: time 0 of observation b comes",
    "observation,time,value\na,0,1\n,1,1\n": "line 3: observation is missing",
    "time,value,error\n0,1,0\n": "error is not positive",
    "time,value,censored\n0,1,often\n": "line 2: censored is 'often'",
    "time,value,censored\n0,1,3\n": "line 2: censored is '3', expected left, none or right",
    "time,value,mass\n0,1,heavy\n1,2,1\n": "",
    "time,value,mass\n0,1,1\n1,2,heavy\n": "line 3: mass is 'heavy'",
    "observation,0,1\na,1,x\n": "line 2: 1 is 'x'",
    "observation,1,0\na,1,2\n": "the header's times do not increase",
    "observation,0,1\na,,\n": "line 2: the observation has no samples",
    "observation,0,1\na,1,2\na,1,2\n": "holds a name twice",
    "time,value\n1700000000,1\n1700000000.01,2\n": "too fine for single precision",
    'time,value\n0,"1\n': "",
    "time,value\n0,1\x00\n": "",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_tables_get_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text(text)
    if text.startswith("time,value,mass\n0,1,heavy"):  # a column of text is no input
        assert not read(path).inputs
        return
    if text.startswith('time,value\n0,"1'):
        assert read(path).x.tolist() == [[1]]
        return
    with pytest.raises(InputError) as caught:
        read(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert HOSTILE[text] in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "height"}, "has no column 'height', found: observation, time, value, mass"),
        ({"t": "when"}, "has no column 'when'"),
        ({"inputs": ["drive"]}, "has no column 'drive'"),
        ({"inputs": {"mass": Input()}}, "mass changes within observation a, expected one number"),
        ({"truth": ["mass"]}, "mass changes within observation a"),
        ({"t": -1.0}, "t is -1.0, expected a name or a positive step"),
        ({"t": [0.0]}, "1 times are given for 2 rows"),
        ({"t": object()}, "expected a name, a step in s, or times"),
    ],
)
def test_wrong_names_get_one_sentence(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    path = tmp_path / "d.csv"
    path.write_text("observation,time,value,mass\na,0,1,1\na,1,1,2\n")
    with pytest.raises(InputError, match=message):
        read(path, **options)  # type: ignore[arg-type]


def test_an_input_with_gaps_is_refused_by_name() -> None:
    frame = pd.DataFrame({"time": [0.0, 1.0, 2.0], "value": 1.0, "u": [1.0, np.nan, 2.0]})
    assert not read(frame).inputs
    with pytest.raises(InputError, match="input u is missing in observation 0 at time 1, expected"):
        read(frame, inputs=["u"])


@pytest.mark.parametrize("name", ["d.npz", "d.csv", "d.nc", "d.parquet", "d.txt", "d.xyz", "d"])
@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n\xff", b"PK\x03\x04\x00\xff", b"\xff\xfe"])
def test_binary_junk_gets_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_name_that_lies_is_told(tmp_path: Path) -> None:
    Dataset(np.ones((2, 3))).save(tmp_path / "d.npz")
    (tmp_path / "d.npz").rename(tmp_path / "d.csv")
    with pytest.raises(InputError, match=r"is a zip \(as \.npz\), expected a table of text"):
        read(tmp_path / "d.csv")
    for missing in ("no.csv", "no.nc", "no.npz", "no.zarr", "no.parquet"):
        with pytest.raises(InputError, match="no such file"):
            read(tmp_path / missing)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "folder.csv")
    with pytest.raises(InputError, match=r"cannot be read from builtins\.int, expected a path"):
        read(5)  # type: ignore[arg-type]


@EACH
@given(text=st.text(alphabet='time,value\n01.e-"#; a', max_size=60))
def test_any_text_is_data_or_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text(text)
    try:
        assert len(read(path))
        said = str(path)
    except InputError as error:
        said = str(error)
    assert said.startswith(str(path))
    assert "\n" not in said


@pytest.fixture(scope="module")
def netcdf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("netcdf") / "d.nc"
    xr.Dataset({"x": (("observation", "time"), np.ones((2, 3)))}).to_netcdf(path, engine="h5netcdf")
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(EACH, derandomize=True)
@given(choice=st.data())
def test_damaged_netcdf_never_raises_anything_else(
    tmp_path: Path, netcdf: bytes, choice: st.DataObject
) -> None:
    # A path of its own each time: h5netcdf leaves a file open that it cannot read.
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.nc"
    raw = bytearray(netcdf)
    for _ in range(choice.draw(st.integers(1, 4))):
        raw[choice.draw(st.integers(0, len(raw) - 1))] = choice.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        assert len(read(path))
        said = str(path)
    except InputError as error:
        said = str(error)
    assert str(path) in said


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (xr.Dataset(), "has the variables none, expected x="),
        (xr.Dataset({"a": ("time", [1.0]), "b": ("time", [1.0])}), "has the variables a, b"),
        (xr.Dataset({"x": (("observation", "time"), [["a"]])}), "not numbers"),
        (
            xr.Dataset({"x": ("time", [1.0])}, {"time": ("time", [0.0], {"units": "furlong"})}),
            "time is in 'furlong', expected s, ms",
        ),
        (xr.Dataset({"x": ("time", [1.0, 2])}, {"time": [1.0, 0.0]}), "not strictly increasing"),
    ],
)
def test_labelled_arrays_that_are_none_get_one_sentence(made: xr.Dataset, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(made)


def test_parquet_says_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"groundvae\[parquet\]|cannot be read as Parquet"):
        read(path)


def test_parquet_round_trip(tmp_path: Path) -> None:
    """Columns of every kind that tables keep: categories, missing values, names as an index."""
    pytest.importorskip("pyarrow")
    names = ["a", "a", "a", "b", "b"]
    times, values = [0.0, 1.0, 3.0, 0.0, 2.0], [1.0, 2.0, np.nan, 3.0, 4.0]
    frame = pd.DataFrame({"observation": names, "time": times, "value": values, "dose": 0.5})
    expected = read(frame, inputs=["dose"])
    kinds = {"observation": "category", "time": "float32", "value": "Float64", "dose": "float32"}
    tables = (frame, frame.astype(kinds), frame.set_index("observation"))
    for i, table in enumerate(tables):
        table.to_parquet(tmp_path / f"{i}.parquet")
        found = read(tmp_path / f"{i}.parquet", inputs=["dose"])
        np.testing.assert_array_equal(found.x, expected.x)
        np.testing.assert_array_equal(found.coordinates["t"], expected.coordinates["t"])
        np.testing.assert_array_equal(found.inputs["dose"], [0.5, 0.5])
        assert found.labels == expected.labels


@pytest.mark.skipif(not MEASURED.is_dir(), reason="needs the measured records")
def test_measured_records_are_read() -> None:
    balls = read(MEASURED / "ball_drops.csv")
    assert (len(balls), balls.own_times, balls.x.ndim) == (11, True, 2)
    assert balls.labels["observation"][0] == "Baseball"
    rotary = read(MEASURED / "rotary_pendulum.csv")
    assert rotary.x.shape == (2, 5000)
    assert not rotary.own_times
    covariates = {"Wt": Input("kg"), "Dose": Input("mg/kg")}
    study = MEASURED / "theophylline.csv"
    doses = read(study, observation="Subject", t="Time", x="conc", inputs=covariates)
    assert doses.x.shape == (12, 11)
    assert doses.own == {"Wt", "Dose"}
    pelts = read(MEASURED / "lynx_hare.csv", t="Year", x=["Lynx", "Hare"])
    assert pelts.x.shape == (1, 21, 2)
    tanks = read(MEASURED / "cascaded_tanks.csv", x="yEst", t=4.0, inputs=["uEst"])
    assert tanks.inputs["uEst"].shape == (1, 1024)


def test_a_column_may_begin_as_times_of_an_input_do_where_there_is_no_such_input() -> None:
    table = pd.DataFrame(
        {
            "observation": ["a"] * 3 + ["b"] * 3,
            "time": [0.0, 1.0, 2.0] * 2,
            "value": np.arange(6.0),
            "t_out": [3.0, 1.0, 2.0, 3.0, 2.0, 1.0],  # a temperature
        }
    )
    assert read(table).inputs["t_out"].tolist() == [[3.0, 1.0, 2.0], [3.0, 2.0, 1.0]]


def pulses(**changes: object) -> pd.DataFrame:
    """Two cells, each with pulses at times of their own, which stand in its first rows."""
    table = pd.DataFrame(
        {
            "observation": ["a"] * 4 + ["b"] * 3,
            "time": [0.0, 1.0, 2.0, 3.0, 0.0, 1.5, 3.0],
            "value": np.arange(7.0),
            "current": [0.0, 2.0, 0.0, np.nan, 1.0, 0.0, np.nan],
            "t_current": [0.0, 0.7, 3.0, np.nan, 0.0, 3.0, np.nan],
        }
    )
    for name, value in changes.items():
        table.loc[1, name] = value
    return table


@pytest.mark.parametrize(
    "inputs",
    [None, ["current"], {"current": Input("A", over=("time",), interpolation="previous")}],
)
def test_a_signal_of_a_long_table_keeps_times_of_its_own(inputs: object) -> None:
    found = read(pulses(), inputs=inputs).inputs  # type: ignore[arg-type]
    np.testing.assert_array_equal(found["current"], [[0.0, 2.0, 0.0], [1.0, 0.0, np.nan]])
    np.testing.assert_array_equal(found["t_current"], [[0.0, 0.7, 3.0], [0.0, 3.0, np.nan]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t_current": np.nan}, "row 1: t_current is missing beside current"),
        ({"current": np.nan}, "row 1: current is missing beside t_current"),
        ({"t_current": -1.0}, "row 1: t_current is -1, expected increasing times"),
    ],
)
def test_a_signal_without_its_times_gets_one_sentence(
    changes: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(pulses(**changes), inputs=["current"])
