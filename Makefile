# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# Every target of the project. Folders are taken by wildcard: a new file needs no change here.
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

# Programs that tests start as children of the host.
CHILDREN := $(patsubst tests/host/children/%.c,$(OUT)/children/%,$(wildcard tests/host/children/*.c))
$(CHILDREN): $(OUT)/children/%: $(OUT)/host-plain/tests/host/children/%.o $(CHILDSRC:%.c=$(OUT)/host-plain/%.o)
	mkdir -p $(@D)
	echo '  link     $@'
	$(CC) -o $@ $^ -pthread
tests: $(CHILDREN)

# ---- test drivers: small .sys files, with both triples at -O0 and -O2 ----------------------------

VARIANTS := gnu-O0 gnu-O2 msvc-O0 msvc-O2
TRIPLE_gnu-O0 := x86_64-w64-windows-gnu
TRIPLE_gnu-O2 := x86_64-w64-windows-gnu
TRIPLE_msvc-O0 := x86_64-pc-windows-msvc
TRIPLE_msvc-O2 := x86_64-pc-windows-msvc
TESTDRIVERS := $(basename $(notdir $(wildcard tests/host/drivers/*.c)))
# what test programs themselves offer to the drivers they load
TESTIMPORTS := $(patsubst tests/host/drivers/%.def,$(OUT)/drivers/%.lib,$(wildcard tests/host/drivers/*.def))
$(OUT)/drivers/%.lib: tests/host/drivers/%.def
	mkdir -p $(@D)
	echo '  import   $@'
	$(DLLTOOL) -m i386:x86-64 -d $< -l $@
define test_driver_variant
$(OUT)/drivers/$(1)/%.obj: tests/host/drivers/%.c Makefile
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_$(1)) $$(filter-out -O2,$$(WINCC)) -$$(lastword $$(subst -, ,$(1))) \
		-Itests/host/drivers -c $$< -o $$@
$(OUT)/drivers/$(1)/%.sys: $(OUT)/drivers/$(1)/%.obj $$(IMPORTS_amd64) $$(TESTIMPORTS)
	echo '  link     $$@'
	$$(LLD) $$(WINLD) /machine:x64 /pdb:$$(@:.sys=.pdb) /pdbaltpath:$$(notdir $$(@:.sys=.pdb)) /out:$$@ $$^
drivers: $$(TESTDRIVERS:%=$(OUT)/drivers/$(1)/%.sys)
endef
$(foreach v,$(VARIANTS),$(eval $(call test_driver_variant,$(v))))
.PHONY: drivers

# ---- instrumented drivers: asan (address checks), tsan (race checks), cov (fuzzing feedback) ------

SANITIZED := asan tsan cov
SAN_asan := -Xclang -fsanitize=kernel-address -Xclang -fsanitize-recover=kernel-address \
	-mllvm -asan-stack=1 -mllvm -asan-globals=1 -mllvm -asan-instrumentation-with-call-threshold=0 \
	-mllvm -asan-max-inline-poisoning-size=0
SAN_tsan := -Xclang -fsanitize=thread -mllvm -tsan-instrument-func-entry-exit=0
SAN_cov  := $(SAN_asan) -fsanitize-coverage=inline-8bit-counters,pc-table,trace-cmp
$(OUT)/sanitize/sanitizer.lib: nthost/pe/runtime/sanitizer.def
	mkdir -p $(@D)
	echo '  import   $@'
	$(DLLTOOL) -m i386:x86-64 -d $< -l $@
$(OUT)/sanitize/runtime.obj: nthost/pe/runtime/runtime.c Makefile
	mkdir -p $(@D)
	echo '  compile  $@'
	$(CLANG) --target=$(TRIPLE_amd64) $(WINCC) -c $< -o $@
SANRUNTIME := $(OUT)/sanitize/runtime.obj $(OUT)/sanitize/sanitizer.lib

# driver and DLL as out/amd64-asan/wintun.sys and .dll, any test driver as out/drivers/asan/<name>.sys, and so on
define sanitized_driver
$(OUT)/amd64-$(1)/driver/%.obj: driver/%.c Makefile VERSION
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_amd64) $$(WINCC) $$(SAN_$(1)) $$(TUN_DEFINES) -c $$< -o $$@
$(OUT)/amd64-$(1)/wintun.sys: $$(patsubst %.c,$(OUT)/amd64-$(1)/%.obj,$$(wildcard driver/*.c)) \
		$(OUT)/amd64/driver/wintun.res $$(SANRUNTIME) $$(IMPORTS_amd64)
	echo '  link     $$@'
	$$(LLD) $$(WINLD) /machine:x64 /pdb:$$(@:.sys=.pdb) /pdbaltpath:wintun.pdb /out:$$@ $$^
$(OUT)/amd64-$(1)/api/%.obj: api/%.c Makefile VERSION
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_amd64) $$(filter-out -Wframe-larger-than=%,$$(APICC)) $$(SAN_$(1)) \
		$$(API_DEFINES) -c $$< -o $$@
$(OUT)/amd64-$(1)/wintun.dll: $$(patsubst %.c,$(OUT)/amd64-$(1)/%.obj,$$(wildcard api/*.c)) \
		$(OUT)/amd64/api/wintun.res $$(SANRUNTIME) $(OUT)/amd64/kernel32.lib api/wintun.def
	echo '  link     $$@'
	$$(LLD) $$(APILD) /machine:x64 /pdb:$$(@D)/wintun-api.pdb /implib:$$(@:.dll=.lib) /out:$$@ \
		$$(filter-out %.def,$$^)
$(OUT)/drivers/$(1)/%.obj: tests/host/drivers/%.c Makefile
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_amd64) $$(WINCC) $$(SAN_$(1)) -Itests/host/drivers -c $$< -o $$@
$(OUT)/drivers/$(1)/%.sys: $(OUT)/drivers/$(1)/%.obj $$(SANRUNTIME) $$(IMPORTS_amd64) $$(TESTIMPORTS)
	echo '  link     $$@'
	$$(LLD) $$(WINLD) /machine:x64 /pdb:$$(@:.sys=.pdb) /pdbaltpath:$$(notdir $$(@:.sys=.pdb)) /out:$$@ $$^
endef
$(foreach v,$(SANITIZED),$(eval $(call sanitized_driver,$(v))))
# test drivers that also run so
SANTESTS := sanitize frames bundle4
drivers: $(foreach v,$(SANITIZED),$(OUT)/drivers/$(v)/sanitize.sys)
tests-asan: $(OUT)/amd64-asan/wintun.sys $(OUT)/amd64-asan/wintun.dll $(SANTESTS:%=$(OUT)/drivers/asan/%.sys)
tests-tsan: $(OUT)/amd64-tsan/wintun.sys $(OUT)/amd64-tsan/wintun.dll $(SANTESTS:%=$(OUT)/drivers/tsan/%.sys)

# ---- test modules: small DLLs that user processes of nthost load -----------------------------------

TESTMODULES := $(basename $(notdir $(wildcard tests/host/modules/*.c)))
DLLLD := $(filter-out /driver /subsystem:% /entry:%,$(WINLD)) /dll /subsystem:console /entry:DllMain
$(OUT)/modules/kernel32.lib: tests/host/modules/kernel32.def
	mkdir -p $(@D)
	echo '  import   $@'
	$(DLLTOOL) -m i386:x86-64 -d $< -l $@
$(OUT)/modules/%.res: tests/host/modules/%.rc Makefile
	mkdir -p $(@D)
	echo '  resource $@'
	$(RC) /nologo /fo $@ $<
# plain as out/modules/<name>.dll; instrumented as out/modules/asan/<name>.dll, and so on
define test_module
$(OUT)/modules$(1)/%.obj: tests/host/modules/%.c Makefile
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_amd64) $$(filter-out -Isdk -Iinclude,$$(WINCC)) $(2) -c $$< -o $$@
$(OUT)/modules$(1)/%.dll: $(OUT)/modules$(1)/%.obj $(OUT)/modules/%.res $(OUT)/modules/kernel32.lib $(3)
	echo '  link     $$@'
	$$(LLD) $$(DLLLD) /machine:x64 /pdb:$$(@:.dll=.pdb) /pdbaltpath:$$(notdir $$(@:.dll=.pdb)) /out:$$@ $$^
endef
$(eval $(call test_module,,,))
$(eval $(call test_module,/asan,$(SAN_asan),$(SANRUNTIME)))
$(eval $(call test_module,/tsan,$(SAN_tsan),$(SANRUNTIME)))
tests: $(TESTMODULES:%=$(OUT)/modules/%.dll)
tests-asan: $(TESTMODULES:%=$(OUT)/modules/asan/%.dll)
tests-tsan: $(TESTMODULES:%=$(OUT)/modules/tsan/%.dll)

# ---- test programs: one per file under tests/unit, tests/host, tests/driver, tests/api -----------

TESTSRC := $(wildcard tests/unit/*.c tests/host/*.c tests/driver/*.c tests/api/*.c)
TESTLIB := $(patsubst %.c,%.o,$(wildcard tests/lib/*.c))
define test_variant
$(OUT)/tests-$(1)/%: $(OUT)/host-$(1)/tests/%.o $$(TESTLIB:%=$(OUT)/host-$(1)/%) $$(HOSTOBJ_$(1))
	mkdir -p $$(@D)
	echo '  link     $$@'
	$$(CC) $$(HOST_$(1)) -o $$@ $$^ $$(HOSTLIBS)
$$(filter $(OUT)/tests-$(1)/unit/tool_%,$$(TESTSRC:tests/%.c=$(OUT)/tests-$(1)/%)): \
	$$(patsubst %.c,$(OUT)/host-$(1)/%.o,$$(wildcard tools/pure/*.c))
tests-$(1): $$(TESTSRC:tests/%.c=$(OUT)/tests-$(1)/%)
.PHONY: tests-$(1)
endef
$(foreach v,plain asan tsan,$(eval $(call test_variant,$(v))))
$(OUT)/host-%.o: HOSTCC += $(if $(findstring /tests/,$@),-Itests/lib -Itests/lib/win -Itests,) $(if $(findstring /tests/unit/,$@),-Idriver,)
tests: tests-plain drivers

# ---- the demo, and drivers that must make it fail: the driver's sources with lies told to NDIS ----

.PHONY: demo
demo: all
	scripts/demo

SABOTAGES := corrupt exchange drop lose bypass
define sabotaged_driver
$(OUT)/sabotage/$(1)/%.obj: driver/%.c tests/demo/sabotage.h Makefile VERSION
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_amd64) $$(WINCC) $$(TUN_DEFINES) -include tests/demo/sabotage.h -c $$< -o $$@
$(OUT)/sabotage/$(1)/sabotage.obj: tests/demo/sabotage.c tests/demo/sabotage.h Makefile
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_amd64) $$(WINCC) -DSABOTAGE=SABOTAGE_$(1) -c $$< -o $$@
$(OUT)/sabotage/$(1).sys: $$(patsubst driver/%.c,$(OUT)/sabotage/$(1)/%.obj,$$(wildcard driver/*.c)) \
		$(OUT)/sabotage/$(1)/sabotage.obj $$(IMPORTS_amd64)
	echo '  link     $$@'
	$$(LLD) $$(WINLD) /machine:x64 /pdb:$$(@:.sys=.pdb) /pdbaltpath:$$(notdir $$(@:.sys=.pdb)) /out:$$@ $$^
endef
$(foreach s,$(SABOTAGES),$(eval $(call sabotaged_driver,$(s))))
tests: $(SABOTAGES:%=$(OUT)/sabotage/%.sys)

# ---- wintun.exe with a wintun.dll that only plays one, and with one of version 0.14 ---------------

TESTTOOLS := $(OUT)/tests-tools $(OUT)/tests-tools/old $(OUT)/tests-tools/alone
$(OUT)/tests-tools/wintun.dll: tests/tools/wintun.c include/wintun.h Makefile
	mkdir -p $(@D)
	echo '  link     $@'
	$(MINGW_CC) $(MINGWFLAGS) -shared -o $@ $<
$(OUT)/tests-tools/old/wintun.dll: tests/tools/wintun.c tests/tools/old.def include/wintun.h Makefile
	mkdir -p $(@D)
	echo '  link     $@'
	$(MINGW_CC) $(MINGWFLAGS) -shared -o $@ tests/tools/wintun.c tests/tools/old.def
$(TESTTOOLS:%=%/wintun.exe): $(OUT)/amd64/wintun.exe
	mkdir -p $(@D)
	cp $< $@
tests: $(TESTTOOLS:%=%/wintun.exe) $(OUT)/tests-tools/wintun.dll $(OUT)/tests-tools/old/wintun.dll

# ---- the bench -----------------------------------------------------------------------------------

.PHONY: bench
bench: driver $(OUT)/bench
	$(OUT)/bench
tests: $(OUT)/bench
$(OUT)/bench: $(patsubst %.c,$(OUT)/host-plain/%.o,$(wildcard tests/bench/*.c)) $(HOSTOBJ_plain)
	echo '  link     $@'
	$(CC) -o $@ $^ $(HOSTLIBS)

# ---- Wine: an ndis.sys of nthost/ndis, and programs for both sides of it ---------------------------

# Files of nthost as they are, over tests/wine/ndis/host; of the double's own, those that include
# windows.h cannot include sdk/, and the other way round.
WINESYS  := /usr/x86_64-w64-mingw32
WINECC   := --target=$(TRIPLE_amd64) -std=gnu17 $(WINWARN) -O2 -g -gcodeview -fms-extensions \
	-fno-stack-protector -mno-stack-arg-probe -fno-strict-aliasing -Wno-missing-field-initializers -MMD -MP \
	-isystem $(WINESYS)/include
WINENT   := -Itests/wine/ndis/host -Itests/wine/ndis -Isdk -Inthost -Iinclude -Wno-unused-function
WINEHOST := $(filter-out nthost/ndis/platform.c,$(wildcard nthost/ndis/*.c)) nthost/nt/csq.c \
	nthost/nt/rundown.c nthost/nt/spin.c
WINEKERNEL := $(patsubst %,tests/wine/ndis/%.c,core edge kernel platform requests)
WINEUSER := $(filter-out $(WINEKERNEL),$(wildcard tests/wine/ndis/*.c))
$(WINEHOST:%.c=$(OUT)/wine/%.obj) $(WINEKERNEL:%.c=$(OUT)/wine/%.obj): $(OUT)/wine/%.obj: %.c Makefile
	mkdir -p $(@D)
	echo '  compile  $@'
	$(CLANG) $(WINENT) $(WINECC) -c $< -o $@
$(OUT)/wine/tests/wine/%.obj: tests/wine/%.c Makefile
	mkdir -p $(@D)
	echo '  compile  $@'
	$(CLANG) $(WINECC) -c $< -o $@
$(OUT)/wine/ndis.def: sdk/ndis.def Makefile
	mkdir -p $(@D)
	sed -E -e 's/@[0-9]+$$//' -e 's/^NdisGetVersion$$/&=wine_get_version/' \
		-e 's/^NdisMRegisterMiniportDriver$$/&=wine_register/' $< > $@
$(OUT)/wine/ndis.sys: $(WINEHOST:%.c=$(OUT)/wine/%.obj) $(WINEKERNEL:%.c=$(OUT)/wine/%.obj) \
		$(WINEUSER:%.c=$(OUT)/wine/%.obj) $(OUT)/wine/ndis.def $(OUT)/amd64/ntoskrnl.lib
	echo '  link     $@'
	$(LLD) /nologo /dll /lldmingw /machine:x64 /entry:DllMain /nodefaultlib /debug /pdb:$(@:.sys=.pdb) \
		/out:$@ /def:$(OUT)/wine/ndis.def $(filter %.obj %.lib,$^) \
		$(patsubst %,$(WINESYS)/lib/lib%.a,kernel32 ntdll advapi32 ws2_32 rpcrt4 ucrtbase)

# Programs of Windows, over msvcrt.dll: the files of this folder, and the examples over the user end of
# nthost/client. client and reply see a real process where they would see a simulated one.
WINELIBS := $(patsubst %,$(WINESYS)/lib/lib%.a,msvcrt kernel32 ntdll advapi32 shell32 setupapi newdev ws2_32)
WINECLIENT := $(patsubst %,$(OUT)/wine/%.obj,nthost/client/ring nthost/client/packets tests/wine/user/process)
$(OUT)/wine/nthost/client/%.obj $(OUT)/wine/examples/%.obj: WINECC += -Itests/wine/user -Inthost -Iinclude \
	-D__USE_MINGW_ANSI_STDIO=0
$(OUT)/wine/tests/wine/%.obj: WINECC += -Inthost -Iinclude -Itests/wine/ndis -D__USE_MINGW_ANSI_STDIO=0
$(OUT)/wine/nthost/client/%.obj: nthost/client/%.c Makefile
	mkdir -p $(@D)
	echo '  compile  $@'
	$(CLANG) $(WINECC) -c $< -o $@
$(OUT)/wine/examples/%.obj: examples/%.c Makefile
	mkdir -p $(@D)
	echo '  compile  $@'
	$(CLANG) $(WINECC) -c $< -o $@
$(OUT)/wine/%.exe: $(OUT)/wine/tests/wine/start.obj
	echo '  link     $@'
	$(LLD) /nologo /lldmingw /machine:x64 /subsystem:console /entry:start /nodefaultlib /out:$@ $^ $(WINELIBS)
$(OUT)/wine/device.exe: $(OUT)/wine/tests/wine/device.obj
$(OUT)/wine/client.exe: $(OUT)/wine/tests/wine/client.obj $(WINECLIENT)
$(OUT)/wine/reply.exe $(OUT)/wine/tunnel.exe: $(OUT)/wine/%.exe: $(OUT)/wine/examples/%.obj $(WINECLIENT)
# The cfgmgr32.dll double with the process that it starts for a device, and programs over wintun.dll.
CFGMGR32 := $(OUT)/wine/tests/wine/cfgmgr32
$(CFGMGR32)/%.obj $(OUT)/wine/tests/wine/dll.obj: WINECC += -D_WIN32_WINNT=0x0A00
$(OUT)/wine/cfgmgr32.dll: $(patsubst %,$(CFGMGR32)/%.obj,cfgmgr32 hook machine network software store) \
		tests/wine/cfgmgr32/cfgmgr32.def
	echo '  link     $@'
	$(LLD) /nologo /dll /lldmingw /machine:x64 /entry:DllMain /nodefaultlib /out:$@ /def:$(lastword $^) \
		$(filter %.obj,$^) $(WINELIBS) $(patsubst %,$(WINESYS)/lib/lib%.a,ole32 iphlpapi)
$(OUT)/wine/swdevice.exe: $(CFGMGR32)/swdevice.obj $(CFGMGR32)/machine.obj $(WINESYS)/lib/libole32.a
$(OUT)/wine/inject.exe: $(CFGMGR32)/inject.obj
$(OUT)/wine/dll.exe: $(OUT)/wine/tests/wine/dll.obj $(WINESYS)/lib/libole32.a

# The Linux end of the edge.
$(OUT)/wine/bridge: $(OUT)/host-plain/tests/wine/bridge.o $(OUT)/host-plain/nthost/edge/netns.o
	mkdir -p $(@D)
	echo '  link     $@'
	$(CC) -o $@ $^

.PHONY: wine
wine: $(OUT)/amd64/wintun.sys $(OUT)/amd64/wintun.inf $(OUT)/wine/ndis.sys $(OUT)/wine/bridge \
	$(patsubst %,$(OUT)/wine/%.exe,client device reply tunnel)
wine: $(OUT)/amd64/wintun.dll $(OUT)/amd64/wintun.exe $(WINEXAMPLES) $(OUT)/wine/cfgmgr32.dll $(patsubst %,$(OUT)/wine/%.exe,dll inject swdevice wgpeer)
tests: wine

# ---- tests under Wine: WireGuard in Go as a client of wintun.dll -----------------------------------

# Debian has WireGuard's Go code, but not the Windows half of golang.org/x/sys: the Go tool chain
# carries that for itself. Nothing is fetched; the trees are searched in this order.
GODEPS := $(OUT)/wine/gopath
GOENV  := GO111MODULE=off GOFLAGS= GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0 GOOS=windows GOARCH=amd64 \
	GOCACHE='$(CURDIR)/$(OUT)/wine/gocache' GOPATH='$(CURDIR)/tests/wine/go:$(CURDIR)/$(GODEPS):/usr/share/gocode'
$(GODEPS)/ready: Makefile
	rm -rf $(GODEPS)
	mkdir -p $(GODEPS)/src/golang.org/x/sys
	cd "$$(go env GOROOT)/src/cmd/vendor/golang.org/x/sys" && \
		cp -r internal windows '$(CURDIR)/$(GODEPS)/src/golang.org/x/sys/'
	touch $@
$(OUT)/wine/wgpeer.exe: $(shell find tests/wine/go -name '*.go') $(GODEPS)/ready
	mkdir -p $(@D)
	echo '  go       $@'
	$(GOENV) go vet wgpeer golang.zx2c4.com/wintun
	$(GOENV) go build -p 2 -trimpath -ldflags='-s -w -buildid=' -o $@ wgpeer

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
