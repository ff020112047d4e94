# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# What tests are made of, beside the products: test drivers and modules, instrumented and sabotaged
# builds of the driver and of the DLL, test programs. Included by the Makefile, whose variables it
# uses; "tests" is all of it, but for what carries checks of memory (tests-asan) or races (tests-tsan).

TESTRULES := Makefile tests/tests.mk

# ---- programs that tests start as children of the host, and the bench ------------------------------

CHILDREN := $(patsubst tests/host/children/%.c,$(OUT)/children/%,$(wildcard tests/host/children/*.c))
$(CHILDREN): $(OUT)/children/%: $(OUT)/host-plain/tests/host/children/%.o $(CHILDSRC:%.c=$(OUT)/host-plain/%.o)
	mkdir -p $(@D)
	echo '  link     $@'
	$(CC) -o $@ $^ -pthread
tests: $(CHILDREN) $(OUT)/bench

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
$(OUT)/drivers/$(1)/%.obj: tests/host/drivers/%.c $(TESTRULES)
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
$(OUT)/sanitize/runtime.obj: nthost/pe/runtime/runtime.c $(TESTRULES)
	mkdir -p $(@D)
	echo '  compile  $@'
	$(CLANG) --target=$(TRIPLE_amd64) $(WINCC) -c $< -o $@
SANRUNTIME := $(OUT)/sanitize/runtime.obj $(OUT)/sanitize/sanitizer.lib

# driver and DLL as out/amd64-asan/wintun.sys and .dll, any test driver as out/drivers/asan/<name>.sys, and so on
define sanitized_driver
$(OUT)/amd64-$(1)/driver/%.obj: driver/%.c $(TESTRULES) VERSION
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_amd64) $$(WINCC) $$(SAN_$(1)) $$(TUN_DEFINES) -c $$< -o $$@
$(OUT)/amd64-$(1)/wintun.sys: $$(patsubst %.c,$(OUT)/amd64-$(1)/%.obj,$$(wildcard driver/*.c)) \
		$(OUT)/amd64/driver/wintun.res $$(SANRUNTIME) $$(IMPORTS_amd64)
	echo '  link     $$@'
	$$(LLD) $$(WINLD) /machine:x64 /pdb:$$(@:.sys=.pdb) /pdbaltpath:wintun.pdb /out:$$@ $$^
$(OUT)/amd64-$(1)/api/%.obj: api/%.c $(TESTRULES) VERSION
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_amd64) $$(filter-out -Wframe-larger-than=%,$$(APICC)) $$(SAN_$(1)) \
		$$(API_DEFINES) -c $$< -o $$@
$(OUT)/amd64-$(1)/wintun.dll: $$(patsubst %.c,$(OUT)/amd64-$(1)/%.obj,$$(wildcard api/*.c)) \
		$(OUT)/amd64/api/wintun.res $$(SANRUNTIME) $(OUT)/amd64/kernel32.lib api/wintun.def
	echo '  link     $$@'
	$$(LLD) $$(APILD) /machine:x64 /pdb:$$(@D)/wintun-api.pdb /implib:$$(@:.dll=.lib) /out:$$@ \
		$$(filter-out %.def,$$^)
$(OUT)/drivers/$(1)/%.obj: tests/host/drivers/%.c $(TESTRULES)
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
$(OUT)/modules/%.res: tests/host/modules/%.rc $(TESTRULES)
	mkdir -p $(@D)
	echo '  resource $@'
	$(RC) /nologo /fo $@ $<
# plain as out/modules/<name>.dll; instrumented as out/modules/asan/<name>.dll, and so on
define test_module
$(OUT)/modules$(1)/%.obj: tests/host/modules/%.c $(TESTRULES)
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

# ---- drivers that must make the demo fail: the driver's sources with lies told to NDIS ------------

SABOTAGES := corrupt exchange drop lose bypass
define sabotaged_driver
$(OUT)/sabotage/$(1)/%.obj: driver/%.c tests/demo/sabotage.h $(TESTRULES) VERSION
	mkdir -p $$(@D)
	echo '  compile  $$@'
	$$(CLANG) --target=$$(TRIPLE_amd64) $$(WINCC) $$(TUN_DEFINES) -include tests/demo/sabotage.h -c $$< -o $$@
$(OUT)/sabotage/$(1)/sabotage.obj: tests/demo/sabotage.c tests/demo/sabotage.h $(TESTRULES)
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
$(OUT)/tests-tools/wintun.dll: tests/tools/wintun.c include/wintun.h $(TESTRULES)
	mkdir -p $(@D)
	echo '  link     $@'
	$(MINGW_CC) $(MINGWFLAGS) -shared -o $@ $<
$(OUT)/tests-tools/old/wintun.dll: tests/tools/wintun.c tests/tools/old.def include/wintun.h $(TESTRULES)
	mkdir -p $(@D)
	echo '  link     $@'
	$(MINGW_CC) $(MINGWFLAGS) -shared -o $@ tests/tools/wintun.c tests/tools/old.def
$(TESTTOOLS:%=%/wintun.exe): $(OUT)/amd64/wintun.exe
	mkdir -p $(@D)
	cp $< $@
tests: $(TESTTOOLS:%=%/wintun.exe) $(OUT)/tests-tools/wintun.dll $(OUT)/tests-tools/old/wintun.dll
