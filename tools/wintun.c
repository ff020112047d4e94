/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The entry point of wintun.exe: reads the command line, runs one command and ends with its exit
 * code. What commands and options there are is in pure/options.c.
 */
#include "tool.h"

typedef int RUN(const TOOL_OPTIONS *Options);

static RUN *const Runs[CommandCount] = {
    [CommandList] = RunList,     [CommandShow] = RunShow,       [CommandCreate] = RunCreate,
    [CommandDelete] = RunDelete, [CommandStats] = RunStats,     [CommandCapture] = RunCapture,
    [CommandRepair] = RunRepair, [CommandVersion] = RunVersion, [CommandSelftest] = RunSelftest,
    [CommandBench] = RunBench,
};

/* The parts of the command line; static since it is long, and lives as long as the program. */
static bool CommandLineParse(TOOL_OPTIONS *Options)
{
    static const wchar_t *Arguments[MAX_ARGUMENTS];
    const wchar_t *Line = GetCommandLineW();
    char Message[512];
    size_t Length = 0;
    TOOL_TEXT Error;

    while (Line[Length])
        Length++;
    wchar_t *Storage = MemoryAllocate((2 * Length + 2) * sizeof(wchar_t));
    if (!Storage) {
        FailMemory();
        return false;
    }
    const int Count = ArgumentsSplit(Line, Storage, Arguments, MAX_ARGUMENTS);
    if (Count > MAX_ARGUMENTS) {
        FailUsage("there are more than %d arguments", MAX_ARGUMENTS - 1);
        return false;
    }
    for (int Index = 1; Index < Count; Index++) {
        if (WideIs(Arguments[Index], "--json"))
            FailSetJson(true); /* also for what is wrong with the rest */
    }
    TextInit(&Error, Message, sizeof(Message));
    if (OptionsParse(Count - 1, Arguments + 1, Options, &Error))
        return true;
    FailUsage("%s", Message);
    TextPrint(&ToolErr, "wintun: \"wintun help\" shows what there is\n");
    return false;
}

static int RunHelp(const TOOL_OPTIONS *Options)
{
    TOOL_COMMAND Command = Options->Command;

    if (Options->Command == CommandHelp && Options->Name)
        CommandFind(Options->Name, &Command);
    if (Command == CommandHelp && !Options->Name)
        HelpWriteAll(&ToolOut);
    else
        HelpWrite(&ToolOut, Command);
    return ToolDone;
}

static int RunCommand(void)
{
    static TOOL_OPTIONS Options;

    if (!CommandLineParse(&Options))
        return ToolUsage;
    if (Options.Help || Options.Command == CommandHelp)
        return RunHelp(&Options);
    if (!StopOpen())
        return FailWindows(GetLastError(), "cannot prepare for Ctrl-C");
    return LibraryLoad(&Options) ? Runs[Options.Command](&Options) : ToolFailed;
}

void ToolMain(void);
void ToolMain(void)
{
    OutputOpen();
    int Result = RunCommand();
    if (!OutputFlush() && Result == ToolDone)
        Result = ToolFailed; /* what was to be said was not */
    ExitProcess((UINT)Result);
}
