# hublet: the verbs. Each makes the virtual environment it needs; nothing has to be installed by hand but Python 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOMS := adr broker certs device_sim dps emulator hub

.PHONY: help install demo test load check format unit bench docs fuzz explore clean
help:
	@echo "make demo    start the emulator, onboard 25 devices, renew one certificate"
	@echo "make test    the whole suite, official SDK included"
	@echo "make check   format, lint, types, room rule, unit tests"
	@echo "make load    the long and heavy tests: 200 devices in a storm, 1,000 under a revocation"
	@echo "make bench   the budgets table, as ratios in one run"
	@echo "make docs    the page of assumptions, from the code"
	@echo "make explore property tests on new examples, twenty times as many"
	@echo "make fuzz    a minute of malformed MQTT against the front"

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --editable '.[report,locust]'
	@touch $@
install: $(VENV)/.installed

# The official SDK wants paho-mqtt 1.x: a virtual environment of its own.
.venv-sdk/.installed: tests/conformance/sdk-requirements.txt
	$(PYTHON) -m venv .venv-sdk
	.venv-sdk/bin/python -m pip install --quiet --disable-pip-version-check -r tests/conformance/sdk-requirements.txt
	@touch $@

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --exit-zero --quiet .

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/pytest -q -n 2 tests/unit

unit: install
	$(BIN)/pytest -q -n 2 tests/unit

# The second part starts real emulators; a file's tests stay in one process and share one.
test: install .venv-sdk/.installed
	$(BIN)/pytest -q -n 2 tests/unit tests/properties
	$(BIN)/pytest -m "not load" -n 2 --dist loadfile --no-loadscope-reorder tests/contract tests/security tests/conformance

# Minutes of load each: a storm of faults over 200 devices, a revocation under 1,000.
load: install
	$(BIN)/pytest -m load tests

demo: install
	$(BIN)/hublet demo

bench: install
	$(BIN)/python -m bench

docs: install
	$(BIN)/python docs/generate.py

explore: install
	HYPOTHESIS_PROFILE=explore $(BIN)/pytest -q -n 2 tests/properties

fuzz: install
	$(BIN)/python -m bench.fuzz --seconds 60

clean:
	rm -rf $(VENV) .venv-sdk .mypy_cache .ruff_cache .pytest_cache
