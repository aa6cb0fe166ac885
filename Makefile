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

.PHONY: demo test lint install clean

demo: $(INSTALLED)
	$(BIN)/python training/demo.py

test: lint
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (6 GB, a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,report,test,dev]'
	@touch $@

clean:
	rm -rf $(VENV) demo_out runs build dist
