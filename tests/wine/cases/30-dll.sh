# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# wintun.dll, as it is shipped, from a program that uses it as its header says (tests/wine/dll.c):
# adapters of its own, another process's, and of one that was killed; traffic of Linux.

dll_guid='{11111111-2222-3333-4444-555555555506}'
other_guid='{11111111-2222-3333-4444-555555555507}'

wine_run 60 "$inject" 'C:\test\dll.exe' check Check "$dll_guid"
[ $? -eq 0 ] && grep -q '^ok, driver ' "$log"
result $? dll_keeps_the_promises_that_need_no_traffic

sha256sum <out/amd64/wintun.sys >"$work/built"
sha256sum <"$prefix/drive_c/windows/system32/drivers/wintun.sys" >"$log"
sha256sum <out/amd64/wintun.dll >>"$work/built"
sha256sum <"$prefix/drive_c/test/wintun.dll" >>"$log"
cmp "$work/built" "$log" 2>>"$log"
result $? dll_and_the_driver_in_it_are_the_built_ones_byte_for_byte

start_held serve "$inject" 'C:\test\dll.exe' serve Serve "$dll_guid"
wait_for 30 says serve '^ready$' && bridge_start "$dll_guid,tun0,10.7.0.1/24" && wait_for 10 link_is 0 up
status=$?
cp "$work/serve.log" "$log"
result $status adapter_has_the_interface_guid_that_was_wished_for
pings 0 10.7.0.2 200
result $? ping_to_a_program_on_the_dll_loses_nothing
pings 0 10.7.0.2 500 1372 0.002
result $? ping_of_full_packets_loses_nothing
wine_run 30 "$inject" 'C:\test\dll.exe' open SERVE
grep -q '^open 0 session 1247$' "$log"
result $? session_of_another_process_is_busy
let_go serve
exited serve 20 && [ "$status" -eq 0 ] && says serve '^answered 7[0-9][0-9], driver 7[0-9][0-9] to us and 7[0-9][0-9] from us$'
status=$?
cp "$work/serve.log" "$log"
result $status program_and_driver_have_counted_every_ping
wait_for 10 grep -q '^disconnected 0$' "$work/bridge"
result $? adapter_goes_with_its_handle

# WintunCreateAdapter: it lives as long as its handle, and goes when the process does.
start_held killed "$inject" 'C:\test\dll.exe' serve Killed "$other_guid"
wait_for 30 says killed '^ready$'
end killed
let_go killed
gone() {
    wine_run 30 "$inject" 'C:\test\dll.exe' open Killed
    grep -q '^open 1168$' "$log"
}
wait_for 15 gone
result $? adapter_goes_when_its_creator_is_killed
wine_run 60 "$inject" 'C:\test\dll.exe' check Killed "$other_guid"
[ $? -eq 0 ] && grep -q '^ok, driver ' "$log"
result $? name_and_guid_of_a_killed_program_can_be_used_again

# checked NAME: that program, of those started, has ended well
checked() {
    exited "$1" 40 && [ "$status" -eq 0 ] && says "$1" '^ok, driver '
}
start first "$inject" 'C:\test\dll.exe' check First "$dll_guid"
start second "$inject" 'C:\test\dll.exe' check Second "$other_guid"
checked first && checked second
status=$?
cat "$work/first.log" "$work/second.log" >"$log"
result $status two_processes_create_adapters_at_once

# Whatever a program was doing to its device when it died.
for moment in 0.1 0.2 0.3 0.4 0.6 0.8; do
    start_held early "$inject" 'C:\test\dll.exe' serve Early "$dll_guid"
    sleep $moment
    end early
    let_go early
done
wine_run 60 "$inject" 'C:\test\dll.exe' check Early "$dll_guid"
[ $? -eq 0 ] && grep -q '^ok, driver ' "$log"
result $? creator_killed_at_any_step_keeps_nobody_out
bridge_end
