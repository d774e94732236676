# make demo: simulate, fit and diagnose a pendulum. make test, make lint: the checks.
# A venv of its own, everything pinned. Python can be chosen: make demo PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUN := runs/pendulum

.PHONY: install demo test slow lint format catalogue bench clean

install: $(INSTALLED)

# torch first and by its exact name: a looser one can bring gigabytes of GPU packages.
$(INSTALLED): requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/python run.py simulate pendulum --n 1000 --seed 3 --out runs/pendulum-test.npz
	$(BIN)/python run.py fit pendulum --seed 0 --out $(RUN) --overwrite
	$(BIN)/python run.py posterior $(RUN) --data runs/pendulum-test.npz --out $(RUN)/posterior.nc
	$(BIN)/python run.py diagnose $(RUN) --posterior $(RUN)/posterior.nc

# Two processes of one thread each: two threads of one are waited for more than they work. Each takes
# one half of the files, so that what the tests of a file share is made once; who is done first helps.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p groundvae.groundvae -p groundvae.physics -p groundvae.data -p groundvae.models -p groundvae.guides \
		-p groundvae.inference -p groundvae.diagnostics -p groundvae.cli

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What `run.py list` tells without loading any of it.
catalogue: install
	$(BIN)/python -c 'from groundvae.cli.catalogue import catalogue; print(*catalogue(), sep="\n")' > cli/catalogue.txt

bench: install
	$(BIN)/python benchmarks/solvers.py
	$(BIN)/python benchmarks/fit_speed.py

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache
