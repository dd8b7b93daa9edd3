# What one does with this repository. `make` alone lists it.
#
# SECONDS is how long each fuzzer runs; EXTRA is handed to pytest or to the benchmark, such as
# `make test EXTRA='-x tests/edge'`.

BIN := .venv/bin
SECONDS := 60
EXTRA :=

.DEFAULT_GOAL := help
.PHONY: help venv test test-fast crash browser interop lint fuzz bench demo docs lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(BIN)/pytest ## set up .venv with everything that the tests need

# A new dependency in pyproject.toml is installed before anything runs.
$(BIN)/pytest: pyproject.toml
	python3 -m venv .venv
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@

test: venv ## run all tests but the crash tests (some minutes)
	$(BIN)/pytest -q -n auto --dist loadfile $(EXTRA)

test-fast: venv ## stop at the first failure; without whole systems and programs from Debian
	$(BIN)/pytest -q -x -n auto --dist loadfile --ignore=tests/system --ignore=tests/crash \
	    --ignore=tests/bench -m 'not long and not proof and not debian and not npm and not pypi' $(EXTRA)

# These keep their cores busy, unlike the other tests.
crash: venv ## kill it, cut its power, fill its disk, break its lines: the short form (some minutes)
	PYTEST_XDIST_AUTO_NUM_WORKERS=$$(nproc) \
	    $(BIN)/pytest -q -n auto --dist loadfile -m 'proof and not long' $(EXTRA)

browser: venv ## open the pages in Debian's chromium (a minute)
	$(BIN)/pytest -q -n auto --dist loadfile -m browser tests/browser $(EXTRA)

# In an environment of its own: what these libraries bring along is none of the other tests' business.
interop: ## compare with the public libraries of senders (a minute)
	python3 -m venv .venv-interop
	.venv-interop/bin/pip install -q -e '.[interop]'
	.venv-interop/bin/pytest -q -n auto -m interop tests/interop $(EXTRA)

lint: venv ## check style, format, types and the layers of packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: venv ## fuzz everything that reads what strangers write, SECONDS each
	$(BIN)/pip install -q -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz all --seconds $(SECONDS)

bench: venv ## measure relay beside nginx, HAProxy, Caddy and FastAPI
	$(BIN)/pip install -q -e '.[bench]'
	$(BIN)/python -m tests.bench $(EXTRA)

demo: venv ## run the relay, a sender and a receiver on this machine
	$(BIN)/relay demo $(EXTRA)

docs: venv ## write the tables of keys and of senders, and the man page, anew
	$(BIN)/python -m tests.repository.key_table
	$(BIN)/python -m tests.repository.sender_table
	$(BIN)/python -m tests.repository.manual

# What the image and a machine install, every version locked by the digests of its files. The second
# file is what builds the wheel.
COMPILE := UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile -q --universal \
    --python-version 3.11 --generate-hashes --upgrade --no-annotate

lock: venv ## renew deploy/requirements.txt and deploy/build-requirements.txt
	$(BIN)/pip install -q uv
	$(COMPILE) pyproject.toml -o deploy/requirements.txt
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	    | $(COMPILE) - -o deploy/build-requirements.txt
