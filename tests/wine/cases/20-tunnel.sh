# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# Two adapters joined by two of the simplest tunnels (examples/tunnel.c), one over rings, one over
# bundles: TCP of Linux from one namespace to the other goes through the driver four times.

left_name='{11111111-2222-3333-4444-555555555504}'
right_name='{11111111-2222-3333-4444-555555555505}'

adapter_add "$left_name" && adapter_add "$right_name" &&
    bridge_start "$left_name,tun0,10.9.0.1/24" "$right_name,tun0,10.9.0.2/24"
result $? two_adapters_for_a_tunnel
start left 'C:\test\tunnel.exe' "$left_name" ring $((port + 1)) $((port + 2))
start right 'C:\test\tunnel.exe' "$right_name" file $((port + 2)) $((port + 1))
reachable 0 && reachable 1 &&
    pings 0 10.9.0.2 100
result $? ping_through_the_tunnel_loses_nothing

transfer_is_whole 0 1 10.9.0.2
result $? tcp_from_rings_to_bundles_is_the_same_by_hash
transfer_is_whole 1 0 10.9.0.1
result $? tcp_from_bundles_to_rings_is_the_same_by_hash

end left
end right
wait_for 10 link_is 0 down && wait_for 10 link_is 1 down
result $? death_of_both_ends_is_seen
adapter_remove "$left_name" && adapter_remove "$right_name"
result $? adapters_of_the_tunnel_are_removed
bridge_end

# Stopping the service unloads the driver (MiniportDriverUnload), once no device needs it; the next
# device loads it again.
loads=$(grep -c '^ndis: driver registered' "$ndis_log")
wine_run 60 net stop wintun && wait_for 10 grep -q '^ndis: driver deregistered' "$ndis_log"
result $? driver_unloads_when_its_service_is_stopped
adapter_add "$right_name" && query "$right_name" &&
    [ "$(grep -c '^ndis: driver registered' "$ndis_log")" -eq $((loads + 1)) ]
result $? driver_loads_again
adapter_remove "$right_name"
result $? adapter_of_the_second_load_is_removed
