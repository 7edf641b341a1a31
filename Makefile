# make run    train on the embedded digits, attack, write the report, say where it lies
# make test   everything that must hold: lint, types, tests, doctests, documentation
# make fuzz   random networks against independent derivatives, with a new seed, for FUZZ_SECONDS (an hour)
# make test-fast   the tests without the slow ones and without those of whole programs, for the inner loop
# make docs   the documentation, into site/
# make test-newest   rules, training, calculus, evaluation, estimators on the newest torch, a part of it on newer Pythons;
#                    NEWEST_TESTS=... for others

PYTHON ?= python3.11
PIP_EXTRA ?=
BIN := .venv/bin
READY := .venv/.ready
RUN ?= --data digits --rule finite --threat inf:0.1 --n 300 --out runs/first --force

export NO_MKDOCS_2_WARNING := 1# an advertisement of the theme, not a warning of ours

NEWEST := .venv-newest/bin
NEWEST_READY := .venv-newest/.ready
NEWEST_TESTS ?= tests/rules tests/training tests/calculus tests/evaluation tests/sklearn tests/devices
WHOLE := cli comparison devices explanation faults fuzz integrations reporting sklearn training transferability
SMOKE_TESTS := tests/test_public.py tests/rules/test_contract.py tests/sklearn/test_holomorphic.py

.PHONY: run test test-fast test-newest test-newest-torch campaign docs fuzz clean

run: $(READY)
	$(BIN)/holomorph run $(RUN)

test: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/mkdocs build --strict --quiet
	OMP_NUM_THREADS=1 SITE=site $(BIN)/python -m pytest -n 2

# Ten thousand attacks inside proved radii.
campaign: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m campaign tests

fuzz: $(READY)
	FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} FUZZ_SECONDS=$${FUZZ_SECONDS:-3600} OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/fuzz

test-fast: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not browser and not campaign" tests $(WHOLE:%=--ignore=tests/%)

docs: $(READY)
	$(BIN)/mkdocs build --strict
	@echo "The documentation starts at site/index.html"

$(READY): constraints.txt pyproject.toml
	test -x $(BIN)/python || $$(command -v $(PYTHON) || command -v python3) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile $(PIP_EXTRA) -c constraints.txt -e '.[dev,docs]'
	touch $@

# Without constraints: what `pip install holomorph` takes on the day it is run.
test-newest: test-newest-torch
	.ci/other-pythons 3.12 3.13 -- $(SMOKE_TESTS)

test-newest-torch: $(NEWEST_READY)
	OMP_NUM_THREADS=1 $(NEWEST)/python -m pytest -n 2 $(NEWEST_TESTS)

$(NEWEST_READY): pyproject.toml
	test -x $(NEWEST)/python || $$(command -v $(PYTHON) || command -v python3) -m venv .venv-newest
	$(NEWEST)/python -m pip install --quiet --no-compile $(PIP_EXTRA) torchvision -e '.[dev]' || { \
	    echo "The environment with the newest torch cannot be made for pip's reason above; it takes 6 GB in $(CURDIR)." >&2; \
	    exit 1; }
	touch $@

clean:
	rm -rf .venv .venv-newest .venv-3.* site dist build
