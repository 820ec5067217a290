# SPDX-License-Identifier: Apache-2.0
#
# A thin front door: meson and ninja build, tools/run-tests tests. Each target brings
# what it needs, Debian packages included (tools/setup). `make help` lists the targets.

BUILD  ?= build
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc)

# Debian's own tools, whatever else is installed beside them
export PATH := /usr/sbin:/usr/bin:/sbin:/bin:$(PATH)

PYTHON := /usr/bin/python3 -B
LEVELS := unit wire native interop lab fault

.DEFAULT_GOAL := all
.PHONY: all help setup-build setup-test setup-all demo test $(LEVELS:%=test-%) \
	check-fast lint format bench fuzz install clean

all: $(BUILD)/build.ninja		## build everything in $(BUILD)
	ninja -C $(BUILD) -j $(JOBS)

$(BUILD)/build.ninja: | setup-build
	meson setup --prefix $(PREFIX) $(BUILD)

setup-build:
	@tools/setup build

setup-test: setup-build
	@tools/setup test lab

setup-all: setup-test
	@tools/setup dev

demo: setup-test all			## build, and show on real guests what it does
	$(PYTHON) tools/demo --build $(BUILD)

test: setup-all				## all levels of tests and all checks
	$(PYTHON) tools/run-tests --jobs $(JOBS)

$(LEVELS:%=test-%): setup-all		## one level: unit wire native interop lab fault
	$(PYTHON) tools/run-tests --jobs $(JOBS) $(@:test-%=%)

check-fast: setup-all			## what to run before each commit: checks, unit, wire
	$(PYTHON) tools/run-tests --jobs $(JOBS) checks unit wire

lint: setup-all $(BUILD)/build.ninja	## the checks of the source, without tests
	$(PYTHON) tools/run-checks

format: setup-all			## rewrite the C files as .clang-format says
	git ls-files -z '*.[ch]' | xargs -0 -r clang-format-14 -i
	git ls-files -z '*.[ch]' | xargs -0 -r tools/wrap-comments

bench: setup-test all			## measure, side by side with QEMU, the newest included
	-tools/newest-qemu >/dev/null
	$(PYTHON) bench/run --build $(BUILD) $(BENCH)

fuzz: setup-all				## fuzz each parser for FUZZ_SECONDS (60)
	$(PYTHON) fuzz/run --seconds $(or $(FUZZ_SECONDS),60) $(FUZZ)

install: all				## install under PREFIX (and DESTDIR)
	meson install -C $(BUILD) --no-rebuild

clean:					## remove all build folders
	rm -rf build build-asan build-tsan build-clang build-fuzz build-tests

help:					## this list
	@awk -F ':.*## ' '/^[$$a-z(][^=]*:.*## / { sub(/:.*/, "", $$1); \
		sub(/.*LEVELS.*/, "test-LEVEL", $$1); \
		printf "  make %-12s %s\n", $$1, $$2 }' Makefile
