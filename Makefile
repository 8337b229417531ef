# Each target is complete in itself: it installs what it needs and is not there yet.
SHELL := /bin/bash
PYTHON ?= python3
# Tests wait for schedulers and guests more than they compute: two for each processor of a small machine.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? 2 * n : n)))
export PYTHON

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q
COVER := --cov --cov-report= --cov-fail-under=0
CLIENTS := tests/e2e/clients

.PHONY: coverage-folder help demo demo-slurm demo-gridengine test test-full test-xen test-313 check fuzz bench venv clients packages clean lock deb

help:
	@echo "make demo       lease a small cluster of real virtual machines on this machine, and give it back"
	@echo "make demo-slurm lease it from a private Slurm cluster, and see the lease pre-empted (root)"
	@echo "make demo-gridengine  the same with Grid Engine"
	@echo "make test       run the tests"
	@echo "make test-full  run the tests, and those that take long"
	@echo "make test-xen   run the paper's case on two emulated machines with real Xen (root; minutes)"
	@echo "make check      lint, types, layers"
	@echo "make fuzz       send the services what nobody would send (MESSAGES=1000000 SECONDS_FOUND=600)"
	@echo "make bench      run the measurements"
	@echo "make deb        build the Debian package for nodes below dist (JOB_USER=NAME: whom jobs run as)"
	@echo "make venv       prepare .venv for development"
	@echo "make lock       pin the requirements anew"
	@echo "make clean      remove what the other targets built"

demo:
	@tools/system-packages.sh demo
	@tools/venv.sh .venv runtime
	@exec $(BIN)/flyinglow demo

demo-slurm demo-gridengine:
	@tools/system-packages.sh $@
	@tools/venv.sh .venv runtime
	@exec $(BIN)/flyinglow demo --lrm $(@:demo-%=%)

packages:
	@tools/system-packages.sh test

venv:
	@tools/venv.sh .venv dev

clients: packages
	@tools/node-clients.sh $(CLIENTS)

# Services that a test starts as root become an unprivileged user, who must be able to leave their figures as well.
export COVERAGE_FILE := $(CURDIR)/build/coverage/data
coverage-folder:
	@rm -rf build/coverage && mkdir -p build && mkdir -m 1777 build/coverage

# First what may run side by side, then what must have the machine for itself.
test: packages venv clients coverage-folder
	$(PYTEST) -n $(WORKERS) --dist loadgroup -m "not alone and not full and not xen" $(COVER)
	$(PYTEST) -m "alone and not full and not xen" $(COVER) --cov-append || [ $$? -eq 5 ]
	$(BIN)/coverage report
	@$(MAKE) --no-print-directory test-313

test-full: packages venv clients coverage-folder
	$(PYTEST) -n $(WORKERS) --dist loadgroup -m "not alone and not full and not xen" $(COVER)
	$(PYTEST) -m "(alone or full) and not xen" $(COVER) --cov-append
	$(BIN)/coverage report
	@$(MAKE) --no-print-directory test-313

# Nodes that are emulated machines with real Xen; -s, for the times that are printed on the way.
test-xen: venv
	@tools/system-packages.sh test-xen
	@mkdir -p build && mkdir -p -m 1777 build/coverage
	$(PYTEST) -s -m xen tests/e2e/xen

# The unit and contract tests once more on Python 3.13, where there is one; what runs on nodes has Pythons of its own.
test-313:
	@python=$$(tools/python313.sh); \
	if [ -z "$$python" ]; then \
	    echo "tests on Python 3.13: left out, there is none on this machine"; \
	else \
	    PYTHON=$$python tools/venv.sh .venv313 dev && \
	    .venv313/bin/python -m pytest -q -p no:cacheprovider -n $(WORKERS) --dist loadgroup \
	        -m "not alone and not full and not xen" tests/unit tests/contract \
	        --ignore=tests/contract/backend/lrm --ignore=tests/contract/nodectl; \
	fi

check: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) tests/unit/test_layout.py

# Messages of our own making first, then bytes that are to lead to new places; what led there stays in the corpus.
MESSAGES ?= 1000000
SECONDS_FOUND ?= 600
fuzz:
	@tools/venv.sh .venvfuzz fuzz
	.venvfuzz/bin/python tests/fuzz made --messages $(MESSAGES)
	.venvfuzz/bin/python tests/fuzz found --seconds $(SECONDS_FOUND)

bench:
	@tools/system-packages.sh bench
	@tools/venv.sh .venv bench
	$(BIN)/python bench

# The same sources and the same Python give the same bytes.
JOB_USER ?= flyinglow
deb:
	PYTHONPATH=src $(PYTHON) tools/deb.py --user $(JOB_USER)

lock:
	tools/lock.sh --upgrade
	tools/node-clients.sh --lock $(CLIENTS)

clean:
	rm -rf .venv .venv313 .venvfuzz $(CLIENTS)/node_modules build dist src/*.egg-info
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
