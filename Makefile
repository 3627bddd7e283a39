# `make help` lists the targets. Each sets up what it needs in a virtual environment of its own.

PYTHON ?= python3
# The TensorFlow wheel is an extra: cpu, tensorflow or cuda, as in `make install EXTRAS=cuda,io,test`.
EXTRAS ?= cpu,io,remote,onnx,tfds,hf,test
BACKENDS_EXTRAS ?= cpu,jax,torch,remote,onnx,tfds,hf,test
GIN_FILE ?= quickstart
# As keras_multigrid/cli/command.py sets them: no notes, and fast convolutions on every processor.
TF_CPP_MIN_LOG_LEVEL ?= 3
TF_ENABLE_ONEDNN_OPTS ?= 1
export TF_CPP_MIN_LOG_LEVEL TF_ENABLE_ONEDNN_OPTS

# Tests run in so many processes. Much of them is waiting, and tracing graphs by one thread each: more
# threads for one operation would wait for each other.
TEST_PROCESSES ?= 3
PYTEST_ENV := TF_NUM_INTRAOP_THREADS=1 OMP_NUM_THREADS=1
PYTEST := python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
QUICK := -m 'not slow and not every'

# Of 10,000 files, tests import a third: Python compiles them when it does, and keeps that, whatever
# the shell says. Otherwise each process of a test would compile them again.
PIP_FLAGS := --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BACKENDS_VENV := .venv-backends
BEAM_VENV := .venv-beam
DOCS_VENV := .venv-docs
PICTURES_VENV := .venv-pictures

.DEFAULT_GOAL := help
.PHONY: help install install-backends install-beam test test-slow test-latest test-latest-fast \
	test-every test-backends test-beam fuzz lint types format docs quickstart plan clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Set up .venv: TensorFlow 2.17, tensorflow-io, tools for tests (constraints.txt)

# The stamp is written last: an installation that failed half-way is done again.
$(VENV)/.installed: setup.py constraints.txt
	$(call check_python,12)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

# Otherwise pip would only say that it finds no such TensorFlow.
check_python = @$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, $(1)) or sys.exit( \
	"The pinned versions need Python 3.11 to 3.$(1). Found " + sys.version.split()[0] + \
	". Name another one: make PYTHON=python3.11 ...")'

install-backends: $(BACKENDS_VENV)/.installed ## Set up .venv-backends: the newest TensorFlow, JAX and PyTorch (constraints-backends.txt)

$(BACKENDS_VENV)/.installed: setup.py constraints-backends.txt
	$(call check_python,13)
	$(PYTHON) -m venv $(BACKENDS_VENV)
	$(BACKENDS_VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints-backends.txt -e '.[$(BACKENDS_EXTRAS)]'
	@touch $@

install-beam: $(BEAM_VENV)/.installed ## Set up .venv-beam: TensorFlow 2.17 and Apache Beam (constraints-beam.txt)

$(BEAM_VENV)/.installed: setup.py constraints-beam.txt
	$(call check_python,12)
	$(PYTHON) -m venv $(BEAM_VENV)
	$(BEAM_VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints-beam.txt -e '.[cpu,beam]' pytest
	@touch $@

lint: types ## Check style, format, types and spelling
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/codespell

types: install ## Check what type checkers of users see of the public names
	$(VENV)/bin/mypy

test: lint ## Check style and run the tests
	$(PYTEST_ENV) $(VENV)/bin/$(PYTEST) $(QUICK)

test-slow: install ## Run the long end-to-end runs that `make test` leaves out
	$(PYTEST_ENV) $(VENV)/bin/$(PYTEST) -m 'slow and not every'

test-latest: install-backends ## Run the tests on the newest TensorFlow
	$(PYTEST_ENV) $(BACKENDS_VENV)/bin/$(PYTEST) -m 'not every'

test-every: install ## Run the longest, the whole quickstart among them: hours
	$(PYTEST_ENV) $(VENV)/bin/$(PYTEST) -m every

# What a new TensorFlow or Keras can change: private names, fit, graphs, tf.data, strategies, files,
# checkpoints, export. Not: lists, plans, schedules, drawing and decoding in Python and NumPy, command
# lines; nor the networks, which test-backends runs with the same Keras.
VERSION_TESTS := $(addprefix tests/,test_compat.py test_learning_rate.py test_remote.py test_remote_records.py test_storage.py \
	test_distribute.py::test_several_workers \
	test_readme.py::test_example_trains_in_at_most_twenty_lines \
	test_serving.py::test_two_trainers_get_their_slices_of_each_batch_though_a_worker_is_killed \
	$(addprefix callbacks/test_,checkpoint.py multigrid.py training_log.py updates.py) \
	runs/test_training.py::test_report runs/test_exporting.py $(addprefix models/test_,export.py replicas.py sub_batch_normalization.py))

test-latest-fast: install-backends ## Test on the newest TensorFlow what depends on its version
	$(PYTEST_ENV) $(BACKENDS_VENV)/bin/$(PYTEST) $(QUICK) $(VERSION_TESTS)

# The networks, their weights and what trains them; and whole runs. A network whose output is right
# has right stages, and two of them have every layer of the others. PyTorch computes more of them: JAX
# compiles each operation for each shape.
BACKEND_TESTS := $(addprefix tests/,test_compat.py augmentation/test_on_every_backend.py runs/test_run_on_backend.py \
	models/test_backends.py models/test_depthwise_conv3d.py models/test_zoo.py)

BACKEND_KINDS := "not parameters and not stages and not i3d_8x8 and not slow_8x8"

test-backends: install-backends ## Run the tests of networks and runs on JAX and on PyTorch
	$(PYTEST_ENV) KERAS_BACKEND=jax $(BACKENDS_VENV)/bin/$(PYTEST) $(QUICK) -k $(BACKEND_KINDS) $(BACKEND_TESTS) \
		"tests/models/test_x3d.py::test_logits_and_blocks_of_the_reference[t3_s80]"
	$(PYTEST_ENV) KERAS_BACKEND=torch $(BACKENDS_VENV)/bin/$(PYTEST) $(QUICK) -k $(BACKEND_KINDS) $(BACKEND_TESTS) \
		$(addprefix tests/models/test_,mvit.py preset.py saving.py transformer_layers.py videomae.py weights.py x3d.py)

docs: $(DOCS_VENV)/.installed ## Build the site of docs/ into build/site; links that lead nowhere are errors
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict

$(DOCS_VENV)/.installed: constraints-docs.txt
	$(call check_python,13)
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints-docs.txt mkdocs-material 'mkdocstrings[python]' ruff
	@touch $@

pictures: install $(PICTURES_VENV)/.installed ## Make the pictures of README and docs anew, some of them from a run
	$(VENV)/bin/python benchmarks/pictures.py

$(PICTURES_VENV)/.installed: constraints-docs.txt
	$(PYTHON) -m venv $(PICTURES_VENV)
	$(PICTURES_VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints-docs.txt PyQt6-WebEngine
	@touch $@

test-beam: install-beam ## Prepare records by Apache Beam on this machine
	$(PYTEST_ENV) $(BEAM_VENV)/bin/python -m pytest tests/test_prepare_beam.py

fuzz: install ## Damage 3,300 files of every kind that is read, and count how that ends
	$(VENV)/bin/python tests/fuzz.py $(FUZZ)

quickstart: install ## Train a small model on synthetic videos
	$(VENV)/bin/keras-multigrid train --gin_file=quickstart

plan: install ## Preview the schedule of an experiment: make plan GIN_FILE=i3d_charades
	$(VENV)/bin/keras-multigrid plan --gin_file=$(GIN_FILE)

format: install ## Format the code and apply safe fixes
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## Remove virtual environments, caches and build files, but neither runs/ nor data/
	rm -rf $(VENV) $(BACKENDS_VENV) $(BEAM_VENV) build dist *.egg-info .hypothesis .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
