# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# What the cases under tests/wine/cases share: a Wine prefix of their own with the driver and its
# ndis.sys double in it, programs in that prefix, and Linux network namespaces behind the adapters.
# Sourced by tests/wine/run, in the root of the tree.
#
# A case is a file cases/NN-NAME.sh, sourced in the order of names after the prefix has been made.
# It is plain sh and uses what is below; each of its tests ends in one of
#     result STATUS NAME        ok when STATUS is 0, else FAIL, with what $log holds, and with what the
#                               programs have come to and printed that run or have ended since the last one
#     skip NAME REASON
# It removes the adapters it adds and ends the programs it starts (adapter_remove, end), and leaves
# a bridge to bridge_end. Programs are put in place by wine_install FILE..., which copies them to
# C:\test. A program is run by
#     wine_run SECONDS PROGRAM [ARGUMENT...]      its output is in $log, its exit code is answered
#     start NAME PROGRAM [ARGUMENT...]            in the background; output in $work/NAME.log
#     start_held NAME PROGRAM [ARGUMENT...]       the same; its input ends with let_go NAME
# and one that uses wintun.dll as $inject PROGRAM [ARGUMENT...] in either, which loads the double of
# cfgmgr32.dll first (tests/wine/cfgmgr32),
# and adapters are talked to by bridge_start 'GUID,INTERFACE,ADDRESS/LENGTH...' ... and
#     in_net N PROGRAM [ARGUMENT...]              N counts the adapters of bridge_start from 0
#     pings N ADDRESS COUNT [BYTES [INTERVAL]]
# Every wait has a limit. Nothing may be sent to a display or be waited for by hand.

work=$PWD/out/wine/run
prefix=$PWD/out/wine/prefix
log=$work/log
ndis_log=$prefix/drive_c/ndis.log
driver=${DRIVER:-out/amd64/wintun.sys} # another must make tests fail
library="${LIBRARY:-out/amd64/wintun.dll}" # as above
driver_inf='C:\test\wintun.inf'
inject='C:\test\inject.exe'
# Of the package wine64 alone, whose programs are in no PATH.
wine=/usr/lib/wine/wine64
export WINEPREFIX="$prefix" WINELOADER=$wine WINESERVER=/usr/lib/wine/wineserver64 \
    WINEDLLOVERRIDES='mscoree,mshtml,winemenubuilder.exe='
export WINEDEBUG=-all,err+virtual,err+module,err+process,err+seh # why a process does not start, or dies
export LD_PRELOAD="$PWD/out/wine/exit.so" # exit.c says why
export TMPDIR="$work" # Debian's wineserver has a folder there, which it leaves behind
unset DISPLAY WAYLAND_DISPLAY
port=$((20000 + $$ % 20000))
passed=0 failed=0 skipped=0
bridge_pid='' started='' ended='' held='' # ended: since the last result

result() { # STATUS NAME
    if [ "$1" -eq 0 ]; then
        echo "ok   $2"
        passed=$((passed + 1))
    else
        echo "FAIL $2"
        failed=$((failed + 1))
        sed 's/^/    /' "$log"
        # shellcheck disable=SC2086
        for name in $(printf '%s\n' $started $ended | sort -u); do
            tell_of "$name"
        done
    fi
    ended=''
}

skip() { # NAME REASON
    echo "skip $1: $2"
    skipped=$((skipped + 1))
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
    tries=$(($1 * 20))
    shift
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

# ---- Wine ----------------------------------------------------------------------------------------

# Output goes to a file: services that a program starts would keep a pipe open.
wine_run() {
    limit=$1
    shift
    timeout -k 5 "$limit" "$wine" "$@" </dev/null >"$log" 2>&1
    set -- $?
    sed -i 's/\r$//' "$log"
    return "$1"
}

start() {
    started_name=$1
    shift
    "$wine" "$@" </dev/null >"$work/$started_name.log" 2>&1 &
    eval "pid_$started_name=\$! code_$started_name=''"
    started="$started $started_name"
}

start_held() {
    held_name=$1
    rm -f "$work/$held_name.in"
    mkfifo "$work/$held_name.in"
    sleep 300 >"$work/$held_name.in" &
    eval "hold_$held_name=\$!"
    held="$held $held_name"
    shift
    "$wine" "$@" <"$work/$held_name.in" >"$work/$held_name.log" 2>&1 &
    eval "pid_$held_name=\$! code_$held_name=''"
    started="$started $held_name"
}

let_go() { # NAME
    eval "kill \$hold_$1 && wait \$hold_$1" 2>/dev/null
    held=$(echo "$held " | sed "s/ $1 / /")
}

# says NAME PATTERN: has a program that was started printed such a line?
says() {
    tr -d '\r' <"$work/$1.log" | grep -q "$2"
}

# has_ended NAME: has it? Then its exit code is in $code, for which the shell can be asked but once.
has_ended() {
    eval "code=\$code_$1 pid=\$pid_$1"
    [ -z "$code" ] || return 0
    ! kill -0 "$pid" 2>/dev/null || return 1
    wait "$pid" 2>/dev/null
    code=$?
    eval "code_$1=$code"
}

forget() { # NAME
    started=$(echo "$started " | sed "s/ $1 / /")
    ended="$ended $1"
}

# tell_of NAME: what a program that was started has come to, and the end of what it has printed
tell_of() {
    if has_ended "$1"; then
        echo "    $1 has ended with exit code $code, lines printed: $(wc -l <"$work/$1.log")"
    else
        echo "    $1 is running, lines printed: $(wc -l <"$work/$1.log")"
    fi
    tr -d '\r' <"$work/$1.log" | tail -n 20 | sed "s/^/    $1: /"
}

# What TerminateProcess is to the program: no handler of its own runs.
end() { # NAME
    if ! has_ended "$1"; then
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
        eval "code_$1=$?"
    fi
    forget "$1"
}

# exited NAME SECONDS: it ends by itself; the exit code is in $status
exited() {
    wait_for "$2" has_ended "$1" || return 1
    status=$code
    forget "$1"
}

wine_install() {
    mkdir -p "$prefix/drive_c/test" && cp "$@" "$prefix/drive_c/test"
}

registry() { # KEY NAME TYPE VALUE
    wine_run 30 reg add "$1" /v "$2" /t "$3" /d "$4" /f
}

wine_begin() {
    rm -rf "$prefix" "$work"
    mkdir -p "$work" "$prefix" || return 1
    : >"$log"
    "$WINESERVER" -p 2>"$work/wineserver" || return 1
    wine_run 90 wineboot -i || return 1
    registry 'HKCU\Software\Wine' Version REG_SZ win10 || return 1
    registry 'HKCU\Software\Wine\DllOverrides' ndis.sys REG_SZ native || return 1
    registry 'HKCU\Software\Wine\DllOverrides' cfgmgr32 REG_SZ native,builtin || return 1
    registry 'HKLM\System\CurrentControlSet\Services\wintun\Parameters' EdgePort REG_DWORD $port ||
        return 1
    # The process that plays the kernel has Wine's own ndis.sys by now; the next one takes ours.
    "$WINESERVER" -k && timeout 20 "$WINESERVER" -w && "$WINESERVER" -p 2>"$work/wineserver" || return 1
    cp out/wine/ndis.sys "$prefix/drive_c/windows/system32/drivers/ndis.sys" &&
        cp out/wine/cfgmgr32.dll out/wine/swdevice.exe "$prefix/drive_c/windows/system32" &&
        wine_install out/amd64/wintun.inf out/wine/*.exe &&
        cp "$driver" "$prefix/drive_c/test/wintun.sys" && cp "$library" "$prefix/drive_c/test/wintun.dll"
}

wine_end() {
    for name in $started; do
        end "$name"
    done
    for name in $held; do
        let_go "$name"
    done
    bridge_end
    [ -d "$prefix" ] || return 0
    "$WINESERVER" -k >/dev/null 2>&1
    timeout 20 "$WINESERVER" -w >/dev/null 2>&1
    rm -rf "$prefix" "$work"/wine-*
}

# ---- adapters, without wintun.dll ----------------------------------------------------------------

adapter_add() { # NAME [SDDL]
    wine_run 60 'C:\test\device.exe' add "$driver_inf" "$@"
}

adapter_remove() { # NAME
    wine_run 60 'C:\test\device.exe' remove "$1"
}

query() { # NAME: a line for each value in $log
    wine_run 30 'C:\test\client.exe' query "$1"
}

value() { # NAME: of what query left in $log
    sed -n "s/^$1 //p" "$log"
}

# ---- Linux -----------------------------------------------------------------------------------------

# Waits until every adapter is connected.
bridge_start() {
    : >"$work/bridge"
    out/wine/bridge serve $port "$work" "$@" >"$work/bridge" 2>&1 &
    bridge_pid=$!
    wait_for 10 grep -q '^listening$' "$work/bridge" || return 1
    for adapter in $(seq 0 $(($# - 1))); do
        wait_for 10 grep -q "^connected $adapter\$" "$work/bridge" || return 1
    done
}

bridge_end() {
    [ -n "$bridge_pid" ] || return 0
    kill "$bridge_pid" 2>/dev/null
    wait "$bridge_pid" 2>/dev/null
    bridge_pid=''
}

in_net() {
    network=$1
    shift
    timeout 60 out/wine/bridge exec "$work" "$network" "$@"
}

# pings N ADDRESS COUNT [BYTES [INTERVAL]]: every reply comes, once and as it was sent
pings() {
    in_net "$1" tests/wine/pings "$2" "$3" "${4:-56}" "${5:-0.01}" >"$work/pings.$1" 2>&1
    ponged=$?
    cp "$work/pings.$1" "$log"
    [ $ponged -eq 0 ] && checksums_hold "$1"
}

# checksums_hold N: Linux has counted no ICMP with a wrong one, which a raw socket would not tell
checksums_hold() {
    in_net "$1" cat /proc/net/snmp /proc/net/snmp6 |
        awk '/^Icmp: [0-9]/ { bad += $4 } $1 == "Icmp6InCsumErrors" { bad += $2 } END { exit bad != 0 }' ||
        { echo "wrong checksums" >>"$log"; return 1; }
}

# transfer_is_whole FROM TO ADDRESS: 16 MiB by TCP to ADDRESS, with the same hash at both ends
transfer_is_whole() {
    in_net "$2" tests/wine/transfer take 5000 >"$work/taken" 2>&1 &
    taker=$!
    wait_for 5 sh -c "out/wine/bridge exec '$work' $2 ss -Hltn 'sport = 5000' | grep -q 5000"
    in_net "$1" tests/wine/transfer give "$3" 5000 16777216 >"$log" 2>&1
    wait $taker && cmp "$work/taken" "$log" && grep -q '^16777216 ' "$log"
    whole=$?
    cat "$work/taken" >>"$log"
    return $whole
}

# link_is N up|down: what was said last
link_is() {
    [ "$(sed -n "s/^link $1 //p" "$work/bridge" | tail -n 1)" = "$2" ]
}

# reachable N: the link of adapter N is up, and Linux has noticed: it looks at a carrier once a second,
# and drops what is sent before; an IPv6 address is tentative up to a second more.
reachable() {
    wait_for 20 link_is "$1" up &&
        wait_for 5 in_net "$1" sh -c 'ip link show up | grep -q "POINTOPOINT.*LOWER_UP.*state U[PN]" &&
            ! ip -6 addr show tentative | grep -q .'
}

# The packets and bytes that the bridge has sent and received, in $1 to $4 of the caller: eval "$(...)"
bridge_counters() { # N
    lines=$(grep -c '^counters' "$work/bridge")
    kill -USR1 "$bridge_pid"
    wait_for 5 sh -c "[ \$(grep -c '^counters' '$work/bridge') -gt $lines ]"
    sed -n "s/^counters $1 //p" "$work/bridge" | tail -n 1
}
