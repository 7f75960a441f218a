# make demo   the main job, end to end: data, training, evaluation, runs/demo/report.html
# make test   lint, types and the whole test suite
# make docs   the site of the guides and of the reference, build/site
# make wheel  sdist and wheel, installed into an empty environment and used there
#
# They make .venv and install everything on first use, and are safe to repeat: what exists is reused.
#
#   make demo DATA=lidc_slices.tar.gz    the same on real crops (LIDC-IDRI-slices layout: tar, zip or folder)
#   make demo RUN=runs/mine              another place for the result
#   make test PYTHON=python3.12          another interpreter (3.11 or newer)
#   make demo TORCH_INDEX=URL            another build of torch, for example for CUDA: the index URL that
#                                        PyTorch's installation page names for it

PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo
TORCH_INDEX ?=
DATA ?=

# what Python compiles is kept, whatever the environment says: tests start it many times
export PYTHONDONTWRITEBYTECODE =

BIN = $(VENV)/bin
INSTALLED = $(VENV)/installed
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
STORE = data/$(if $(DATA),$(firstword $(subst ., ,$(notdir $(DATA:/=)))),demo)

.PHONY: install demo test lint wheel docs clean
.DELETE_ON_ERROR:

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing into $(VENV) (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	@$(PIP) --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) $(STORE)/manifest.json
	$(BIN)/probunet train --config demo --data.store $(STORE) --out $(RUN) --set-aside
	$(BIN)/probunet evaluate $(RUN)
	$(BIN)/probunet report $(RUN)
	test -d $(RUN)/pictures || $(BIN)/probunet prepare pictures $(STORE) --out $(RUN)/pictures

$(STORE)/manifest.json: | $(INSTALLED)
ifeq ($(DATA),)
	$(BIN)/probunet prepare readers --out $(STORE) --spacing 1 --size 64
else
	$(BIN)/probunet prepare slices --archive $(DATA) --out $(STORE)
endif

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n logical --maxprocesses 8 --dist worksteal

wheel: $(INSTALLED)
	.ci/wheel $(BIN)/python

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "the site is build/site; look at it with: python3 -m http.server --directory build/site"

clean:
	rm -rf $(VENV) data runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
