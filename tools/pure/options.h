/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The command line: what commands and options there are, their help, and how they are read. Knows
 * nothing of what a command does.
 */
#pragma once

#include "text.h"

enum { MAX_ADDRESSES = 64 };

/* As many arguments as Windows' longest command line can have would not be of use to any command.
 */
enum { MAX_ARGUMENTS = 256 };

typedef enum {
    CommandHelp,
    CommandList,
    CommandShow,
    CommandCreate,
    CommandDelete,
    CommandStats,
    CommandCapture,
    CommandRepair,
    CommandVersion,
    CommandSelftest,
    CommandBench,
    CommandCount
} TOOL_COMMAND;

/* What the command line says; zero and NULL: not said. Strings are those of the command line. */
typedef struct {
    TOOL_COMMAND Command;
    const wchar_t *Name; /* the first argument: an adapter, or for help a command */
    const wchar_t *File; /* the second */
    bool Json, Help, Verbose;
    bool NoDad, Persistent, Force, Create, Answer, Overwrite, Devices, Packages, Broken;
    const wchar_t *Type, *Guid, *Sddl, *Category;
    const wchar_t *Addresses[MAX_ADDRESSES];
    uint64_t AddressCount;
    uint64_t Mtu, Metric, Interval, Count, Seconds, Size;
} TOOL_OPTIONS;

/*
 * Reads arguments, without the program's name. False: nothing is valid, and Error has one line that
 * names what is wrong.
 */
bool OptionsParse(int Count, const wchar_t *const *Arguments, TOOL_OPTIONS *Options,
                  TOOL_TEXT *Error);

/* "create", for messages. */
const char *CommandName(TOOL_COMMAND Command);
bool CommandFind(const wchar_t *Name, TOOL_COMMAND *Command);

/* Help of the program, or of one command. */
void HelpWriteAll(TOOL_TEXT *Out);
void HelpWrite(TOOL_TEXT *Out, TOOL_COMMAND Command);

/*
 * Splits a command line into arguments as the C runtime of Microsoft does ("Parsing C command-line
 * arguments"), the program's name first. Storage has room for Line with its NUL twice. Returns how
 * many of Arguments, at most MaxCount, were filled; MaxCount + 1: there are more.
 */
int ArgumentsSplit(const wchar_t *Line, wchar_t *Storage, const wchar_t **Arguments, int MaxCount);
