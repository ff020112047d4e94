/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Formatting with the kernel's rules, for debug.c and whoever prints on a driver's behalf.
 */
#pragma once

#include "nt/nt.h"

/* _vsnprintf; used_unicode (may be NULL): whether a wide string or character was formatted. */
int nth_format(char *buffer, size_t room, const char *format, NT_VA_LIST arguments,
               bool *used_unicode);

int NTAPIV nth_snprintf(char *Buffer, SIZE_T Count, const char *Format, ...);
int NTAPIV nth_snwprintf(WCHAR *Buffer, SIZE_T Count, const WCHAR *Format, ...);
