/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The types of the Win32 functions that this folder provides, from their pages in the Windows SDK's
 * documentation ("Windows Data Types" and the page of each structure). Layouts are those of 64-bit
 * Windows; nothing here may clash with sdk/ or a libc header.
 */
#pragma once

#include <ntifs.h>

typedef int BOOL;
typedef unsigned char BYTE;
typedef unsigned short WORD;
typedef unsigned int DWORD;
typedef wchar_t *LPWSTR;
typedef const wchar_t *LPCWSTR;
typedef void *HMODULE, *HLOCAL, *HRSRC, *HGLOBAL;
typedef HANDLE HKEY;
typedef int HRESULT, LSTATUS;
typedef DWORD CONFIGRET;

#define WINAPI NTAPI

#define INVALID_HANDLE_VALUE ((HANDLE)(LONG_PTR) - 1)

enum { /* "System Error Codes" */
       ERROR_SUCCESS = 0,
       ERROR_INVALID_FUNCTION = 1,
       ERROR_FILE_NOT_FOUND = 2,
       ERROR_PATH_NOT_FOUND = 3,
       ERROR_ACCESS_DENIED = 5,
       ERROR_INVALID_HANDLE = 6,
       ERROR_NOT_ENOUGH_MEMORY = 8,
       ERROR_INVALID_DATA = 13,
       ERROR_OUTOFMEMORY = 14,
       ERROR_NO_MORE_FILES = 18,
       ERROR_NOT_READY = 21,
       ERROR_BAD_LENGTH = 24,
       ERROR_GEN_FAILURE = 31,
       ERROR_SHARING_VIOLATION = 32,
       ERROR_HANDLE_EOF = 38,
       ERROR_NOT_SUPPORTED = 50,
       ERROR_DUP_NAME = 52,
       ERROR_FILE_EXISTS = 80,
       ERROR_INVALID_PARAMETER = 87,
       ERROR_DISK_FULL = 112,
       ERROR_INSUFFICIENT_BUFFER = 122,
       ERROR_INVALID_NAME = 123,
       ERROR_MOD_NOT_FOUND = 126,
       ERROR_PROC_NOT_FOUND = 127,
       ERROR_DIR_NOT_EMPTY = 145,
       ERROR_BUSY = 170,
       ERROR_ALREADY_EXISTS = 183,
       ERROR_MORE_DATA = 234,
       ERROR_NO_MORE_ITEMS = 259,
       ERROR_NOT_OWNER = 288,
       ERROR_MR_MID_NOT_FOUND = 317,
       ERROR_INVALID_ADDRESS = 487,
       ERROR_PIPE_CONNECTED = 535,
       ERROR_OPERATION_ABORTED = 995,
       ERROR_IO_INCOMPLETE = 996,
       ERROR_IO_PENDING = 997,
       ERROR_NOACCESS = 998,
       ERROR_BADKEY = 1010,
       ERROR_CANTREAD = 1012,
       ERROR_KEY_DELETED = 1018,
       ERROR_SERVICE_NOT_ACTIVE = 1062,
       ERROR_NOT_FOUND = 1168,
       ERROR_ALREADY_INITIALIZED = 1247,
       ERROR_INVALID_SECURITY_DESCR = 1338,
       ERROR_INVALID_SID = 1337,
       ERROR_NO_SYSTEM_RESOURCES = 1450,
       ERROR_COMMITMENT_LIMIT = 1455,
       ERROR_TIMEOUT = 1460,
       ERROR_INVALID_USER_BUFFER = 1784,
       ERROR_RESOURCE_DATA_NOT_FOUND = 1812,
       ERROR_RESOURCE_TYPE_NOT_FOUND = 1813,
       ERROR_RESOURCE_NAME_NOT_FOUND = 1814,
       RPC_S_SERVER_UNAVAILABLE = 1722,
};

enum { /* WaitForSingleObject */
       WAIT_OBJECT_0 = 0,
       WAIT_ABANDONED = 0x80,
       WAIT_TIMEOUT = 258,
};
#define WAIT_FAILED 0xFFFFFFFFu
#define INFINITE    0xFFFFFFFFu

#define SECURITY_MAX_SID_SIZE 68
#define STANDARD_RIGHTS_ALL   0x001F0000u
#define MUTANT_ALL_ACCESS     0x001F0001u

typedef struct _SECURITY_ATTRIBUTES {
    DWORD nLength;
    void *lpSecurityDescriptor;
    BOOL bInheritHandle;
} SECURITY_ATTRIBUTES;

typedef struct _FILETIME {
    DWORD dwLowDateTime, dwHighDateTime;
} FILETIME;

typedef struct _OVERLAPPED {
    ULONG_PTR Internal, InternalHigh;
    DWORD Offset, OffsetHigh;
    HANDLE hEvent;
} OVERLAPPED;
