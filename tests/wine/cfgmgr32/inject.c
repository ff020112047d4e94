/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Runs a program with the cfgmgr32.dll double loaded before anything of its own: wintun.dll needs
 * it before it loads cfgmgr32.dll itself, because Wine 8's kernel32 lacks private namespaces. The
 * program has our standard handles, its exit code becomes ours, and it is killed when we are; the
 * processes that it starts are not.
 * Usage: inject PROGRAM ARGUMENT...
 */
#include <windows.h>

#include <stdio.h>

#define LIBRARY L"C:\\windows\\system32\\cfgmgr32.dll"

/* The rest of our command line, after the first word. */
static WCHAR *rest_of_command_line(void)
{
    WCHAR *at = GetCommandLineW();
    BOOL quoted = FALSE;

    for (; *at != 0 && (quoted || (*at != ' ' && *at != '\t')); at++)
        if (*at == '"')
            quoted = !quoted;
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

static HANDLE create_job(void)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {.BasicLimitInformation.LimitFlags =
                                                       JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE |
                                                       JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK};
    HANDLE job = CreateJobObjectW(NULL, NULL);

    if (job != NULL &&
        !SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof(limits))) {
        CloseHandle(job);
        job = NULL;
    }
    return job;
}

/* kernel32 is at the same address in every process of Wine. */
static BOOL load_library(HANDLE process)
{
    void *name =
        VirtualAllocEx(process, NULL, sizeof(LIBRARY), MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    HANDLE thread = NULL;
    DWORD loaded = 0;

    if (name != NULL && WriteProcessMemory(process, name, LIBRARY, sizeof(LIBRARY), NULL))
        thread = CreateRemoteThread(process, NULL, 0, (LPTHREAD_START_ROUTINE)(void *)LoadLibraryW,
                                    name, 0, NULL);
    if (thread == NULL)
        return FALSE;
    WaitForSingleObject(thread, INFINITE);
    GetExitCodeThread(thread, &loaded);
    CloseHandle(thread);
    return loaded != 0;
}

int main(void)
{
    STARTUPINFOW startup = {.cb = sizeof(startup)};
    PROCESS_INFORMATION process;
    HANDLE job = create_job();
    DWORD code;

    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    startup.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    if (job == NULL || !CreateProcessW(NULL, rest_of_command_line(), NULL, NULL, TRUE,
                                       CREATE_SUSPENDED, NULL, NULL, &startup, &process)) {
        fprintf(stderr, "inject: cannot start the program: error %lu\n", GetLastError());
        return 127;
    }
    if (!AssignProcessToJobObject(job, process.hProcess) || !load_library(process.hProcess)) {
        fprintf(stderr, "inject: cannot load the double: error %lu\n", GetLastError());
        TerminateProcess(process.hProcess, 127);
    }
    ResumeThread(process.hThread);
    WaitForSingleObject(process.hProcess, INFINITE);
    return GetExitCodeProcess(process.hProcess, &code) ? (int)code : 127;
}
