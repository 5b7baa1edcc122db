# `make help` lists targets, and the settings that a line with #: describes.

#: Python to make the environment with; 3.11 to 3.13. Empty: the first that is found
PYTHON ?=
#: folder of the environment
VENV ?= .venv
#: 13 or 12: which build of PyTorch and DALI to install
CUDA ?= $(if $(wildcard $(VENV)/.installed-cuda12),12,13)
#: images to train on; empty: an embedded data set, drawn into datasets/synth
DATA ?=
#: recipe to train; resnet50 with DATA, otherwise demo
RECIPE ?= $(if $(DATA),resnet50,demo)
#: run directory
OUTPUT ?= runs/$(basename $(notdir $(RECIPE)))
#: more flags of `provenet train`, or with test-gpu of `python -m tests.gpu`
FLAGS ?=

OTHER := $(if $(filter 12,$(CUDA)),13,12)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint .ci/constraints.txt
# a process a core, and one for those that wait for Slurm or another process; each takes some 2 GB of memory
PYTEST := $(BIN)/python -m pytest --numprocesses $(shell echo $$(($$(nproc) + 1))) --maxprocesses 5
IMAGES := $(or $(DATA),datasets/synth)
GPUS := $(shell nvidia-smi --list-gpus 2>/dev/null | wc -l)
#: processes to train with; a GPU each, or one without
PROCESSES ?= $(if $(filter 0,$(GPUS)),1,$(GPUS))

# accelerate launch --cpu starts one process, whatever --num_processes says; --multi_gpu starts them all, on CPUs too
DEVICES := $(if $(filter 1,$(PROCESSES)),$(if $(filter 0,$(GPUS)),--cpu),--multi_gpu)
LAUNCH := $(BIN)/provenet run -- $(BIN)/accelerate launch --quiet $(DEVICES) --num_processes $(PROCESSES) --num_machines 1 \
  --num_cpu_threads_per_process 1 --mixed_precision no --dynamo_backend no

.PHONY: help train test test-gpu check lint quick tests env env-dev system bench drill crash screenshot clean
.DEFAULT_GOAL := help

help:  ## Show what can be made, and by which settings.
	@sed -nE 's/^([a-z-]+):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo "Settings, as in make train DATA=/imagenet RECIPE=resnet50:"
	@sed -nE '/^#: /{s/^#: //;h;n;s/^([A-Z]+).*/  \1\t/;G;s/\n//;p;}' $(MAKEFILE_LIST) | expand -t 20

train: env  ## Train on an embedded data set, or on DATA=/imagenet with RECIPE=resnet50; goes on where it was stopped.
	@$(if $(DATA),:,$(BIN)/provenet synth "$(IMAGES)")
	@$(LAUNCH) -m trainer train "$(RECIPE)" --data "$(IMAGES)" --output "$(OUTPUT)" $(FLAGS)
	@echo "(tensorboard is $(BIN)/tensorboard)"

test: system env-dev  ## Run every check and every test, installing what they need.
	@$(MAKE) --no-print-directory --jobs 2 lint tests

test-gpu: env-dev  ## Test on a GPU what no CPU can, and print a table of what was measured.
	@$(BIN)/python -m tests.gpu $(FLAGS)

check: lint quick  ## Check format, lint, types and layers, and run the quick tests.

lint: env-dev  ## Check format, lint, types and layers.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports

quick: env-dev  ## Run the quick tests.
	@$(PYTEST) -m "not slow and not slurm and not browser"

tests: env-dev  ## Run every test, the quick ones where the slow ones leave time.
	@$(PYTEST)

env: $(VENV)/.installed-cuda$(CUDA)  ## Install what training needs into VENV.

env-dev: $(VENV)/.installed-dev  ## Install what the tests and checks need as well.

$(VENV)/.installed-cuda$(CUDA): pyproject.toml .ci/constraints.txt
	@test -x $(BIN)/python || { python=$$(.ci/find-python $(PYTHON)) && $$python -m venv $(VENV); }
	@echo "installing into $(VENV): about 6 GB, one to three minutes"
	@# DALI's two builds own the same files: installed over each other, neither would be whole
	@$(BIN)/python -m pip uninstall --disable-pip-version-check -qq --yes nvidia-dali-cuda$(OTHER)0
	@rm -f $(VENV)/.installed-*
	@$(PIP) --editable '.[cuda$(CUDA)]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-cuda$(CUDA)
	@$(PIP) --editable '.[cuda$(CUDA),dev]'
	@touch $@

system:  ## Install Slurm and Chromium for the tests, where root or sudo allows.
	@.ci/install-packages

bench: env-dev  ## Time loaders, engine and whole programs beside others: FLAGS="training --engine", FLAGS="loaders ROOT".
	@$(BIN)/python -m tests.benchmarks $(or $(FLAGS),--help)

crash: env-dev  ## End a tiny run at every system call that changes its directory, and compare what the same command makes of it.
	@$(BIN)/python -m tests.system.crash $(FLAGS)

drill: env-dev system  ## Rehearse RECIPE on a failing Slurm cluster of this machine, as root, and compare the ends.
	@$(BIN)/python -m tests.system.drill "$(RECIPE)" $(FLAGS)

screenshot: env-dev  ## Make the README's picture of TensorBoard anew, from runs/demo.
	@$(BIN)/python -m tests.system.screenshot runs/demo .readme/tensorboard.png

clean:  ## Remove the environment and the embedded data set; runs stay.
	rm -rf $(VENV) datasets
