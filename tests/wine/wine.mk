# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# What tests/wine/run uses: the doubles of ndis.sys and cfgmgr32.dll, programs for Windows, the bridge
# to network namespaces, and WireGuard in Go. Included by the Makefile, whose variables it uses.

WINERULES := Makefile tests/wine/wine.mk

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
WINEKERNEL := $(patsubst %,tests/wine/ndis/%.c,core edge kernel lookaside platform requests)
WINEUSER := $(filter-out $(WINEKERNEL),$(wildcard tests/wine/ndis/*.c))
$(WINEHOST:%.c=$(OUT)/wine/%.obj) $(WINEKERNEL:%.c=$(OUT)/wine/%.obj): $(OUT)/wine/%.obj: %.c $(WINERULES)
	mkdir -p $(@D)
	echo '  compile  $@'
	$(CLANG) $(WINENT) $(WINECC) -c $< -o $@
$(OUT)/wine/tests/wine/%.obj: tests/wine/%.c $(WINERULES)
	mkdir -p $(@D)
	echo '  compile  $@'
	$(CLANG) $(WINECC) -c $< -o $@
$(OUT)/wine/ndis.def: sdk/ndis.def $(WINERULES)
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
$(OUT)/wine/nthost/client/%.obj: nthost/client/%.c $(WINERULES)
	mkdir -p $(@D)
	echo '  compile  $@'
	$(CLANG) $(WINECC) -c $< -o $@
$(OUT)/wine/examples/%.obj: examples/%.c $(WINERULES)
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

# Loaded into every process of Wine.
$(OUT)/wine/exit.so: tests/wine/exit.c $(WINERULES)
	mkdir -p $(@D)
	echo '  link     $@'
	$(CC) $(HOSTCC) $(HOST_plain) -fPIC -shared -o $@ $<

# The Linux end of the edge.
$(OUT)/wine/bridge: $(OUT)/host-plain/tests/wine/bridge.o $(OUT)/host-plain/nthost/edge/netns.o
	mkdir -p $(@D)
	echo '  link     $@'
	$(CC) -o $@ $^

.PHONY: wine
wine: $(OUT)/amd64/wintun.sys $(OUT)/amd64/wintun.inf $(OUT)/wine/ndis.sys $(OUT)/wine/bridge $(OUT)/wine/exit.so \
	$(patsubst %,$(OUT)/wine/%.exe,client device reply tunnel)
wine: $(OUT)/amd64/wintun.dll $(OUT)/amd64/wintun.exe $(WINEXAMPLES) $(OUT)/wine/cfgmgr32.dll $(patsubst %,$(OUT)/wine/%.exe,dll inject swdevice wgpeer)
tests: wine

# ---- tests under Wine: WireGuard in Go as a client of wintun.dll -----------------------------------

# Debian has WireGuard's Go code, but not the Windows half of golang.org/x/sys: the Go tool chain
# carries that for itself. Nothing is fetched; the trees are searched in this order.
GODEPS := $(OUT)/wine/gopath
GOENV  := GO111MODULE=off GOFLAGS= GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0 GOOS=windows GOARCH=amd64 \
	GOCACHE='$(CURDIR)/$(OUT)/wine/gocache' GOPATH='$(CURDIR)/tests/wine/go:$(CURDIR)/$(GODEPS):/usr/share/gocode'
$(GODEPS)/ready: $(WINERULES)
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
