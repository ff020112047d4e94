# SPDX-License-Identifier: MIT
# Copyright (C) 2026 Wintun authors
#
# What wintun.exe says of itself, over the real DLL and driver. Without a bridge nobody answers behind
# the adapter: selftest has to notice that, and nothing else. Uses what 40-programs.sh has set up.

wine_run 100 "$inject" "$tool" selftest
[ $? -eq 1 ] && [ "$(grep -c '^FAILED' "$log")" -eq 1 ] &&
    grep -q '^FAILED *packets go through' "$log" && [ "$(grep -c '^ok ' "$log")" -eq 11 ]
result $? selftest_fails_for_the_missing_network_alone
none_listed
result $? selftest_leaves_nothing

measured='"direction": "to Windows", "calls": "%s", "size": 1400, "packets": [1-9][0-9]*, "lost": 0,'
# shellcheck disable=SC2059
wine_run 60 "$inject" "$tool" bench --seconds 1 --json &&
    grep -q "$(printf "$measured" single)" "$log" && grep -q "$(printf "$measured" batch)" "$log"
result $? bench_measures_single_packets_and_batches
