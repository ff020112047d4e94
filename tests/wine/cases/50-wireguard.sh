# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# WireGuard's Go implementation as a client of wintun.dll (tests/wine/go): two peers, each with an
# adapter, and behind each adapter a network namespace. What goes from one namespace to the other is
# IP over our driver, WireGuard's UDP over loopback, and IP over our driver again.

wg_left='{11111111-2222-3333-4444-555555555508}'
wg_right='{11111111-2222-3333-4444-555555555509}'

wine_run 30 'C:\test\wgpeer.exe' keys && cp "$log" "$work/keys" && wine_run 30 'C:\test\wgpeer.exe' keys &&
    cat "$log" >>"$work/keys" && [ "$(grep -cE '^[0-9a-f]{64} [0-9a-f]{64}$' "$work/keys")" -eq 2 ]
result $? wireguard_makes_keys
# shellcheck disable=SC2046
set -- $(cat "$work/keys")
WGPEER_GUID=$wg_left start_held wgleft "$inject" 'C:\test\wgpeer.exe' WgLeft "$1" $((port + 3)) "$4" $((port + 4)) \
    10.10.0.2/32,fd10::2/128
WGPEER_GUID=$wg_right start_held wgright "$inject" 'C:\test\wgpeer.exe' WgRight "$3" $((port + 4)) "$2" $((port + 3)) \
    10.10.0.1/32,fd10::1/128
wait_for 40 says wgleft '^ready' && wait_for 40 says wgright '^ready' &&
    bridge_start "$wg_left,tun0,10.10.0.1/24,fd10::1/64" "$wg_right,tun0,10.10.0.2/24,fd10::2/64" &&
    wait_for 10 link_is 0 up && wait_for 10 link_is 1 up
status=$?
cat "$work/wgleft.log" "$work/wgright.log" >"$log"
result $status two_peers_of_wireguard_are_up

in_net 0 ping -q -c 1 -W 10 10.10.0.2 >"$log" && wait_for 10 says wgleft '^handshake$' && wait_for 10 says wgright '^handshake$'
result $? peers_shake_hands
pings 0 10.10.0.2 100
result $? ping_through_wireguard_loses_nothing
pings 1 fd10::1 100 1300
result $? ping6_back_through_wireguard_loses_nothing
transfer_is_whole 0 1 10.10.0.2
result $? tcp_through_wireguard_is_the_same_by_hash
transfer_is_whole 1 0 10.10.0.1
result $? tcp_back_through_wireguard_is_the_same_by_hash

let_go wgleft
let_go wgright
exited wgleft 20 && [ "$status" -eq 0 ] && exited wgright 20 && [ "$status" -eq 0 ] &&
    says wgleft '^received [0-9]\{8,\} sent [0-9]\{8,\}$' && wait_for 10 grep -q '^disconnected 1$' "$work/bridge"
status=$?
cat "$work/wgleft.log" "$work/wgright.log" >"$log"
result $status peers_end_and_their_adapters_with_them
bridge_end
