# What CI calls is what a person calls. `make` alone lists it.
# Needs GNU make and a Python 3.11 or newer with venv; everything else goes into .venv.

VENV   := .venv
BIN    := $(VENV)/bin
RINGS  := unit conformance integration acceptance
RING   ?=
ARGS   ?=
# Tests wait more than they compute: two files at a time, also on two cores. Those of whole programs, with leases of
# a second, have the machine for themselves.
JOBS   ?= 2
ALONE  := acceptance
ASKED   = $(or $(RING),$(RINGS))
PYTEST  = PATH="$$PATH:/usr/local/sbin:/usr/sbin:/sbin" $(BIN)/pytest
# What ARGS select may be in one of the two runs alone.
NONE_IS_FINE = $(if $(ARGS),|| [ $$? -eq 5 ])
ENGINE ?=
export PYTHON

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check format bench docs wheelhouse image compose clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(VENV)/.demo ## see it work within a minute; ENGINE=docker for real containers
	@$(BIN)/pointsman demo $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

test: $(VENV)/.dev ## run all rings of tests, or RING=unit|conformance|integration|acceptance; JOBS at a time; ARGS go to pytest
	@$(if $(filter-out $(RINGS),$(RING)),echo "RING is one or more of: $(RINGS)" >&2; exit 2,:)
	@$(if $(filter-out unit,$(RING))$(if $(RING),,all),scripts/install-test-deps,:)
	@$(if $(filter-out $(ALONE),$(ASKED)),$(PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder $(addprefix tests/,$(filter-out $(ALONE),$(ASKED))) $(ARGS) $(NONE_IS_FINE),:)
	@$(if $(filter $(ALONE),$(ASKED)),$(PYTEST) $(addprefix tests/,$(ALONE)) $(ARGS) $(NONE_IS_FINE),:)

check: $(VENV)/.dev ## lint, format, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --scripts-are-modules scripts/check-links scripts/prove-compose
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## measure beside the peers, 12 minutes; ARGS="--quick", ARGS="--parts drain,latency --rounds 1"
	@benchmarks/peers/make-venvs $(BIN)/python $(VENV)/peers || true
	@$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(VENV)/.dev ## write the schemas anew and see that no link in the docs is dead
	@scripts/build-docs

wheelhouse: ## put the project and its dependencies into deploy/wheelhouse, for an image build without a network
	@scripts/make-wheelhouse

image: wheelhouse ## build the worker's image
	docker build --tag pointsman:local .

compose: $(VENV)/.dev ## prove docker-compose.yml with what Debian has: build, up, restart a service, down
	@$(BIN)/python scripts/prove-compose $(ARGS)

clean: ## remove what the other targets made
	rm -rf $(VENV) dist build deploy/wheelhouse .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# One stamp for what the demo needs, one for all the tools; the second brings the first.
$(VENV)/.demo: pyproject.toml scripts/make-venv
	@scripts/make-venv demo
	@touch $@

$(VENV)/.dev: pyproject.toml scripts/make-venv
	@scripts/make-venv demo,test,check
	@touch $(VENV)/.demo $@
