# The ways in. Each target creates what it needs; a second run starts at once.
#
#   make demo [ARGS=...]   the whole pipeline on the embedded game, ending in a report
#   make test              the test suite
#   make test-slow         the tests that need minutes or gigabytes
#   make parity [DIR=...]  compare with reference outputs of the published code
#   make lint              ruff, formatting, types
#   make bench             short runs of the measurements in benchmarks/
#   make format            rewrite the code in the project's format
#   make clean             remove caches and the virtual environment (runs/ stays)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow parity lint bench format clean system

help:
	@sed -n '3,10s/^# *//p' Makefile

# The stamp is newer than the files that say what to install, or the install runs again.
# torchvision comes with open_clip; its default build does not match a CPU build of torch (prior/text/embedding/clip_modules.py).
$(INSTALLED): setup.py constraints.txt
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "vpt-pipeline needs Python >= 3.10 with the venv module ($(PYTHON) is not that). On Debian or Ubuntu: apt-get install -y python3-venv. Another interpreter: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,viz]'
	@touch $@

system:
	@scripts/install_system_packages.sh

demo: system $(INSTALLED)
	$(BIN)/vpt demo $(ARGS)

# Two processes, a file's tests in one of them: as many as the smallest machine that we test on has processors. Each counts in
# one thread: threads that wait for each other's turn made small trainings much slower.
test: system $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-slow: system $(INSTALLED)
	$(BIN)/python -m pytest -m slow --timeout 1800 $(ARGS)

# Reference outputs of the published code against ours; DIR is any folder of their layout.
parity: $(INSTALLED)
	$(BIN)/python -m tests.parity $(DIR) $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: system $(INSTALLED)
	@found=0; for script in benchmarks/[!_]*.py; do \
		test -e "$$script" || continue; found=1; \
		echo "== $$script"; $(BIN)/python -m "benchmarks.$$(basename $$script .py)" --quick $(ARGS) || exit 1; \
	done; test $$found = 1 || echo "no measurements in benchmarks/ yet"

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
