# On a fresh Debian 12 with python3, git and make: `make test` and `make demo`, as root. Each makes what it lacks.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SERVERS := .cache/servers/.fetched
CODE := src tests
WORKERS ?= 2
# The kernel's own tests reach every branch of it, or they fail.
KERNEL := tests/imap --cov --cov-fail-under 100 --cov-report term

FUZZER := $(VENV)/.fuzzer
FUZZ ?= --seconds 60

.PHONY: help test check acceptance faults soak bench bench-kernel fuzz lint demo clean
.DEFAULT_GOAL := help

help:
	@echo 'make test          lint, types, import contracts and every test, with real Dovecot, Cyrus and Courier (root)'
	@echo 'make check         the same without the real servers and the slow tests'
	@echo 'make acceptance    20,000 messages through kill -9, pull, push and server to server; 50,000 adopted (root; 20 minutes)'
	@echo 'make faults        every fault scenario x server x tool (mailtwin, mbsync, OfflineIMAP, interimap) in one table (root; 40 minutes)'
	@echo 'make soak          3,000 random worlds, then 1,000 runs ended by kill -9 or a cut connection at random (root; 1 hour)'
	@echo 'make bench         pull 20,000 messages (600 MB) with mailtwin and mbsync, in turn (root)'
	@echo 'make bench-kernel  the protocol kernel beside imaplib, IMAPClient and aioimaplib (1 minute)'
	@echo 'make fuzz          fuzz the IMAP kernel, guided by coverage, a minute for each target (tests/fuzz/README.md)'
	@echo 'make lint          ruff, mypy and import contracts only'
	@echo 'make demo          watch two mailboxes become one'
	@echo 'make clean         remove the virtual environment and all caches'

test: lint $(SERVERS)
	scripts/install-mbsync.sh
	scripts/install-peers.sh offlineimap
	$(BIN)/pytest -n $(WORKERS) $(KERNEL) $(PYTEST_ARGS)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --ignore tests/imap $(PYTEST_ARGS)

check: lint
	scripts/install-mbsync.sh
	scripts/install-peers.sh offlineimap
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not servers and not slow' $(PYTEST_ARGS)

acceptance: $(SERVERS)
	MAILTWIN_ACCEPTANCE_MESSAGES=20000 MAILTWIN_ACCEPTANCE_ADOPTED=50000 $(BIN)/pytest tests/acceptance $(PYTEST_ARGS)

# FAULT_ARGS: --scenario NAME, --server KIND, --tool NAME, --runs N, --seed N, --maildir, --json PATH (docs/faults.md)
faults: $(SERVERS)
	scripts/install-peers.sh
	$(BIN)/python -m mailtwin.testing.faults $(FAULT_ARGS)

# SOAK_ARGS: --runs N, --first WORLD, --seed N, --server KIND, --tool NAME, --jobs N, --log PATH
soak: $(SERVERS)
	MAILTWIN_WORLDS=3000 $(BIN)/pytest -n $(WORKERS) tests/engine/test_worlds.py tests/engine/test_label_worlds.py tests/engine/test_state_lost.py
	$(BIN)/python -m mailtwin.testing.faults.soak $(SOAK_ARGS)

bench: $(SERVERS)
	scripts/install-mbsync.sh
	$(BIN)/python bench/pull.py $(BENCH_ARGS)

bench-kernel: $(INSTALLED)
	$(BIN)/python bench/kernel.py $(BENCH_ARGS)

fuzz: $(FUZZER)
	PYTHONPATH=. $(BIN)/python -m tests.fuzz.run $(FUZZ)

lint: $(INSTALLED)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

demo: $(INSTALLED)
	$(BIN)/mailtwin demo

$(INSTALLED): pyproject.toml scripts/venv.sh
	scripts/venv.sh $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(FUZZER): $(INSTALLED)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

$(SERVERS): $(INSTALLED) $(wildcard src/mailtwin/testing/_packages.py)
	$(BIN)/python -m mailtwin.testing.realservers fetch
	@touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* .fuzz
