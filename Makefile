# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# Every target of the project; what tests are made of is in tests/tests.mk and tests/wine/wine.mk.
# Folders are taken by wildcard: a new file needs no change here.
#   make        wintun.sys and wintun.dll in out/amd64 and out/arm64, out/nthost
#   make demo   sets up what is missing, then shows real traffic through the driver
#   make test   sets up what is missing, then checks and tests everything
# Results are under out/.

MAKEFLAGS += --no-builtin-rules --no-print-directory -j$(shell nproc)
ifndef V # make V=1 shows every command
.SILENT:
endif
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

CLANG   ?= clang-19
LLD     ?= lld-link-19
DLLTOOL ?= llvm-dlltool-19
RC      ?= llvm-rc-19
MINGW_CC ?= x86_64-w64-mingw32-gcc
CC      := gcc
AR      := ar
VERSION := $(shell cat VERSION)
OUT     := out

.PHONY: all driver api nthost tests clean
all: driver api nthost

# Every target first installs what it needs and the system lacks; nothing when nothing is missing.
ifeq ($(MAKELEVEL)$(filter clean,$(MAKECMDGOALS)),0)
PURPOSE := $(or $(if $(filter test tests test-wine wine,$(MAKECMDGOALS)),test),$(firstword $(filter check demo,$(MAKECMDGOALS))),build)
TOOLS := CLANG='$(CLANG)' LLD='$(LLD)' DLLTOOL='$(DLLTOOL)' MINGW_CC='$(MINGW_CC)' # make 4.3 does not hand them to $(shell)
ifneq ($(shell $(TOOLS) scripts/setup $(PURPOSE) >&2 && echo ready),ready)
$(error set-up failed, see above)
endif
endif

# ---- Windows binaries ----------------------------------------------------------------------------

WINWARN := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wshadow \
	-Wno-unused-parameter -Wno-unknown-pragmas
WINCC   := -std=c17 $(WINWARN) -O2 -g -gcodeview -fms-extensions -ffreestanding \
	-fasynchronous-unwind-tables -mno-stack-arg-probe -Xclang -fasync-exceptions \
	-fno-stack-protector -fno-ident -MMD -MP -Isdk -Iinclude \
	'-ffile-prefix-map=$(CURDIR)/=' -ffile-compilation-dir=. -gno-codeview-command-line
WINLD   := /nologo /driver /subsystem:native /entry:DriverEntry /nodefaultlib /lldmingw \
	/release /Brepro /opt:noref /debug /pdbsourcepath:.
TRIPLE_amd64 := x86_64-w64-windows-gnu
TRIPLE_arm64 := aarch64-w64-windows-gnu
DEFARCH_amd64 := i386:x86-64
DEFARCH_arm64 := arm64
MACHINE_amd64 := x64
MACHINE_arm64 := arm64

VERSION_PARTS := $(subst ., ,$(VERSION))
TUN_DEFINES := -DTUN_VERSION_MAJOR=$(word 1,$(VERSION_PARTS)) -DTUN_VERSION_MINOR=$(word 2,$(VERSION_PARTS)) \
	-DTUN_VERSION_PATCH=$(word 3,$(VERSION_PARTS))
# The date of the version, so that the same sources always give the same package.
DRIVER_DATE := $(shell date -u -d @$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct -- VERSION 2>/dev/null | grep . || \
	stat -c %Y VERSION)} +%m/%d/%Y)

DEFS := $(notdir $(basename $(wildcard sdk/*.def)))

# One .def file serves every architecture; decorations (@8) belong to x86 only.
define import_libraries
$(OUT)/$(1)/%.def: sdk/%.def
	mkdir -p $$(@D)
	sed -E 's/@?\b([A-Za-z_][A-Za-z0-9_]*)@[0-9]+/\1/' $$< > $$@
$(OUT)/$(1)/%.lib: $(OUT)/$(1)/%.def
	echo '  import   $$@'
	$$(DLLTOOL) -m $$(DEFARCH_$(1)) -d $$< -l $$@
IMPORTS_$(1) := $$(DEFS:%=$(OUT)/$(1)/%.lib)

$(OUT)/$(1)/driver/%.obj: driver/%.c Makefile VERSION
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_$(1)) $$(WINCC) $$(TUN_DEFINES) -c $$< -o $$@
$(OUT)/$(1)/driver/wintun.res: driver/wintun.rc Makefile VERSION
	mkdir -p $$(@D)
	echo '  resource $$@'
	$$(RC) /nologo /C 65001 $$(TUN_DEFINES) '-DTUN_VERSION_TEXT="$$(VERSION)"' /fo $$@ $$<
$(OUT)/$(1)/wintun.inf: driver/wintun.inf Makefile VERSION
	mkdir -p $$(@D)
	sed 's|@VERSION@|$$(VERSION)|; s|@DATE@|$$(DRIVER_DATE)|; s|@ARCH@|$(1)|' $$< > $$@
$(OUT)/$(1)/wintun.sys: $$(patsubst %.c,$(OUT)/$(1)/%.obj,$$(wildcard driver/*.c)) \
		$(OUT)/$(1)/driver/wintun.res $$(IMPORTS_$(1))
	echo '  link     $$@'
	$$(LLD) $$(WINLD) /machine:$$(MACHINE_$(1)) /pdb:$$(@:.sys=.pdb) /pdbaltpath:wintun.pdb /out:$$@ $$^
endef
$(eval $(call import_libraries,amd64))
$(eval $(call import_libraries,arm64))

driver: $(foreach a,amd64 arm64,$(OUT)/$(a)/wintun.sys $(OUT)/$(a)/wintun.inf)

# The DLL, with the driver package inside; the one for amd64 has that for arm64 as well, whose Windows
# runs amd64 programs. A package has a catalogue when someone has put it beside the driver.
WININC ?= /usr/share/mingw-w64/include
APICC  := $(filter-out -Isdk,$(WINCC)) -Wframe-larger-than=3500 -nostdlibinc -isystem $(WININC)
APILD  := /nologo /dll /entry:DllMain /subsystem:windows /nodefaultlib /lldmingw /release /Brepro \
	/opt:noref /debug /pdbsourcepath:. /pdbaltpath:wintun.pdb /def:api/wintun.def
# The date of the INF in days since 1601-01-01, of which 1970-01-01 is number 134774.
DRIVER_DAY = $(shell expr $$(date -u -d '$(DRIVER_DATE)' +%s) / 86400 + 134774)
API_DEFINES = $(TUN_DEFINES) -DTUN_DRIVER_DAY=$(DRIVER_DAY)
CATALOGS := $(wildcard $(OUT)/amd64/wintun.cat $(OUT)/arm64/wintun.cat)
PACKAGES_amd64 := amd64 arm64
PACKAGES_arm64 := arm64
$(OUT)/%/kernel32.def: api/kernel32.def
	mkdir -p $(@D)
	cp $< $@
define api_library
$(OUT)/$(1)/api/%.obj: api/%.c Makefile VERSION
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_$(1)) $$(APICC) $$(API_DEFINES) -c $$< -o $$@
$(OUT)/$(1)/api/wintun.res: api/wintun.rc Makefile VERSION $(CATALOGS) \
		$$(foreach a,$$(PACKAGES_$(1)),$(OUT)/$$(a)/wintun.sys $(OUT)/$$(a)/wintun.inf)
	mkdir -p $$(@D)
	echo '  resource $$@'
	$$(RC) /nologo /C 65001 $$(TUN_DEFINES) '-DTUN_VERSION_TEXT="$$(VERSION)"' '-DPACKAGE="$(OUT)/$(1)"' \
		$$(if $$(word 2,$$(PACKAGES_$(1))),'-DPACKAGE_ARM64="$(OUT)/arm64"') \
		$$(if $$(wildcard $(OUT)/$(1)/wintun.cat),-DHAS_CATALOG) \
		$$(if $$(wildcard $(OUT)/arm64/wintun.cat),-DHAS_CATALOG_ARM64) /fo $$@ $$<
$(OUT)/$(1)/wintun.dll: $$(patsubst %.c,$(OUT)/$(1)/%.obj,$$(wildcard api/*.c)) \
		$(OUT)/$(1)/api/wintun.res $(OUT)/$(1)/kernel32.lib api/wintun.def
	echo '  link     $$@'
	$$(LLD) $$(APILD) /machine:$$(MACHINE_$(1)) /pdb:$$(@D)/wintun-api.pdb /implib:$$(@:.dll=.lib) /out:$$@ \
		$$(filter-out %.def,$$^)
$(OUT)/$(1)/wintun.lib: $(OUT)/$(1)/wintun.dll ;
endef
$(eval $(call api_library,amd64))
$(eval $(call api_library,arm64))

api: $(foreach a,amd64 arm64,$(OUT)/$(a)/wintun.dll)

# ---- wintun.exe: user mode, with mingw-w64's headers and no C runtime ------------------------------

# A frame of a page or more would need a helper of the C runtime.
TOOLCC := $(filter-out -Isdk -mno-stack-arg-probe -Xclang -fasync-exceptions,$(WINCC)) -nostdlibinc \
	-isystem $(WININC) -Wframe-larger-than=4000 '-DTUN_VERSION_TEXT="$(VERSION)"'
TOOLLD := /nologo /subsystem:console /entry:ToolMain /nodefaultlib /lldmingw /release /Brepro \
	/opt:noref /debug /pdbsourcepath:.
TOOLSRC := $(wildcard tools/*.c tools/pure/*.c)
define tool
$(OUT)/$(1)/tools/%.obj: tools/%.c Makefile VERSION
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_$(1)) $$(TOOLCC) -c $$< -o $$@
$(OUT)/$(1)/tools/wintun.res: tools/wintun.rc Makefile VERSION
	mkdir -p $$(@D)
	echo '  resource $$@'
	$$(RC) /nologo /C 65001 $$(TUN_DEFINES) '-DTUN_VERSION_TEXT="$$(VERSION)"' /fo $$@ $$<
$(OUT)/$(1)/tools/kernel32.lib: tools/kernel32.def
	mkdir -p $$(@D)
	echo '  import   $$@'
	$$(DLLTOOL) -m $$(DEFARCH_$(1)) -d $$< -l $$@
$(OUT)/$(1)/wintun.exe: $$(TOOLSRC:%.c=$(OUT)/$(1)/%.obj) $(OUT)/$(1)/tools/wintun.res \
		$(OUT)/$(1)/tools/kernel32.lib
	echo '  link     $$@'
	$$(LLD) $$(TOOLLD) /machine:$$(MACHINE_$(1)) /pdb:$$(@:.exe=.exe.pdb) /pdbaltpath:wintun.exe.pdb \
		/out:$$@ $$^
endef
$(eval $(call tool,amd64))
$(eval $(call tool,arm64))

.PHONY: tools
tools: $(foreach a,amd64 arm64,$(OUT)/$(a)/wintun.exe)
all: tools

# ---- nthost --------------------------------------------------------------------------------------

HOSTWARN := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter \
	-Wno-missing-field-initializers
HOSTCC   := -std=gnu17 $(HOSTWARN) -g -fshort-wchar -fno-strict-aliasing -pthread -MMD -MP \
	-Isdk -Iinclude -Inthost -isystem /usr/include/lwip -D_GNU_SOURCE
HOST_plain := -O2
HOST_asan  := -O1 -fsanitize=address,undefined -fno-omit-frame-pointer -DNTH_ASAN
HOST_tsan  := -O1 -fsanitize=thread -DNTH_TSAN
HOSTLIBS := -pthread -ldl -llwip

HOSTSRC  := $(wildcard nthost/core/*.c nthost/pe/*.c nthost/nt/*.c nthost/ndis/*.c nthost/edge/*.c \
	nthost/client/*.c nthost/win32/*.c)
HOSTASM  := $(wildcard nthost/pe/*.S)
CHILDSRC := nthost/client/child.c nthost/client/ring.c nthost/client/packets.c

# objects of the host library in one variant: plain, asan or tsan
define host_variant
$(OUT)/host-$(1)/%.o: %.c Makefile
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CC) $$(HOSTCC) $$(HOST_$(1)) -c $$< -o $$@
$(OUT)/host-$(1)/%.o: %.S Makefile
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CC) -g $$(filter -D%,$$(HOST_$(1))) -c $$< -o $$@
HOSTOBJ_$(1) := $$(patsubst %,$(OUT)/host-$(1)/%.o,$$(basename $$(filter-out nthost/client/child.c nthost/client/packets.c,$$(HOSTSRC)) $$(HOSTASM)))
endef
$(eval $(call host_variant,plain))
$(eval $(call host_variant,asan))
$(eval $(call host_variant,tsan))

$(OUT)/nthost: $(HOSTOBJ_plain) $(patsubst %.c,$(OUT)/host-plain/%.o,$(wildcard nthost/*.c))
	echo '  link     $@'
	$(CC) -o $@ $^ $(HOSTLIBS)
nthost: $(OUT)/nthost

# ---- examples: Linux children of nthost, and Windows programs over wintun.dll ---------------------

# those over examples/packets.h; minimal.c uses the DLL itself and is for Windows only
PORTABLE := $(filter-out examples/minimal.c,$(wildcard examples/*.c))
EXAMPLES := $(PORTABLE:examples/%.c=$(OUT)/%)
$(EXAMPLES): $(OUT)/%: $(OUT)/host-plain/examples/%.o $(CHILDSRC:%.c=$(OUT)/host-plain/%.o)
	echo '  link     $@'
	$(CC) -o $@ $^ -pthread
all: $(EXAMPLES)

MINGWFLAGS := -std=c17 -O2 -Wall -Wextra -Werror -Wno-missing-field-initializers -Iinclude -static -s \
	-Wl,--no-insert-timestamp
WINEXAMPLES := $(patsubst examples/%.c,$(OUT)/amd64/%.exe,$(wildcard examples/*.c))
$(PORTABLE:examples/%.c=$(OUT)/amd64/%.exe): $(wildcard examples/windows/*.[ch]) examples/packets.h include/wintun-abi.h
$(WINEXAMPLES): $(OUT)/amd64/%.exe: examples/%.c include/wintun.h include/wintun-loader.h Makefile
	mkdir -p $(@D)
	echo '  link     $@'
	$(MINGW_CC) $(MINGWFLAGS) -o $@ $(filter %.c,$^) -lws2_32
all: $(WINEXAMPLES)

# ---- the demo, and the bench ---------------------------------------------------------------------

.PHONY: demo bench
demo: all
	scripts/demo

bench: driver $(OUT)/bench
	$(OUT)/bench
$(OUT)/bench: $(patsubst %.c,$(OUT)/host-plain/%.o,$(wildcard tests/bench/*.c)) $(HOSTOBJ_plain)
	echo '  link     $@'
	$(CC) -o $@ $^ $(HOSTLIBS)

# ---- what tests are made of: tests/tests.mk, tests/wine/wine.mk ------------------------------------

# Absent where only the products are built.
include $(wildcard tests/*.mk tests/*/*.mk)

# ---- checks and tests ----------------------------------------------------------------------------

.PHONY: check test
check: all
	scripts/check

# Everything CI runs: the checks, all tests, the tests of the driver and of the host once more with
# address checks in both, and those with real concurrency with race checks in both.
TESTSCRIPTS := $(wildcard tests/*/run)
RACES := host/cpu host/locks host/crowd host/client host/others host/module driver/senders driver/readers \
	driver/session unit/ring api/threads api/owner
TESTRUNS := $(sort $(TESTSRC:tests/%.c=$(OUT)/tests-plain/%)) \
	$(sort $(TESTSRC:tests/%.c=$(OUT)/tests-asan/%)) $(RACES:%=$(OUT)/tests-tsan/%)
test: all tests tests-asan $(RACES:%=$(OUT)/tests-tsan/%) $(OUT)/amd64-tsan/wintun.sys $(OUT)/amd64-tsan/wintun.dll \
		$(SANTESTS:%=$(OUT)/drivers/tsan/%.sys) $(TESTMODULES:%=$(OUT)/modules/tsan/%.dll)
	tests/run scripts/check $(TESTSCRIPTS) $(TESTRUNS)

.PHONY: test-wine
test-wine: wine
	tests/run -v tests/wine/run

clean:
	rm -rf $(OUT)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
