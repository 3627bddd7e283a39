# `make help` lists the targets. Each sets up what it needs in a virtual environment of its own.

PYTHON ?= python3
# The TensorFlow wheel is an extra: cpu, tensorflow or cuda, as in `make install EXTRAS=cuda,io,test`.
EXTRAS ?= cpu,io,onnx,test
LATEST_EXTRAS ?= cpu,onnx,test
GIN_FILE ?= gin/quickstart.gin
# As keras_multigrid/cli/command.py sets them: no notes, and fast convolutions on every processor.
TF_CPP_MIN_LOG_LEVEL ?= 3
TF_ENABLE_ONEDNN_OPTS ?= 1
export TF_CPP_MIN_LOG_LEVEL TF_ENABLE_ONEDNN_OPTS

# Tests run in so many processes: much of them is graphs being traced, by one thread each.
TEST_PROCESSES ?= 2
PYTEST := python -m pytest -n $(TEST_PROCESSES) --dist loadfile

VENV := .venv
LATEST_VENV := .venv-latest
BACKENDS_VENV := .venv-backends
BEAM_VENV := .venv-beam

.DEFAULT_GOAL := help
.PHONY: help install install-latest install-backends install-beam test test-fast test-latest test-latest-fast \
	test-experiments test-backends test-beam lint format quickstart plan clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Set up .venv: TensorFlow 2.17, tensorflow-io, tools for tests (constraints.txt)

install-latest: $(LATEST_VENV)/.installed ## Set up .venv-latest: the newest TensorFlow (constraints-latest.txt)

# The stamp is written last: an installation that failed half-way is done again.
$(VENV)/.installed: setup.py constraints.txt
	$(call check_python,12)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

$(LATEST_VENV)/.installed: setup.py constraints-latest.txt
	$(call check_python,13)
	$(PYTHON) -m venv $(LATEST_VENV)
	$(LATEST_VENV)/bin/python -m pip install --disable-pip-version-check -c constraints-latest.txt -e '.[$(LATEST_EXTRAS)]'
	@touch $@

# Otherwise pip would only say that it finds no such TensorFlow.
check_python = @$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, $(1)) or sys.exit( \
	"The pinned versions need Python 3.11 to 3.$(1). Found " + sys.version.split()[0] + \
	". Name another one: make PYTHON=python3.11 ...")'

install-backends: $(BACKENDS_VENV)/.installed ## Set up .venv-backends: JAX and PyTorch, no TensorFlow (constraints-backends.txt)

$(BACKENDS_VENV)/.installed: setup.py constraints-backends.txt
	$(call check_python,13)
	$(PYTHON) -m venv $(BACKENDS_VENV)
	$(BACKENDS_VENV)/bin/python -m pip install --disable-pip-version-check -c constraints-backends.txt -e '.[jax,torch,test]'
	@touch $@

install-beam: $(BEAM_VENV)/.installed ## Set up .venv-beam: TensorFlow 2.17 and Apache Beam (constraints-beam.txt)

$(BEAM_VENV)/.installed: setup.py constraints-beam.txt
	$(call check_python,12)
	$(PYTHON) -m venv $(BEAM_VENV)
	$(BEAM_VENV)/bin/python -m pip install --disable-pip-version-check -c constraints-beam.txt -e '.[cpu,beam]' pytest
	@touch $@

lint: install ## Check style and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

test: lint ## Check style and run the tests
	$(VENV)/bin/$(PYTEST) -m 'not every'

test-fast: lint ## The same without the long end-to-end runs
	$(VENV)/bin/$(PYTEST) -m 'not slow and not every'

test-latest: install-latest ## Run the tests on the newest TensorFlow
	$(LATEST_VENV)/bin/$(PYTEST) -m 'not every'

test-experiments: install ## Train three steps of every experiment of gin/ on tiny sets
	$(VENV)/bin/$(PYTEST) -m 'slow or every' tests/test_experiments.py

# Neither the experiments' plans nor the check of data sets depend on the version of TensorFlow, and
# the published networks and their weights are run on other backends.
test-latest-fast: install-latest ## The same without the long end-to-end runs
	$(LATEST_VENV)/bin/$(PYTEST) -m 'not slow and not every' \
		$(addprefix --ignore=tests/,test_experiments.py test_check_data.py models/test_weights.py models/test_zoo.py)

# What needs no TensorFlow: the networks, their weights and what trains them. JAX compiles each
# operation for each shape: there, only what is computed differently.
test-backends: install-backends ## Run the tests of the networks on JAX and on PyTorch
	KERAS_BACKEND=jax $(BACKENDS_VENV)/bin/$(PYTEST) -k "not parameters" tests/models/test_backends.py tests/models/test_zoo.py
	KERAS_BACKEND=torch $(BACKENDS_VENV)/bin/$(PYTEST) -k "not parameters" $(addprefix tests/models/test_,backends.py saving.py weights.py zoo.py)

test-beam: install-beam ## Prepare records by Apache Beam on this machine
	$(BEAM_VENV)/bin/python -m pytest tests/test_prepare_beam.py

quickstart: install ## Train a small model on synthetic videos
	$(VENV)/bin/python tools/train.py --gin_file=gin/quickstart.gin

plan: install ## Preview the schedule of an experiment: make plan GIN_FILE=gin/i3d_charades.gin
	$(VENV)/bin/python tools/plan.py --gin_file=$(GIN_FILE)

format: install ## Format the code and apply safe fixes
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## Remove virtual environments, caches and build files, but neither runs/ nor data/
	rm -rf $(VENV) $(LATEST_VENV) $(BACKENDS_VENV) $(BEAM_VENV) build dist *.egg-info .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
