/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What include/wintun.h and include/wintun-loader.h need of Windows' header of this name, for tests
 * on Linux: types of the same size, Microsoft's calling convention. The functions are in
 * tests/lib/api.c, and work on the process that the test is inside.
 */
#pragma once

#include <ntifs.h>

typedef int BOOL;
typedef unsigned char BYTE;
typedef unsigned short WORD;
typedef unsigned int DWORD;
typedef wchar_t *LPWSTR;
typedef const wchar_t *LPCWSTR;
typedef void *HMODULE;
typedef void (*FARPROC)(void);

#define WINAPI   NTAPI
#define CALLBACK NTAPI

#define ERROR_PROC_NOT_FOUND 127

HMODULE LoadLibraryExW(LPCWSTR path, HANDLE file, DWORD flags);
FARPROC GetProcAddress(HMODULE module, const char *name);
BOOL FreeLibrary(HMODULE module);
void SetLastError(DWORD error);
