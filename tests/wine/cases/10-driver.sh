# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# The driver without wintun.dll: adapters of SetupAPI, programs that use rings or bundles themselves
# (examples/reply.c), traffic of Linux, the death of a program, removal.

ring_name='{11111111-2222-3333-4444-555555555501}'
file_name='{11111111-2222-3333-4444-555555555502}'
closed_name='{11111111-2222-3333-4444-555555555503}'

adapter_add "$ring_name" && adapter_add "$file_name" && [ "$(grep -c 'start 0x00000000' "$ndis_log")" -eq 2 ]
result $? adapters_are_added_through_setupapi

sha256sum <out/amd64/wintun.sys >"$work/built"
sha256sum <"$prefix/drive_c/windows/system32/drivers/wintun.sys" >"$log"
cmp "$work/built" "$log" 2>>"$log"
result $? driver_is_the_built_image_byte_for_byte

query "$ring_name" && [ "$(value state)" = 1 ] && [ "$(value session)" = 0 ]
result $? query_of_a_fresh_adapter_says_running_without_session

! wine_run 30 'C:\test\client.exe' control "$ring_name" 0xCA6C6608
grep -q '^status 0xc0000010$' "$log"
result $? unknown_control_code_is_an_invalid_request

wine_run 30 'C:\test\client.exe' register "\\\\.\\Wintun\\$ring_name"
[ "$(value session)" = 1 ] && [ "$(value link)" = 1 ] && grep -q '^after close: session 0$' "$log"
result $? register_by_name_makes_a_session_until_close

wine_run 30 'C:\test\device.exe' path "$ring_name" && wine_run 30 'C:\test\client.exe' register "$(cat "$log")"
[ "$(value session)" = 1 ] && [ "$(value link)" = 1 ] && grep -q '^after close: session 0$' "$log"
result $? register_on_the_interface_of_ndis_makes_a_session_until_close

# wintun-abi.h: a buffer must hold any packet; reads pend, can be cancelled, and end with the file.
wine_run 30 'C:\test\client.exe' read "$file_name"
grep -q '^short read 0xc000000d$' "$log" && grep -q '^read 0x00000103$' "$log" && [ "$(value session)" = 2 ]
result $? read_of_bundles_makes_a_session
grep -q '^cancelled 0xc0000120$' "$log"
result $? cancelled_read_says_so
grep -q '^after close: session 0$' "$log"
result $? close_of_the_file_ends_its_session

bridge_start "$ring_name,tun0,10.7.0.1/24,fd07::1/64" "$file_name,tun0,10.8.0.1/24,fd08::1/64"
result $? both_adapters_reach_linux
link_is 0 down && link_is 1 down
result $? link_without_session_is_down

start rings 'C:\test\reply.exe' "$ring_name" ring
start files 'C:\test\reply.exe' "$file_name" file
reachable 0 && reachable 1
result $? link_with_session_is_up

# tests/wine/run says why.
if setarch -R true 2>/dev/null; then
    grep -E '^7ffe0000-|\[heap\]$' "/proc/$pid_rings/maps" >"$log"
    heap_end=$(sed -nE 's/^[0-9a-f]+-([0-9a-f]+) .*\[heap\]$/\1/p' "$log")
    [ -n "$heap_end" ] && [ $((0x$heap_end)) -le $((0x7ffe0000)) ] && grep -q '^7ffe0000-' "$log"
    result $? heap_keeps_clear_of_shared_user_data
else
    skip heap_keeps_clear_of_shared_user_data "addresses must be random here"
fi

carries() { # N NAME IPV4 IPV6
    pings "$1" "$3" 200
    result $? "ping_over_$2_loses_nothing"
    pings "$1" "$4" 50 1372 0.02
    result $? "ping6_over_$2_loses_nothing"
    in_net "$1" tests/demo/echo "$3" "$4" >"$log" 2>&1
    result $? "datagrams_over_$2_come_back_byte_for_byte"
}
carries 0 rings 10.7.0.2 fd07::2
carries 1 files 10.8.0.2 fd08::2

pings 0 10.7.0.2 300 56 0.005 &
other=$!
pings 1 10.8.0.2 300 56 0.005
both=$?
wait $other && [ $both -eq 0 ]
result $? both_adapters_carry_at_once

wine_run 30 'C:\test\client.exe' register "\\\\.\\Wintun\\$ring_name"
grep -q '^status 0xc0000510$' "$log"
result $? second_registration_is_refused_as_in_use

# Every packet that Linux sent was carried or dropped for a counted reason; each that the driver
# counts as indicated has arrived.
accounts() { # N NAME
    # shellcheck disable=SC2046
    set -- $(bridge_counters "$1") "$2"
    query "$5" || return 1
    lost=$(($(value to_user_no_session) + $(value to_user_full) + $(value to_user_paused)))
    echo "bridge: sent $1 received $3 ($4 bytes)" >>"$log"
    [ "$1" -eq $(($(value to_user_packets) + lost)) ] && [ "$lost" -eq 0 ] &&
        [ "$2" -eq "$(value to_user_bytes)" ] && [ "$3" -eq "$(value to_stack_packets)" ] &&
        [ "$4" -eq "$(value to_stack_bytes)" ] && [ "$3" -gt 500 ]
}
accounts 0 "$ring_name"
result $? counters_of_rings_account_for_every_packet
accounts 1 "$file_name"
result $? counters_of_files_account_for_every_packet

end rings
wait_for 10 link_is 0 down && query "$ring_name" && [ "$(value session)" = 0 ]
result $? death_of_the_program_ends_its_session
start rings 'C:\test\reply.exe' "$ring_name" ring
reachable 0 && pings 0 10.7.0.2 100
result $? next_program_takes_over
end files
wait_for 10 link_is 1 down && query "$file_name" && [ "$(value session)" = 0 ]
result $? death_of_the_program_ends_its_file_session

# SetupAPI's removal is a surprise removal here, as closing a software device is.
adapter_remove "$ring_name" && wait_for 10 grep -q '^disconnected 0$' "$work/bridge"
result $? removal_under_a_running_program_is_over_soon
exited rings 20 && [ "$status" -eq 1 ]
result $? program_sees_the_end_of_its_session
! query "$ring_name"
result $? removed_adapter_cannot_be_opened

adapter_add "$ring_name" && wait_for 10 sh -c "[ \$(grep -c '^connected 0\$' '$work/bridge') -eq 2 ]"
result $? adapter_of_the_same_name_comes_back
start rings 'C:\test\reply.exe' "$ring_name" ring
reachable 0 && pings 0 10.7.0.2 50
result $? adapter_that_came_back_carries
end rings

# Wine answers an open before the driver does: the refusal shows at the first request.
adapter_add "$closed_name" 'O:SYD:P(A;;FA;;;SY)' && ! query "$closed_name" &&
    grep -q '^status 0xc0000010$' "$log" && grep -q 'an open was refused: 0xc0000022' "$ndis_log"
result $? descriptor_of_an_adapter_keeps_others_out

adapter_remove "$closed_name" && adapter_remove "$ring_name" && adapter_remove "$file_name"
result $? adapters_are_removed
bridge_end
