# The whole manual: make help
PYTHON ?= python3
PRESET ?= demo
ARGS ?=
PRETRAIN_ARGS ?=
PRETRAIN := $(if $(filter demo,$(PRESET)),pretrain,pretrain-$(PRESET))
STUDY ?= $(PRESET)
RUNS ?= runs
# Fresh processes pay from four cores on; a few runs of a demo on fewer are sooner done one after the other
ENOUGH_CORES := $(shell test "$$(nproc 2>/dev/null || echo 1)" -ge 4 && echo yes)
LAUNCH ?= $(if $(shell nvidia-smi -L 2>/dev/null | grep "^GPU"),gpus,$(if $(ENOUGH_CORES),cores))
BIN := .venv/bin
READY := .venv/ready
SWEEP_READY := .venv/sweep-ready
COMPARE = $(BIN)/python -m cifar100x.compare study=$(STUDY) 'runs=$(RUNS)'

.DEFAULT_GOAL := help
.NOTPARALLEL: # a study is pre-trained, then swept, then compared
.PHONY: help setup study pretrain sweep status compare report final probe tensorboard test lint fuzz soak audit results bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 14
	@echo
	@echo 'PRESET=demo|table1 chooses the study, STUDY and RUNS where its results go; LAUNCH=gpus|cores|slurm'
	@echo 'or nothing how it is spread (GPUs if there are any, else cores if there are four).'
	@echo 'ARGS="key=value ..." is passed on to the command (of study and sweep: to the runs), PRETRAIN_ARGS to the'
	@echo 'pre-training, as in'
	@echo '  make study PRESET=table1 ARGS="data.source=/path/to/cifar-100-python.tar.gz" \'
	@echo '    PRETRAIN_ARGS="data.source=[/path/to/Imagenet32_train.zip,/path/to/Imagenet32_val.zip]"'

setup: $(READY) ## create .venv with everything in it (done by the other targets when needed)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"error: {sys.executable} is Python {v[0]}.{v[1]}, expected 3.11 or newer: name one with make PYTHON=python3.11")'
	@echo 'setting up .venv (several minutes and gigabytes the first time: PyTorch is large)'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

study: pretrain sweep ## pre-train, train all models of PRESET on all folds, then compare them
	@$(COMPARE)

pretrain: $(READY) ## pre-train the autoencoder that the transfer models start from
	@$(BIN)/python -m cifar100x.train experiment=$(PRETRAIN) study=$(STUDY) 'runs=$(RUNS)' $(PRETRAIN_ARGS)

sweep: $(if $(LAUNCH),$(SWEEP_READY),$(READY)) ## train all models of PRESET on all folds; what is finished is skipped, the rest goes on
	@$(BIN)/python -m cifar100x.train -m experiment=$(PRESET) study=$(STUDY) 'runs=$(RUNS)' $(LAUNCH:%=launch=%) $(ARGS)

$(SWEEP_READY): $(READY)
	@echo 'adding what a sweep over GPUs, cores or Slurm needs to .venv'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[sweep]'
	@touch $@

status: $(READY) ## what the runs of a study are doing, the time left, and the command that goes on
	@$(BIN)/python -m cifar100x.status study=$(STUDY) 'runs=$(RUNS)'

compare: $(READY) ## tables, verdict, figures and report of a study (STUDY=name, default PRESET)
	@$(COMPARE) $(ARGS)

report: compare ## the same; the report is one page, RUNS/STUDY/report/report.html

final: $(READY) ## train the chosen model of a study on all images and judge it once on the test split
	@$(BIN)/python -m cifar100x.final study=$(STUDY) 'runs=$(RUNS)' $(ARGS)

probe: $(READY) ## what the encoder of a study knows: linear probes on its code, its features and raw pixels
	@$(BIN)/python -m cifar100x.probe study=$(STUDY) 'runs=$(RUNS)' $(ARGS)

tensorboard: $(READY) ## watch the runs of a study at http://localhost:6006
	@$(BIN)/tensorboard --logdir '$(RUNS)/$(STUDY)' --host localhost

test: $(SWEEP_READY) ## run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(READY) ## check style, types, and the arrows between packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

MINUTES ?= 30
fuzz: $(READY) ## other bytes in every file, other command lines, folds and pairs than the tests have, for MINUTES
	@end=$$(( $$(date +%s) + 60 * $(MINUTES) )); while [ $$(date +%s) -lt $$end ]; do \
	  OMP_NUM_THREADS=1 FUZZ_EXAMPLES=300 $(BIN)/python -m pytest -x tests/reliability/test_fuzz.py \
	    tests/reliability/test_sequences.py || exit 1; done

soak: $(SWEEP_READY) ## kill jobs, workers and the driver of a sweep at random until it is done; compare bit for bit
	@$(BIN)/python -m tests.soak

audit: ## look the versions in constraints.txt up among the known vulnerabilities; needs the network
	@$(PYTHON) -m venv .venv/audit && .venv/audit/bin/python -m pip install -q pip-audit
	@.venv/audit/bin/pip-audit --requirement constraints.txt --disable-pip --no-deps --strict

results: $(READY) ## rebuild tables, figures and page of results/ from the files of its runs
	@$(BIN)/python -m results.build

bench: $(READY) ## measure speed as ratios, side by side: start, training, transfer (and for stores bench/images.py, for GPUs bench/steps.py)
	@$(BIN)/python -m bench.startup
	@$(BIN)/python -m bench.training $(ARGS)
	@$(BIN)/python -m bench.transfer

clean: ## remove .venv and caches; results in runs/ stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
