# `make demo` trains on real photographs, `make test` checks everything; both set up
# .venv first. mmcv is compiled (6 minutes on 2 cores; pip keeps the wheel).

PYTHON ?= python3
VENV := .venv
# A second environment with Deep Lake 3, to write lakes in the old format for the tests.
VENV_V3 := .venv-v3
# A third, that sees the packages of the first, with what the benchmarks compare with.
VENV_BENCH := .venv-bench
# A fourth, that makes the site of the documentation; it reads the package without importing it.
VENV_DOCS := .venv-docs
# A fifth, that builds and checks the wheel and the source distribution.
VENV_PACKAGE := .venv-package
# Microsoft's emulator of Azure Blob Storage, for the tests; needs Node.js.
AZURITE := .azurite
# Packages that some of MMDetection's own transforms need, beside .venv: they ask for an
# older numpy than they work with.
ZOO := $(abspath .zoo)
BIN := $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)

.PHONY: help setup demo s3 zoo bench matrix test lint docs package clean

help:
	@echo 'make setup  create .venv with pinned versions'
	@echo 'make demo   train and test a detector on aerial photographs (6 to 9 minutes)'
	@echo 'make s3     run an S3 server with a lake in it, that can be told to fail'
	@echo 'make zoo    run the dataloaders of all configs of MMDetection (10 minutes)'
	@echo 'make bench  run the benchmarks and write docs/performance.md (about half an hour)'
	@echo 'make matrix run a short suite with other versions, and write docs/versions.md (an hour)'
	@echo 'make test   lint, types and all tests'
	@echo 'make lint   lint and types only'
	@echo 'make docs   the documentation as a site in site/ (Python >= 3.11)'
	@echo 'make package  build and check the wheel and the source distribution, in dist/'
	@echo 'make clean  remove what the above made, but for the environments'

setup: $(VENV)/.ready

$(VENV)/.ready: .ci/requirements.txt .ci/panoptic.txt setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade 'pip>=23.2'
	$(BIN)/python -m pip install -r .ci/requirements.txt
	# Python's own build flags (-g) double the time; symbols for a debugger are not needed.
	CFLAGS='-g0 $(CFLAGS)' $(BIN)/python -m pip install --no-build-isolation mmcv==2.1.0
	$(BIN)/python -m pip install mmdet==3.3.0
	$(BIN)/python -m pip install --no-deps --require-hashes -r .ci/panoptic.txt
	$(BIN)/python -m pip install --no-build-isolation --no-deps --editable .
	touch $@

$(VENV_V3)/.ready:
	$(PYTHON) -m venv $(VENV_V3)
	$(VENV_V3)/bin/python -m pip install 'deeplake==3.9.52' 'numpy<2'
	touch $@

$(VENV_BENCH)/.ready: benchmarks/requirements.txt $(VENV)/.ready
	$(BIN)/python -m venv --clear $(VENV_BENCH)
	$(BIN)/python -c "import site; print('import site; site.addsitedir(%r)' % site.getsitepackages()[0])" \
	  > $$(echo $(VENV_BENCH)/lib/python*/site-packages)/plugin_venv.pth
	-$(VENV_BENCH)/bin/python -m pip install --no-deps -r benchmarks/requirements.txt \
	  && touch $@  # without it, the peers' rows say why they were not run

$(VENV_DOCS)/.ready: .ci/docs.txt
	$(PYTHON) -m venv $(VENV_DOCS)
	$(VENV_DOCS)/bin/python -m pip install --quiet -r .ci/docs.txt
	touch $@

demo: setup
	bash configs/demo/run.sh

s3: setup
	PYTHONPATH=tests python -m helpers.s3_demo

$(ZOO)/.ready: .ci/zoo.txt | setup
	$(BIN)/python -m pip install --no-deps --target $(ZOO) --upgrade -r $<
	touch $@

zoo: setup $(ZOO)/.ready
	PYTHONPATH=$(ZOO):tests python -m zoo.sweep

bench: setup $(VENV_BENCH)/.ready
	python benchmarks/run_all.py

# For some rows: make matrix ROWS="--only 'mmdet 3.0.0' 'numpy 1.26'"
matrix: setup
	python .ci/matrix.py $(ROWS)

lint: setup
	ruff check .
	mypy

# Without Node.js, or its registry, the tests on Azure are skipped, and say why.
$(AZURITE)/.ready:
	mkdir -p $(AZURITE)
	-! command -v npm || (npm install --prefix $(AZURITE) --omit=dev --ignore-scripts \
	  --no-audit --no-fund --loglevel=error azurite@3.37.0 && touch $@)

test: lint $(VENV_V3)/.ready $(AZURITE)/.ready
	python -m pytest --numprocesses 2 --dist loadfile --max-worker-restart 0 --durations 15

docs: $(VENV_DOCS)/.ready
	cd .ci && NO_MKDOCS_2_WARNING=1 ../$(VENV_DOCS)/bin/mkdocs build --quiet --strict --config-file mkdocs.yml

$(VENV_PACKAGE)/.ready: .ci/package.txt
	$(PYTHON) -m venv $(VENV_PACKAGE)
	$(VENV_PACKAGE)/bin/python -m pip install --quiet -r .ci/package.txt
	touch $@

# The wheel is built from the source distribution, so that this one is complete.
package: $(VENV_PACKAGE)/.ready
	rm -rf dist
	$(VENV_PACKAGE)/bin/python -m build --no-isolation
	$(VENV_PACKAGE)/bin/python -m twine check --strict dist/*

clean:
	rm -rf dist site demo_out bench_out work_dirs build *.egg-info .pytest_cache .mypy_cache .ruff_cache
