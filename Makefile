# tidegate: see README.md. `make help` lists the targets.
#
# One build folder per flavour (release, asan, ubsan, clang …), so that objects of different flavours never mix. V=1 shows
# every command. Rooms of src/ become one archive each, in the order in which they may depend on each other: a unit test
# is linked with its own room and those beneath it, which proves the layering by linking.

FLAVOUR ?= release
CC      ?= gcc
BUILD   ?= build
O       := $(BUILD)/$(FLAVOUR)
VERSION := 0.1.0
PREFIX  ?= /usr/local
DESTDIR ?=

# What a recipe that failed or was killed has left behind is not taken for its result.
.DELETE_ON_ERROR:

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)';)

PACKAGES := libevent libevent_openssl luajit libcurl openssl sqlite3 zlib
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs libevent libevent_openssl libevent_pthreads luajit libcurl openssl sqlite3 zlib 2>/dev/null)
LLHTTP_DIR := $(firstword $(wildcard /usr/share/llhttp))
LLHTTP_INC := -I/usr/share/include/llhttp

WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla
DEFS   := -D_GNU_SOURCE -DTG_VERSION='"$(VERSION)"' -DTG_PREFIX='"$(PREFIX)"' -DTG_SOURCE_DIR='"$(CURDIR)"'
CFLAGS_release := -O2 -g -fno-plt
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_ubsan   := -O1 -g -fsanitize=undefined -fno-sanitize-recover=all
CFLAGS_clang   := -O2 -g
CFLAGS_fuzz    := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_all := -std=gnu11 $(WARN) $(CFLAGS_$(FLAVOUR)) $(CFLAGS) -fstack-protector-strong -pthread
LDFLAGS_all := $(CFLAGS_$(FLAVOUR)) $(LDFLAGS) -pthread -rdynamic
# Sanitizers of these compilers crash at the start, now and then, where a kernel puts more than 28 random bits into addresses.
SAME_ADDRESSES := $(shell setarch -R true 2>/dev/null && echo setarch -R)
ifneq ($(filter clang fuzz,$(FLAVOUR)),)
override CC := clang
endif

# Lowest first; each may include only itself and what stands before it.
ROOMS := base spool script config ingest deliver daemon

room_objs = $(patsubst src/%.c,$(O)/%.o,$(filter-out src/daemon/main.c,$(sort $(wildcard src/$(1)/*.c))))
ARCHIVES := $(foreach r,$(ROOMS),$(if $(call room_objs,$(r)),$(O)/lib$(r).a))
LLHTTP_OBJS := $(patsubst %,$(O)/llhttp/%.o,api http llhttp)
LLHTTP_LIB := $(O)/libllhttp.a

.PHONY: all
all: $(O)/tidegate
ifeq ($(FLAVOUR),release)
all: $(BUILD)/tidegate
$(BUILD)/tidegate: $(O)/tidegate
	$(Q)ln -sf $(FLAVOUR)/tidegate $@
endif

$(O)/tidegate: $(O)/daemon/main.o $(ARCHIVES) $(LLHTTP_LIB)
	$(call say,LINK,$@)$(CC) $(LDFLAGS_all) -o $@ $< $(call rev,$(ARCHIVES)) $(LLHTTP_LIB) $(PKG_LIBS) -lm

rev = $(if $(1),$(call rev,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))

define room_rules
$(O)/lib$(1).a: $(call room_objs,$(1))
	$$(call say,AR,$$@)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rules,$(r))))

$(O)/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS_all) $(DEFS) -Isrc $(PKG_CFLAGS) $(LLHTTP_INC) -MMD -MP -c -o $@ $<

# Third-party code, compiled without our warnings.
$(O)/llhttp/%.o: $(LLHTTP_DIR)/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=gnu11 $(CFLAGS_$(FLAVOUR)) -w $(LLHTTP_INC) -c -o $@ $<
$(LLHTTP_LIB): $(LLHTTP_OBJS)
	$(call say,AR,$@)ar rcs $@ $^

# --- unit tests: tests/unit/<room>/<name>_test.c, each one program --------------------------------------------------
UNIT_SRCS := $(sort $(wildcard tests/unit/*/*_test.c))
UNIT_BINS := $(patsubst tests/%.c,$(O)/tests/%,$(UNIT_SRCS))
upto = $(if $(filter $(1),$(firstword $(2))),$(1),$(firstword $(2)) $(call upto,$(1),$(wordlist 2,$(words $(2)),$(2))))
archives_for = $(call rev,$(filter $(ARCHIVES),$(foreach r,$(call upto,$(1),$(ROOMS)),$(O)/lib$(r).a)))

define unit_rule
$(O)/tests/unit/$(1)/%: tests/unit/$(1)/%.c $(call archives_for,$(1)) $(LLHTTP_LIB) Makefile
	@mkdir -p $$(@D)
	$$(call say,TEST,$$<)$$(CC) $$(CFLAGS_all) $$(DEFS) -Isrc -Itests/unit $$(PKG_CFLAGS) $$(LLHTTP_INC) -MMD -MP -MF $$@.d $$(LDFLAGS_all) -o $$@ $$< $(call archives_for,$(1)) $(LLHTTP_LIB) -lcmocka $$(PKG_LIBS) -lm
endef
$(foreach r,$(ROOMS),$(eval $(call unit_rule,$(r))))

UNIT_PICK := $(if $(T),$(foreach t,$(T),$(filter %/$(t) %/$(t)_test,$(UNIT_BINS))),$(UNIT_BINS))
.PHONY: unit
unit: $(UNIT_PICK)
	$(Q)set -e; for t in $(UNIT_PICK); do \
	  printf '  %-7s %s\n' RUN $$t; \
	  timeout 1200 $$t >$$t.log 2>&1 || { cat $$t.log; exit 1; }; done

# --- everything that must pass -----------------------------------------------------------------------------------------
.PHONY: deps test-deps test quick flavour-test fixtures e2e asan ubsan clang-build
deps:
	$(Q).ci/packages build
test-deps:
	$(Q).ci/packages test

# The whole of it: plain, then under AddressSanitizer and UndefinedBehaviorSanitizer, then a short run of every fuzzer.
test: test-deps
	$(Q)$(MAKE) --no-print-directory flavour-test
	$(Q)$(MAKE) --no-print-directory test-sdk
	$(Q)$(MAKE) --no-print-directory rock
	$(Q)$(SAME_ADDRESSES) $(MAKE) --no-print-directory FLAVOUR=asan flavour-test
	$(Q)$(MAKE) --no-print-directory FLAVOUR=clang all
	$(Q)$(MAKE) --no-print-directory fuzz FUZZ_RUNS=20000
	@echo "all tests passed"

flavour-test: all
	$(Q)$(MAKE) --no-print-directory FLAVOUR=$(FLAVOUR) unit
	$(Q)$(MAKE) --no-print-directory FLAVOUR=$(FLAVOUR) fixtures
	$(Q)$(MAKE) --no-print-directory FLAVOUR=$(FLAVOUR) e2e

quick: all unit fixtures

asan ubsan: test-deps
	$(Q)$(SAME_ADDRESSES) $(MAKE) --no-print-directory FLAVOUR=$@ flavour-test

fixtures: all
	$(call say,TEST,fixtures)$(O)/tidegate test --scripts tests/scripts/recipes

# End to end: the built binary, real sockets, real SDKs; and faults: kills, full disks. T=name picks test files.
E2E := tests/e2e
E2E_TESTS := $(sort $(wildcard $(E2E)/*.test.mjs tests/fault/*.test.mjs))
NPM_OPTIONS := --no-audit --no-fund --loglevel=error --fetch-retries=5 \
  $(shell [ -w "$$HOME" ] || echo --cache $(abspath $(BUILD))/npm)
E2E_PICK := $(if $(T),$(foreach t,$(T),$(filter %/$(t).test.mjs,$(E2E_TESTS))),$(E2E_TESTS))
$(E2E)/node_modules/.done: $(E2E)/package.json $(wildcard $(E2E)/package-lock.json)
	$(call say,NPM,$(E2E))cd $(E2E) && npm ci $(NPM_OPTIONS)
	$(Q)touch $@
e2e: all $(E2E)/node_modules/.done
	$(call say,TEST,e2e)TIDEGATE=$(abspath $(O)/tidegate) node --test --test-concurrency=2 $(E2E_PICK)

# Every SDK that people use, unmodified; those for browsers in Chromium, or skipped where there is none to install. T=node
# and T=browser pick. Mostly they wait to try again, so both run at once.
SDK := tests/sdk
.PHONY: test-sdk
$(SDK)/node_modules/.done: $(SDK)/package.json $(SDK)/package-lock.json
	$(call say,NPM,$(SDK))cd $(SDK) && npm ci $(NPM_OPTIONS)
	$(Q)touch $@
test-sdk: test-deps
	$(Q).ci/packages browser || echo 'The SDKs for browsers are skipped: Chromium cannot be installed.'
	$(Q)$(MAKE) --no-print-directory all $(SDK)/node_modules/.done
	$(call say,TEST,$(SDK))began=$$(date +%s); TIDEGATE=$(abspath $(O)/tidegate) node --test --test-reporter=spec --test-concurrency=2 \
	  $(if $(T),$(T:%=$(SDK)/%.test.mjs),$(SDK)/node.test.mjs $(SDK)/browser.test.mjs) && \
	  echo "  test-sdk took $$(($$(date +%s) - began)) s"

# The module for plain LuaJIT, built from what is checked in (and what is new beside it) by LuaRocks, without a network;
# then the fixtures of the shipped scripts, run with it.
ROCK := $(BUILD)/rock
ROCK_PATHS := LUA_PATH='$(abspath $(ROCK))/tree/share/lua/5.1/?.lua;;' LUA_CPATH='$(abspath $(ROCK))/tree/lib/lua/5.1/?.so;;'
LUAJIT_INC := $(patsubst -I%,%,$(filter -I%,$(shell pkg-config --cflags luajit 2>/dev/null)))
.PHONY: rock doc-check readme-tables
$(ROCK)/.built: $(wildcard src/base/*.[ch] src/script/*.[ch] src/ingest/*.[ch] src/daemon/*.[ch] lua/*.lua lua/tidegate/*.lua rockspec/*) | test-deps
	$(call say,ROCK,$(ROCK))rm -rf $(ROCK) && mkdir -p $(ROCK)/src && cp -R src lua rockspec LICENSE $(ROCK)/src/
	$(Q)cd $(ROCK)/src && HOME=$(abspath $(ROCK)) luarocks --lua-version 5.1 --tree $(abspath $(ROCK))/tree make --deps-mode none \
	  rockspec/tidegate-scm-1.rockspec LUA_INCDIR=$(LUAJIT_INC) >../build.log 2>&1 || { cat ../build.log; exit 1; }
	$(Q)touch $@
rock: $(ROCK)/.built
	$(call say,TEST,tests/scripts)$(ROCK_PATHS) busted --lua=luajit --output=plainTerminal tests/scripts

# What is documented against what is there: options, metrics, commands, primitives, keys, settings.
doc-check: all $(ROCK)/.built
	$(call say,LINT,documentation)$(ROCK_PATHS) luajit tests/lint/doc_check.lua $(O)/tidegate
# Writes the tables of settings in destinations/*/README.md anew.
readme-tables: all $(ROCK)/.built
	$(call say,WRITE,tables of settings)$(ROCK_PATHS) luajit tests/lint/doc_check.lua $(O)/tidegate --write

# The faults alone. LONG=1: 200 kills; ROUNDS=n, SEED=n.
FAULT_TESTS := $(sort $(wildcard tests/fault/*.test.mjs))
.PHONY: fault
fault: all $(E2E)/node_modules/.done
	$(call say,TEST,fault)TIDEGATE=$(abspath $(O)/tidegate) $(if $(LONG),LONG=$(LONG)) $(if $(ROUNDS),ROUNDS=$(ROUNDS)) $(if $(SEED),SEED=$(SEED)) \
	  node --test --test-concurrency=1 $(if $(T),$(foreach t,$(T),$(filter %/$(t).test.mjs,$(FAULT_TESTS))),$(FAULT_TESTS))

# --- fuzzing: clang's libFuzzer on every parser of outside bytes ---------------------------------------------------------
# FUZZ_RUNS=n: so many inputs, the same ones each time, instead of what a minute brings.
FUZZ_SECONDS ?= 60
FUZZ_RUNS    ?=
FUZZ_SRCS := $(sort $(wildcard tests/fuzz/*_fuzz.c))
FUZZ_O    := $(BUILD)/fuzz
FUZZ_BINS := $(patsubst tests/fuzz/%.c,$(FUZZ_O)/bin/%,$(FUZZ_SRCS))
FUZZ_LIBS := $(call rev,$(foreach r,$(filter-out daemon,$(ROOMS)),$(FUZZ_O)/lib$(r).a))
.PHONY: fuzz fuzz-bins
ifeq ($(FLAVOUR),fuzz)
fuzz-bins: $(FUZZ_BINS)
$(FUZZ_O)/bin/%: tests/fuzz/%.c $(FUZZ_LIBS) $(LLHTTP_LIB)
	@mkdir -p $(@D)
	$(call say,FUZZ,$<)$(CC) $(CFLAGS_all) $(DEFS) -Isrc $(PKG_CFLAGS) $(LLHTTP_INC) -fsanitize=fuzzer -o $@ $< $(FUZZ_LIBS) $(LLHTTP_LIB) $(PKG_LIBS) -lm
endif
fuzz:
	$(Q)$(MAKE) --no-print-directory FLAVOUR=fuzz fuzz-bins
	$(Q)set -e; for f in $(FUZZ_BINS); do n=$$(basename $$f); c=$${n%_fuzz}; mkdir -p $(FUZZ_O)/found/$$c tests/fuzz/corpus/$$c; \
	  printf '  %-7s %s\n' FUZZ $$n; \
	  $(SAME_ADDRESSES) $$f $(if $(FUZZ_RUNS),-runs=$(FUZZ_RUNS) -seed=1,-max_total_time=$(FUZZ_SECONDS)) -rss_limit_mb=2048 -timeout=60 -print_final_stats=0 -verbosity=0 \
	    -artifact_prefix=$(FUZZ_O)/crash-$$n- $(FUZZ_O)/found/$$c tests/fuzz/corpus/$$c >$$f.log 2>&1 || { tail -60 $$f.log; exit 1; }; done

# --- source checks ------------------------------------------------------------------------------------------------------
.PHONY: lint layers banned tidy fmt fmt-check
C_FILES := $(sort $(wildcard src/*/*.c src/*/*.h rockspec/*.c tests/unit/*.h tests/unit/*/*.c tests/unit/*/*.h tests/fuzz/*.c tests/bench/*.c))
lint: test-deps
	$(Q)$(MAKE) --no-print-directory layers banned fmt-check luacheck doc-check
	$(Q)$(MAKE) --no-print-directory -j2 tidy cppcheck

# Lower rooms never include higher ones; lua.h and curl have their rooms.
layers:
	$(call say,LINT,layers)sh tests/lint/layers.sh "$(ROOMS)"
banned:
	$(call say,LINT,banned calls)sh tests/lint/banned.sh
TIDY_STAMPS := $(patsubst src/%.c,$(BUILD)/tidy/%.ok,$(sort $(wildcard src/*/*.c)))
tidy: $(TIDY_STAMPS)
$(BUILD)/tidy/%.ok: src/%.c .clang-tidy
	@mkdir -p $(@D)
	$(call say,TIDY,$<)clang-tidy --quiet $< -- -std=gnu11 $(DEFS) -Isrc $(PKG_CFLAGS) $(LLHTTP_INC) 2>$@.log || { cat $@.log; exit 1; }
	$(Q)touch $@
.PHONY: cppcheck luacheck
QUEUE_H := $(firstword $(wildcard /usr/include/*/sys/queue.h /usr/include/sys/queue.h))
cppcheck:
	$(call say,LINT,cppcheck)cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
	  --suppress=missingIncludeSystem $(QUEUE_H:%=--include=%) -DTG_CPPCHECK -D_GNU_SOURCE '-DTG_VERSION=""' '-DTG_PREFIX=""' '-DTG_SOURCE_DIR=""' -Isrc src
luacheck:
	$(call say,LINT,luacheck)luacheck --quiet lua destinations tests/scripts/recipes rockspec/*.rockspec
	$(Q)luacheck --quiet --std luajit+busted tests/scripts/*.lua tests/lint
fmt:
	$(Q)clang-format -i $(C_FILES)
fmt-check:
	$(call say,LINT,format)clang-format --dry-run --Werror $(C_FILES)

# --- the main job, measurements, installation ---------------------------------------------------------------------------
.PHONY: run bench install clean help
run: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(BUILD)/tidegate demo $(DEMO)

bench:
	$(Q).ci/packages bench
	$(Q)$(MAKE) --no-print-directory all
	$(Q)sh tests/bench/peers.sh $(BUILD)/bench/peers || true
	$(Q)CC='$(CC)' sh tests/bench/run.sh

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/tidegate
	install -m 755 $(O)/tidegate $(DESTDIR)$(PREFIX)/bin/tidegate
	cp -R lua destinations $(DESTDIR)$(PREFIX)/share/tidegate/

clean:
	$(Q)rm -rf $(BUILD)

help:
	@echo 'make run         install what is missing, build, run the demo (DEMO=--once ends after it)'
	@echo 'make             build build/tidegate                       V=1 shows every command'
	@echo 'make test        install what tests need, run everything that must pass'
	@echo 'make unit        unit tests                                 T=json picks one'
	@echo 'make fixtures    fixtures of the destinations'
	@echo 'make e2e         the built binary over sockets              T=deliver picks one'
	@echo 'make test-sdk    every SDK that people use, against it      T=node or T=browser'
	@echo 'make rock        the Lua module of the rockspec, and the fixtures run with it under plain LuaJIT'
	@echo 'make fault       kills, failing disks, sick partners        LONG=1 kills 200 times; T=disk picks one'
	@echo 'make asan ubsan  the same under a sanitizer'
	@echo 'make fuzz        every fuzzer, FUZZ_SECONDS=60 each, or the same FUZZ_RUNS=n inputs'
	@echo 'make lint        layering, banned calls, format, clang-tidy, cppcheck, luacheck'
	@echo 'make doc-check   documentation against the code: options, metrics, primitives, settings'
	@echo 'make readme-tables  the tables of settings in destinations/*/README.md, from the scripts'
	@echo 'make fmt         format the sources                         fmt-check only looks'
	@echo 'make bench       measurements, peers beside them            BENCH="accept job" picks parts'
	@echo 'make install     PREFIX=/usr/local, DESTDIR'
	@echo 'make clean       remove build/'

-include $(shell find $(O) -name '*.d' 2>/dev/null)
