# SPDX-License-Identifier: Apache-2.0
#
# Builds, runs, checks and installs gbalance with GNU make and nothing before
# it: `make -f apxs.mk run` and `check` install what is missing themselves.
# ./configure is for packagers; it writes config.mk and links this file as
# Makefile, here or in another directory.
#
#   make -f apxs.mk            the modules            (builddir=build)
#   make -f apxs.mk run        a private httpd on 127.0.0.1:8000, PORT=, STATE_DIR=
#   make -f apxs.mk check      every test; the last line counts them
#   make -f apxs.mk lint       formatting, warnings of two compilers, cppcheck
#   make -f apxs.mk bench      figures, as ratios; soak: the long runs; fuzz: by clang
#   make -f apxs.mk install    DESTDIR=, LIBEXECDIR=, SYSCONFDIR=, DATADIR=
#   make -f apxs.mk settings   writes what is made from the table of settings
#
# Objects go below $(builddir), so the tree stays clean.  SANITIZE=address,undefined
# or SANITIZE=thread build in a directory of their own.  WERROR=1 makes warnings
# errors.  CFLAGS, CPPFLAGS and LDFLAGS of the caller come last.

self := $(lastword $(MAKEFILE_LIST))

comma := ,
empty :=
space := $(empty) $(empty)

# Nothing here asks apxs before a recipe needs the answer, and then once:
# `deps` must work before apxs is there.
once = $(eval $(1) := $(2))$($(1))

LIBTOOL    = $(call once,LIBTOOL,$(shell $(APXS) -q LIBTOOL) --silent --tag=CC)
LIBEXECDIR = $(call once,LIBEXECDIR,$(shell $(APXS) -q LIBEXECDIR))
SYSCONFDIR = $(call once,SYSCONFDIR,$(shell $(APXS) -q SYSCONFDIR))
DATADIR    = $(call once,DATADIR,$(shell $(APXS) -q DATADIR)/gbalance)
HTTPD      = $(call once,HTTPD,$(shell $(APXS) -q SBINDIR)/$(shell $(APXS) -q PROGNAME))
APR_CONFIG = $(call once,APR_CONFIG,$(shell $(APXS) -q APR_CONFIG))
APU_CONFIG = $(call once,APU_CONFIG,$(shell $(APXS) -q APU_CONFIG))

-include config.mk

srcdir      ?= $(patsubst %/,%,$(dir $(self)))
SANITIZE    ?=
WERROR      ?=
builddir    ?= build$(if $(SANITIZE),/sanitize-$(subst $(comma),-,$(SANITIZE)))
APXS        ?= apxs
CURL_CONFIG ?= curl-config
PYTHON      ?= python3

# One spelling each, however the caller wrote it: dependency files hold names.
spell = $(if $(filter $(CURDIR),$(1)),.,$(patsubst $(CURDIR)/%,%,$(1)))
override srcdir   := $(call spell,$(abspath $(srcdir)))
override builddir := $(call spell,$(abspath $(builddir)))

# V=1 shows the commands.
Q   := $(if $(V),,@)
say  = $(if $(V),,@echo '  $(1) $(@:$(builddir)/%=%)')

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

httpd_include = $(call once,httpd_include,$(shell $(APXS) -q INCLUDEDIR))
httpd_flags   = $(call once,httpd_flags,$(shell $(APXS) -q EXTRA_CPPFLAGS))
httpd_cflags  = $(call once,httpd_cflags,$(shell $(APXS) -q CFLAGS))
apr_flags     = $(call once,apr_flags,$(shell $(APR_CONFIG) --includes) $(shell $(APU_CONFIG) --includes))
apr_libs      = $(call once,apr_libs,$(shell $(APU_CONFIG) --link-ld) $(shell $(APR_CONFIG) --link-ld --libs))
curl_flags    = $(call once,curl_flags,$(shell $(CURL_CONFIG) --cflags))
curl_libs     = $(call once,curl_libs,$(shell $(CURL_CONFIG) --libs))

# ---- flags ----

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wwrite-strings $(if $(WERROR),-Werror)
sanitize = $(if $(LIBFUZZER),-fsanitize=fuzzer-no-link) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)

# What APR's and httpd's headers expect of a Unix.
gnu_flags       = -D_GNU_SOURCE -D_REENTRANT
# Below the glue httpd's headers are not even on the path.
# What is not ours comes as system headers, so that its macros raise no warnings.
foreign         = $(patsubst -I%,-isystem %,$(filter-out -I/usr/include,$(1)))
core_cppflags   = -I$(srcdir)/include -I$(srcdir)/modules $(call foreign,$(apr_flags) $(curl_flags)) \
                  $(CPPFLAGS)
core_flags      = $(gnu_flags) $(core_cppflags) -fvisibility=hidden
module_cppflags = -I$(srcdir)/include -I$(srcdir)/modules $(httpd_flags) \
                  $(call foreign,-I$(httpd_include) $(apr_flags) $(curl_flags)) $(CPPFLAGS)
ifdef CFLAGS
base_cflags = $(CFLAGS)
else
base_cflags = $(httpd_cflags)
endif
# APR's own macros for rings subtract null pointers, which clang calls undefined.
ifneq ($(findstring clang,$(CC)),)
WARNINGS += -Wno-null-pointer-subtraction
endif
cflags  = -std=gnu11 $(WARNINGS) -ffunction-sections -fdata-sections \
          $(base_cflags) $(sanitize)
ldflags = -Wl,--as-needed -Wl,--gc-sections $(LDFLAGS) $(sanitize)
libs    = $(curl_libs) -ljansson -lsndfile -lcrypto $(apr_libs) -lpthread -lm $(LIBS)

# -MD, not -MMD: the guard of the layers wants to see curl and OpenSSL too.
compile = $(LIBTOOL) --mode=compile --tag=disable-static $(CC) -prefer-pic
depend  = -MD -MP -MF $(@:.lo=.d) -MT $@

# ---- what there is ----

CORE_DIRS   := base proto pool store upstream
core_src    := $(wildcard $(CORE_DIRS:%=$(srcdir)/modules/%/*.c))
schema_sql  := $(wildcard $(srcdir)/schema/mysql/*.sql $(srcdir)/schema/sqlite3/*.sql)
core_objs   := $(core_src:$(srcdir)/%.c=$(builddir)/%.lo) $(if $(schema_sql),$(builddir)/schema_files.lo)
libgbcore   := $(builddir)/libgbcore.la

module_dirs := $(patsubst $(srcdir)/modules/%/,%,$(sort $(dir $(wildcard $(srcdir)/modules/*/mod_*.c))))
module_of    = $(if $(filter core,$(1)),gbalance,gbalance_$(1))
modules     := $(foreach d,$(module_dirs),$(builddir)/mod_$(call module_of,$(d)).la)

unit_src    := $(wildcard $(srcdir)/test/unit/test_*.c)
torture_src := $(wildcard $(srcdir)/test/unit/torture_*.c)
unit_help   := $(filter-out $(unit_src) $(torture_src),$(wildcard $(srcdir)/test/unit/*.c))
unit_tests  := $(unit_src:$(srcdir)/%.c=$(builddir)/%)
tortures    := $(torture_src:$(srcdir)/%.c=$(builddir)/%)
unit_objs   := $(unit_help:$(srcdir)/%.c=$(builddir)/%.lo)

fuzz_src    := $(wildcard $(srcdir)/test/fuzz/fuzz_*.c)
fuzzers     := $(fuzz_src:$(srcdir)/%.c=$(builddir)/%)

sim_src     := $(wildcard $(srcdir)/test/simulator/*.c)
simulator   := $(builddir)/gemini-simulator
load_src    := $(wildcard $(srcdir)/test/bench/load*.c)
loader      := $(builddir)/test/load
bench_src   := $(filter-out $(load_src),$(wildcard $(srcdir)/test/bench/*.c))
benches     := $(bench_src:$(srcdir)/%.c=$(builddir)/%)
printer     := $(builddir)/test/guard/print_settings

# ---- the modules ----

all: $(modules)

$(builddir)/modules/%.lo: $(srcdir)/modules/%.c $(srcdir)/apxs.mk
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(compile) $(if $(filter $(CORE_DIRS),$(firstword $(subst /,$(space),$*))),$(core_flags),$(module_cppflags)) $(cflags) $(depend) -c -o $@ $<

# The schema travels inside the modules.
$(builddir)/schema_files.c: $(srcdir)/modules/store/schema.awk $(schema_sql)
	@mkdir -p $(@D)
	$(Q)awk -f $^ >$@
$(builddir)/schema_files.lo: $(builddir)/schema_files.c $(srcdir)/modules/store/migrate.h
	$(call say,CC  )
	$(Q)$(compile) $(core_flags) $(cflags) -c -o $@ $<

# So do the pages.
page_files := $(wildcard $(srcdir)/htdocs/templates/*.html) $(wildcard $(srcdir)/htdocs/i18n/*.json)
$(builddir)/admin_files.c: $(srcdir)/modules/admin/files.awk $(page_files)
	@mkdir -p $(@D)
	$(Q)awk -f $^ >$@
$(builddir)/admin_files.lo: $(builddir)/admin_files.c $(srcdir)/modules/admin/admin.h $(srcdir)/modules/base/template.h
	$(call say,CC  )
	$(Q)$(compile) $(module_cppflags) $(cflags) -c -o $@ $<

$(libgbcore): $(core_objs)
	$(call say,LINK)
	$(Q)$(LIBTOOL) --mode=link $(CC) -o $@ $^

define module_rules
$(builddir)/mod_$(call module_of,$(1)).la: \
    $(patsubst $(srcdir)/%.c,$(builddir)/%.lo,$(wildcard $(srcdir)/modules/$(1)/*.c)) \
    $(if $(filter admin,$(1)),$(builddir)/admin_files.lo) $(libgbcore)
	$$(call say,LINK)
	$$(Q)$$(LIBTOOL) --mode=link $$(CC) $$(base_cflags) -shared -module -avoid-version \
	    -rpath $$(LIBEXECDIR) -export-symbols-regex '^$(call module_of,$(1))_module$$$$' \
	    -o $$@ $$^ $$(ldflags) $$(libs)
endef
$(foreach d,$(module_dirs),$(eval $(call module_rules,$(d))))

# ---- programs of the tests ----

$(builddir)/test/%.lo: $(srcdir)/test/%.c $(srcdir)/apxs.mk
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(compile) $(if $(filter unit/% guard/% fuzz/% bench/bench_%,$*),$(gnu_flags)) $(if $(filter simulator/%,$*),-DSIM_WITH_TLS) $(core_cppflags) -I$(srcdir)/$(dir test/$*) $(cflags) $(depend) -c -o $@ $<

$(benches): %: %.lo $(libgbcore)
	$(call say,LINK)
	$(Q)$(LIBTOOL) --mode=link $(CC) $(base_cflags) -o $@ $^ $(ldflags) $(libs)

$(unit_tests) $(tortures): %: %.lo $(unit_objs) $(libgbcore)
	$(call say,LINK)
	$(Q)$(LIBTOOL) --mode=link $(CC) $(base_cflags) -o $@ $^ $(ldflags) $(libs) -lcmocka

$(simulator): $(sim_src:$(srcdir)/%.c=$(builddir)/%.lo)
	$(call say,LINK)
	$(Q)$(LIBTOOL) --mode=link $(CC) $(base_cflags) -o $@ $^ $(ldflags) -lssl -lcrypto $(libs)

$(printer): %: %.lo $(libgbcore)
	$(call say,LINK)
	$(Q)$(LIBTOOL) --mode=link $(CC) $(base_cflags) -o $@ $^ $(ldflags) $(libs)

# Replays files; with LIBFUZZER=1, for clang and SANITIZE=address,undefined, it fuzzes.
$(fuzzers): %: %.lo $(if $(LIBFUZZER),,$(builddir)/test/fuzz/standalone.lo) $(libgbcore)
	$(call say,LINK)
	$(Q)$(LIBTOOL) --mode=link $(CC) $(base_cflags) -o $@ $^ $(ldflags) $(if $(LIBFUZZER),-fsanitize=fuzzer) $(libs)

# Simulator and load generator stand alone: nothing of gbalance is in them.
$(loader): $(load_src:$(srcdir)/%.c=$(builddir)/%.lo)
	$(call say,LINK)
	$(Q)$(LIBTOOL) --mode=link $(CC) $(base_cflags) -o $@ $^ $(ldflags) -lm

simulator: $(if $(sim_src),$(simulator))
load: $(if $(load_src),$(loader))
unit: $(unit_tests)
tortures: $(tortures)
fuzzers: $(fuzzers)
benches: $(benches)
everything: all simulator load unit tortures fuzzers benches $(printer)

-include $(shell find $(builddir)/modules $(builddir)/test -name '*.d' 2>/dev/null)

# ---- what must be installed ----

deps_sh    = sh $(srcdir)/conf.d/run/deps.sh
BUILD_DEPS = gcc libc6-dev make apache2-dev libcurl4-openssl-dev libjansson-dev libssl-dev libsndfile1-dev
RUN_DEPS   = $(BUILD_DEPS) apache2-bin libaprutil1-dbd-sqlite3 ca-certificates curl tzdata libjs-chart.js
CHECK_DEPS = $(RUN_DEPS) libcmocka-dev python3 python3-venv procps openssl \
             libaprutil1-dbd-mysql mariadb-server-core mariadb-client clang libclang-rt-dev tinyproxy-bin microsocks \
             chromium apache2-utils sox libsox-fmt-mp3 opus-tools libapache2-mod-auth-openidc
LINT_DEPS  = $(CHECK_DEPS) clang-format cppcheck

deps:
	@$(deps_sh) $(LINT_DEPS)
deps-run:
	@$(deps_sh) $(RUN_DEPS)
deps-check:
	@$(deps_sh) $(CHECK_DEPS)
deps-lint:
	@$(deps_sh) $(LINT_DEPS)

# The programs that a phase needs were perhaps installed just now: a make of its
# own asks for them.
submake = $(MAKE) --no-print-directory -f $(self) srcdir=$(srcdir)
jobs    = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc 2>/dev/null || echo 1))
tools   = GB_SRCDIR=$(abspath $(srcdir)) GB_BUILD=$(abspath $(builddir)) GB_APXS='$(APXS)' \
          GB_MAKE='$(MAKE) -f $(abspath $(self)) srcdir=$(abspath $(srcdir))' \
          GB_HTTPD=$(HTTPD) GB_LIBEXECDIR=$(LIBEXECDIR)

# ---- run ----

run: deps-run
	+@$(submake) $(jobs) all simulator
	+@$(submake) run-now
run-now:
	@exec env $(tools) sh $(srcdir)/conf.d/run/run.sh

# ---- check ----

venv = $(builddir)/venv
$(venv)/.made: $(srcdir)/test/requirements.txt
	$(PYTHON) -m venv --clear $(venv)
	$(venv)/bin/pip --quiet --disable-pip-version-check install -r $<
	touch $@
venv: $(venv)/.made

check: deps-check
	+@$(submake) check-now
check-now:
	@$(tools) $(PYTHON) $(srcdir)/test/check.py $(CHECK_ARGS)

guard: all $(printer)
	@$(tools) $(PYTHON) $(srcdir)/test/guard/run.py

bench: deps-check
	+@$(submake) $(jobs) all simulator load benches venv
	+@$(submake) bench-now
bench-now:
	@set -e; for b in $(benches); do echo "== $${b##*/}"; $$b; done
	@$(tools) $(venv)/bin/python $(srcdir)/test/bench/bench.py $(BENCH_ARGS)

soak: deps-check
	+@$(submake) $(jobs) all simulator load tortures venv
	+@$(submake) soak-now
soak-now:
	@set -e; for t in $(tortures); do echo "$$t"; $$t; done
	+@$(submake) fuzz-now FUZZ_SECONDS=$(SOAK_FUZZ_SECONDS)
	@$(tools) $(venv)/bin/python -m pytest -m soak $(srcdir)/test/httpd $(SOAK_ARGS)

# Each target for so long, as many side by side as there are processors.
FUZZ_SECONDS      ?= 60
SOAK_FUZZ_SECONDS ?= 900
fuzz: deps-check
	+@$(submake) fuzz-now FUZZ_SECONDS=$(FUZZ_SECONDS)
fuzz-now:
	+@$(submake) $(jobs) CC=clang LIBFUZZER=1 SANITIZE=address,undefined builddir=$(builddir)/fuzz fuzzers
	@$(tools) $(PYTHON) $(srcdir)/test/fuzz/run.py $(builddir)/fuzz/test/fuzz $(FUZZ_SECONDS)

# ---- lint ----

c_files = $(wildcard $(addprefix $(srcdir)/,include/*.h modules/*/*.c modules/*/*.h \
          test/unit/*.c test/unit/*.h test/fuzz/*.c test/fuzz/*.h test/simulator/*.c test/simulator/*.h test/bench/*.c test/bench/*.h test/guard/*.[ch]))

lint: deps-lint
	+@$(submake) lint-format lint-cppcheck lint-gcc lint-clang
lint-format:
	@echo '  CLANG-FORMAT'
	$(Q)clang-format --dry-run -Werror $(c_files)
lint-cppcheck:
	@echo '  CPPCHECK'
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --suppressions-list=$(srcdir)/test/guard/cppcheck.txt --error-exitcode=1 \
	    --include=$(srcdir)/test/guard/cppcheck.h -j $(shell nproc) \
	    -I$(srcdir)/include -I$(srcdir)/modules $(filter %.c,$(c_files))
lint-gcc lint-clang: lint-%:
	+@$(submake) $(jobs) CC=$* WERROR=1 builddir=$(builddir)/lint-$* everything

# ---- made from the table of settings ----

settings: $(printer)
	$(PYTHON) $(srcdir)/test/guard/settings.py --write $(srcdir) $(printer)

# ---- install ----

INSTALL      ?= install
INSTALL_DATA ?= $(INSTALL) -m 644

install: all
	$(INSTALL) -d $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(SYSCONFDIR)/conf.d $(DESTDIR)$(DATADIR)
	set -e; for la in $(modules); do \
	    name=$$(basename $$la .la); \
	    $(APXS) -i -S LIBEXECDIR=$(DESTDIR)$(LIBEXECDIR) -n $${name#mod_} $$la >/dev/null; \
	done
	set -e; for conf in $(srcdir)/conf.d/*.conf; do \
	    to=$(DESTDIR)$(SYSCONFDIR)/conf.d/$${conf##*/}; \
	    sed -e 's|^\( *Define GB_MODULES\) .*|\1 $(LIBEXECDIR)|' \
	        -e 's|^\( *Define GB_HTDOCS\) .*|\1 $(DATADIR)/htdocs|' $$conf >$$to; chmod 644 $$to; \
	done
	$(INSTALL) -m 755 $(srcdir)/conf.d/gbalance-intercept.sh $(srcdir)/conf.d/gbalance-reseal.sh $(DESTDIR)$(DATADIR)/
	$(if $(DESTDIR),,set -e; secret=$(SYSCONFDIR)/gbalance.secret; \
	    [ -e $$secret ] || (umask 077; head -c 32 /dev/urandom >$$secret))
	set -e; cd $(srcdir); for f in $$(find htdocs schema -type f | sort); do \
	    $(INSTALL) -d $(DESTDIR)$(DATADIR)/$${f%/*}; \
	    $(INSTALL_DATA) $$f $(DESTDIR)$(DATADIR)/$$f; \
	done

# ---- tidy ----

clean:
	rm -rf $(builddir)/modules $(builddir)/test $(builddir)/.libs $(builddir)/*.la \
	    $(builddir)/gemini-simulator $(builddir)/schema_files.* $(builddir)/admin_files.* $(builddir)/lint-* \
	    $(builddir)/sanitize-* $(builddir)/fuzz
distclean: clean
	rm -rf $(builddir) autom4te.cache config.mk config.log config.status Makefile

.PHONY: all simulator load unit tortures fuzzers benches everything deps deps-run deps-check deps-lint run run-now \
    venv check check-now guard bench bench-now soak soak-now lint lint-format lint-cppcheck \
    lint-gcc lint-clang fuzz fuzz-now settings install clean distclean
