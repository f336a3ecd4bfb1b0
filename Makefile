# SPDX-License-Identifier: LGPL-2.1-or-later
# All tools are in .venv, which is based on the system's Python, even if another one is first in
# PATH: the distribution's libvirt is for that one.

BIN := .venv/bin
# Where clones are closed to other users, as in homes
RUN := packaging/run-reachable
# The directory of libvirtd and debugfs, which is not in the PATH of an ordinary user.
export PATH := $(PATH):/usr/sbin
# Lets a session bus start the virtlayerd of this clone; see README.md.
ACTIVATION := .venv/share/dbus-1/services/org.virtlayer1.service
# bash finds its completions by the directory of the command, fish in XDG_DATA_DIRS, zsh in fpath.
COMPLETIONS := .venv/share/bash-completion/completions/virtlayer \
	.venv/share/fish/vendor_completions.d/virtlayer.fish \
	.venv/share/zsh/site-functions/_virtlayer
COMPILED := setup.py build_extensions.py $(shell find daemon -name '*.c' -o -name '*.h')

.PHONY: help
help:
	@echo 'make dev     an environment in .venv, with virtlayerd and virtlayer; installs what is missing'
	@echo 'make check   formatting, lint, types, import rules, and the tests that say whether it works'
	@echo 'make check-full   that, and all other tests: Ceph, a browser, the packages in a system that boots'
	@echo 'make cockpit   the page for Cockpit, in cockpit/dist; installs npm, and needs its registry'
	@echo 'make fuzz    random and damaged layers and file systems for ten minutes'
	@echo 'make lint-c   the C code with all warnings and the analyzer of gcc 14, as errors'
	@echo 'make sanitize   the C code under the address and undefined behaviour sanitizers'
	@echo 'make soak    tests that find rare faults: kills, load, hosts that share a pool, fuzzing; more than an hour'
	@echo 'make demo    a registry, a private libvirt and bus, an image pulled into a pool, and a machine'
	@echo 'make recording   docs/run.svg, a recording of "virtlayer run" for the README'
	@echo 'make bench   compares virtlayer with other tools; BENCH="--case big --runs 1" for a part of it'
	@echo 'make deb     Debian packages of the last commit, in build/deb; after make cockpit'
	@echo 'make rpm     a source RPM of the last commit, in build/rpm; after make cockpit'
	@echo 'make acceptance   those Debian packages on a Debian system that boots; needs root'
	@echo 'make clean   removes everything that make has built'

.PHONY: dev
dev: .venv/dev.stamp .venv/debian-check.stamp compiled $(ACTIVATION) $(COMPLETIONS)

# In addition, what tests with a Ceph cluster, a window, shells and an SSH server need, and peers.
.PHONY: full
full: dev .venv/debian-full.stamp .venv/ceph.stamp

# Workers run as users who cannot write compiled modules, and would compile them at every start.
.PHONY: compiled
compiled: .venv/service.stamp
	@$(BIN)/python -m compileall -q daemon/virtlayer

.venv/debian-%.stamp: packaging/debian-packages-%.txt packaging/install-debian-packages
	packaging/install-debian-packages $<
	@mkdir -p .venv
	@touch $@

# What the service needs; a change of CC builds it again.
.venv/service.stamp: pyproject.toml $(COMPILED) .venv/debian-base.stamp .venv/compiler
	packaging/make-venv
	@touch $@

.venv/dev.stamp: .venv/service.stamp
	packaging/make-venv dev
	@touch $@

.PHONY: force
.venv/compiler: force
	@mkdir -p .venv
	@echo '$(CC)' | cmp --quiet - $@ || echo '$(CC)' >$@

# Ceph's modules are not on PyPI; docs/decisions/ceph-by-its-own-modules.md says why they are linked.
.venv/ceph.stamp: .venv/dev.stamp .venv/debian-full.stamp
	ln -sf $(wildcard /usr/lib/python3/dist-packages/rados.*.so /usr/lib/python3/dist-packages/rbd.*.so) \
		.venv/lib/python3*/site-packages
	@touch $@

$(ACTIVATION): dbus/services/org.virtlayer1.service .venv/service.stamp
	mkdir -p $(@D)
	sed -e 's|^Exec=[^ ]*|Exec="$(CURDIR)/$(BIN)/virtlayerd"|' -e '/^SystemdService=/d' $< >$@

$(COMPLETIONS) &: .venv/service.stamp $(wildcard packaging/generate/*.py) \
		$(shell find daemon/virtlayer/client -name '*.py')
	mkdir -p $(dir $(COMPLETIONS))
	$(BIN)/python packaging/generate/completions.py bash >$(word 1,$(COMPLETIONS))
	$(BIN)/python packaging/generate/completions.py fish >$(word 2,$(COMPLETIONS))
	$(BIN)/python packaging/generate/completions.py zsh >$(word 3,$(COMPLETIONS))

# Not by the age of files: that of a deleted source is not seen.
.PHONY: cockpit
cockpit: cockpit/node_modules/installed.stamp
	cockpit/scripts/hash-sources | cmp --quiet - cockpit/dist/.sources || npm --prefix cockpit run --silent build

cockpit/node_modules/installed.stamp: cockpit/package-lock.json .venv/debian-cockpit.stamp
	npm --prefix cockpit ci --no-audit --no-fund
	touch $@

# The tests of a file are run by one process, one after the other.
PYTEST := $(RUN) $(BIN)/pytest \
	--numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

# What a contributor runs. What the two folders import is not installed for it.
.PHONY: check
check: dev
	$(MAKE) --jobs=2 --output-sync=target check-style check-types
	$(PYTEST) -m 'not full' --ignore=tests/rbd --ignore=tests/browser

# In the order of how soon a failure is found. What runs side by side is busy on one processor each.
.PHONY: check-full
check-full: check full cockpit .venv/debian-fresh-machine.stamp
	$(MAKE) lint-c check-page
	$(MAKE) --jobs=2 --output-sync=target acceptance fresh-demo
	$(MAKE) sanitize
	$(PYTEST) -m full

.PHONY: fresh-demo
fresh-demo:
	tests/fresh-machine 'make demo'

# Each is busy on one processor.
.PHONY: check-style
check-style:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/vulture

.PHONY: check-types
check-types:
	$(BIN)/mypy
	MYPYPATH=examples/desktop $(BIN)/mypy examples

.PHONY: check-page
check-page:
	npm --prefix cockpit run --silent types
	npm --prefix cockpit run --silent eslint
	npm --prefix cockpit run --silent test

# The one place where warnings are errors: users have other compilers.
.PHONY: lint-c
lint-c: .venv/debian-full.stamp .venv/service.stamp
	$(BIN)/python -m tests.lint_c

.PHONY: fuzz
fuzz: dev
	$(RUN) $(BIN)/python -m tests.worker.fuzz 10

.PHONY: sanitize
sanitize: dev
	$(RUN) tests/sanitize/run

.PHONY: soak
soak: full
	tests/fresh-machine 'make check'
	tests/fresh-machine --user 'make demo' 'make check'
	tests/fresh-machine --compiler gcc-12 'make demo'
	tests/fresh-machine --compiler gcc-13 'make demo'
	tests/fresh-machine --compiler clang-19 'make demo' 'make check'
	$(RUN) $(BIN)/python -m tests.worker.fuzz 20
	SOAK=125 $(RUN) $(BIN)/pytest tests/integration/test_kill.py
	SOAK=25 $(RUN) $(BIN)/pytest tests/integration/test_keeper_killed.py
	SOAK=20 $(RUN) $(BIN)/pytest tests/integration/test_load.py
	SOAK=36 $(RUN) $(BIN)/pytest tests/integration/test_pool_of_hosts_torture.py
	SOAK=2 $(RUN) $(BIN)/pytest tests/examples/test_documents.py tests/integration/test_command_run.py \
		tests/machines/test_commands.py
	SOAK=20 $(RUN) $(BIN)/pytest tests/keeper/domains/test_states.py
	SOAK=10 $(RUN) $(BIN)/pytest tests/machines/test_killed.py
	$(RUN) $(BIN)/pytest tests/guest/soak_boots.py
	packaging/install-debian-packages packaging/debian-packages-delivery.txt
	$(RUN) $(BIN)/pytest tests/machines/soak_kernels.py tests/machines/soak_commands.py tests/machines/soak_streams.py
	$(RUN) $(BIN)/pytest tests/machines/soak_systems.py tests/machines/soak_disks.py tests/machines/soak_published.py \
		tests/machines/soak_containers.py
	SOAK=10 $(RUN) $(BIN)/pytest tests/rbd/table/soak_leases.py
	SOAK=3 $(RUN) $(BIN)/pytest tests/rbd/soak_two_hosts.py
	$(RUN) $(BIN)/pytest tests/rbd/soak_machines.py
	$(RUN) $(BIN)/pytest tests/rbd/soak_service.py
	$(RUN) $(BIN)/pytest tests/rbd/soak_stalled.py

# An ordinary user's processes all run as that user.
.PHONY: demo
demo: compiled
	@$(if $(filter 0,$(shell id -u)),$(RUN)) $(BIN)/python -m demo

.PHONY: recording
recording: full
	packaging/install-debian-packages packaging/debian-packages-delivery.txt
	$(RUN) $(BIN)/python -m demo.recording

.PHONY: bench
bench: full
	$(RUN) $(BIN)/python -m bench $(BENCH)

.PHONY: deb
deb:
	packaging/build-deb

.PHONY: rpm
rpm:
	packaging/build-srpm

.PHONY: acceptance
acceptance: full cockpit
	$(MAKE) deb rpm
	$(RUN) $(BIN)/pytest tests/acceptance

.PHONY: clean
clean:
	rm -rf cockpit/dist cockpit/build cockpit/node_modules
	rm -rf .venv .venv-sanitize build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find daemon -name '*.so' -delete
	rm -f daemon/virtlayer/guard daemon/virtlayer/confine daemon/virtlayer/guest/init
	find daemon -name '*.egg-info' -prune -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +
