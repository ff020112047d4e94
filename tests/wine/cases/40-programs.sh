# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# The programs of the tree over wintun.dll, as users get them: wintun.exe, and the examples. They are
# in a folder of their own with the DLL beside them.

api='C:\api'
tool="$api\\wintun.exe"
tool_guid='{11111111-2222-3333-4444-55555555550a}'
mkdir -p "$prefix/drive_c/api"
cp out/amd64/wintun.exe out/amd64/minimal.exe out/amd64/reply.exe out/amd64/tunnel.exe "$prefix/drive_c/api"
cp "$library" "$prefix/drive_c/api/wintun.dll"

# wait_for counts 20 looks as a second; one of these takes a third of it.
# told_of NAME KEY: what wintun.exe lists of an adapter; in $told
told_of() {
    wine_run 30 "$inject" "$tool" list --json && cp "$log" "$work/list" &&
        told=$(tests/wine/told adapter "$1" "$2" "$work/list" 2>>"$log")
}

told_is() { # NAME KEY VALUE
    told_of "$1" "$2" && [ "$told" = "$3" ]
}

none_listed() {
    wine_run 30 "$inject" "$tool" list --json && [ "$(tests/wine/told count "$log")" = 0 ]
}

# ---- wintun.exe ----

none_listed
result $? list_is_empty_at_first
start tool "$inject" "$tool" create Tool --type Test --guid "$tool_guid" --address 10.11.0.1/24 --mtu 1400 --verbose
wait_for 2 told_is Tool state ready && told_is Tool description 'Test Tunnel' && told_is Tool alias Tool &&
    told_is Tool guid "$tool_guid" && told_is Tool persistent False && told_is Tool session none &&
    told_is Tool link down && told_is Tool creator.process wintun.exe
result $? adapter_of_create_is_listed_by_another_process
wine_run 30 "$inject" "$tool" show Tool --json && grep -q '"name": "Tool"' "$log" &&
    grep -qi "\"guid\": \"$tool_guid\"" "$log"
result $? show_tells_of_the_adapter
! wine_run 30 "$inject" "$tool" show Nobody --json
grep -q '"code": 1168' "$log"
result $? show_of_no_adapter_is_an_error

bridge_start "$tool_guid,tun0,10.11.0.1/24"
result $? adapter_of_create_reaches_linux
start capture "$inject" "$tool" capture Tool 'C:\api\pings.pcapng' --answer --count 100
wait_for 20 link_is 0 up && told_is Tool session rings && told_is Tool owner.process wintun.exe
result $? capture_has_the_session
pings 0 10.11.0.2 50 1372
result $? capture_answers_every_ping
exited capture 20 && [ "$status" -eq 0 ]
result $? capture_ends_after_its_count
tests/wine/told pings "$prefix/drive_c/api/pings.pcapng" >"$log" 2>&1
[ $? -eq 0 ] && grep -qE '^[0-9]+ requests, (4[5-9]|50) answered$' "$log"
result $? capture_file_has_the_pings_and_their_answers
wine_run 30 "$inject" "$tool" stats Tool --json --count 1 && grep -q '"sentPackets": [0-9]' "$log"
result $? stats_tell_what_the_driver_has_counted
! wine_run 30 "$inject" "$tool" delete Tool
result $? delete_refuses_an_adapter_that_a_program_owns
end tool
wait_for 1 told_is Tool state stale
result $? adapter_of_a_killed_program_is_listed_as_stale
wine_run 60 "$inject" "$tool" repair --devices --json && grep -q '"removed": 1' "$log" && none_listed
result $? repair_removes_what_a_killed_program_has_left
bridge_end

wine_run 60 "$inject" "$tool" create Stays --persistent --address 10.11.0.1/24 && told_is Stays state ready &&
    told_is Stays persistent True
result $? persistent_adapter_outlives_its_creator
wine_run 60 "$inject" "$tool" delete Stays && none_listed
result $? delete_removes_a_persistent_adapter
wine_run 60 "$inject" "$tool" repair --json && grep -q '"removed": 0' "$log"
result $? repair_finds_nothing_left

# ---- examples ----

# answers NAME INTERFACE-ADDRESS PEER: the program NAME, which was started, answers pings
answers() {
    wait_for 2 told_is "$1" session rings && told_of "$1" guid && bridge_start "$told,tun0,$2/24" &&
        wait_for 10 link_is 0 up && pings 0 "$3" 100
}
start minimal "$inject" "$api\\minimal.exe"
answers Minimal 10.6.7.7 10.6.7.8
result $? minimal_answers_every_ping
end minimal
wait_for 10 grep -q '^disconnected 0$' "$work/bridge"
result $? adapter_of_minimal_goes_with_it
bridge_end
start reply "$inject" "$api\\reply.exe" Reply ring
answers Reply 10.12.0.1 10.12.0.2
result $? reply_on_the_dll_answers_every_ping
end reply
bridge_end

start left "$inject" "$api\\tunnel.exe" Left ring $((port + 5)) $((port + 6))
start right "$inject" "$api\\tunnel.exe" Right ring $((port + 6)) $((port + 5))
wait_for 2 told_is Left session rings && wait_for 2 told_is Right session rings && told_of Left guid &&
    left_guid=$told && told_of Right guid &&
    bridge_start "$left_guid,tun0,10.13.0.1/24" "$told,tun0,10.13.0.2/24" && pings 0 10.13.0.2 100
result $? ping_through_two_tunnels_on_the_dll_loses_nothing
transfer_is_whole 0 1 10.13.0.2
result $? tcp_through_two_tunnels_on_the_dll_is_the_same_by_hash
end left
end right
wait_for 10 grep -q '^disconnected 0$' "$work/bridge" && wait_for 10 grep -q '^disconnected 1$' "$work/bridge" &&
    wine_run 60 "$inject" "$tool" repair --devices --json && grep -q '"removed": 4' "$log" && none_listed
result $? adapters_of_the_examples_go_with_them
bridge_end
