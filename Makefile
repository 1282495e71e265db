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

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)';)

PACKAGES := libevent libevent_openssl luajit libcurl openssl sqlite3 zlib
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs libevent libevent_openssl libevent_pthreads luajit libcurl openssl sqlite3 zlib 2>/dev/null)
LLHTTP_DIR := $(firstword $(wildcard /usr/share/llhttp))
LLHTTP_INC := -I/usr/share/include/llhttp

WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla
DEFS   := -D_GNU_SOURCE -DTG_VERSION='"$(VERSION)"' -DTG_PREFIX='"$(PREFIX)"' -DTG_SOURCE_DIR='"$(CURDIR)"'
CFLAGS_release := -O2 -g
CFLAGS_asan    := -O1 -g -fsanitize=address -fno-omit-frame-pointer
CFLAGS_ubsan   := -O1 -g -fsanitize=undefined -fno-sanitize-recover=all
CFLAGS_clang   := -O2 -g
CFLAGS_all := -std=gnu11 $(WARN) $(CFLAGS_$(FLAVOUR)) $(CFLAGS) -fstack-protector-strong -pthread
LDFLAGS_all := $(CFLAGS_$(FLAVOUR)) $(LDFLAGS) -pthread -rdynamic
ifeq ($(FLAVOUR),clang)
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

.PHONY: unit
unit: $(UNIT_BINS)
	$(Q)set -e; for t in $(if $(T),$(foreach t,$(T),$(filter %/$(t) %/$(t)_test,$(UNIT_BINS))),$(UNIT_BINS)); do printf '  %-7s %s\n' RUN $$t; $$t >$$t.log 2>&1 || { cat $$t.log; exit 1; }; done

.PHONY: clean
clean:
	$(Q)rm -rf $(BUILD)

-include $(shell find $(O) -name '*.d' 2>/dev/null)
