/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Two tables, of options and of commands, and what is read from them: the parser and all help.
 * Nothing that is not in the tables is accepted, so help is complete.
 */
#include "options.h"

#include "address.h"

typedef enum { KindFlag, KindText, KindNumber, KindAddresses } OPTION_KIND;

typedef struct {
    const char *Name;  /* without the hyphens */
    const char *Value; /* what help calls its value */
    OPTION_KIND Kind;
    size_t Field; /* offset in TOOL_OPTIONS */
    uint64_t Min, Max;
    const char *Help;
} OPTION;

#define FLAG(Name, Field, Help) {Name, NULL, KindFlag, offsetof(TOOL_OPTIONS, Field), 0, 0, Help}
#define TEXT_VALUE(Name, Value, Field, Help)                                                       \
    {Name, Value, KindText, offsetof(TOOL_OPTIONS, Field), 0, 0, Help}
#define NUMBER(Name, Field, Min, Max, Help)                                                        \
    {Name, "N", KindNumber, offsetof(TOOL_OPTIONS, Field), Min, Max, Help}

/* Each option means the same wherever it is accepted. */
static const OPTION Options[] = {
    TEXT_VALUE("type", "TYPE", Type, "tunnel type; \"TYPE Tunnel\" describes it (default: Wintun)"),
    TEXT_VALUE("guid", "GUID", Guid, "wish for this interface GUID"),
    {"address", "A/P", KindAddresses, 0, 0, 0, "IPv4 or IPv6 address; up to 64 times"},
    NUMBER("mtu", Mtu, 576, 65535, "MTU of IPv4 and IPv6; at least 1280 with IPv6"),
    NUMBER("metric", Metric, 1, 9999, "metric of the interface"),
    TEXT_VALUE("category", "C", Category, "network category: public or private"),
    TEXT_VALUE("sddl", "SDDL", Sddl, "who may use the adapter, as a security descriptor"),
    FLAG("no-dad", NoDad, "use addresses without testing for duplicates"),
    FLAG("persistent", Persistent, "the adapter stays when this program ends"),
    FLAG("devices", Devices, "adapters whose creators have gone"),
    FLAG("broken", Broken, "persistent adapters that Windows cannot start"),
    FLAG("packages", Packages, "driver packages that are not the newest"),
    FLAG("force", Force, "also if a running program uses the adapter"),
    FLAG("create", Create, "create a temporary adapter of that name first"),
    FLAG("answer", Answer, "answer pings, and capture the answers too"),
    FLAG("overwrite", Overwrite, "replace the file if it exists"),
    NUMBER("interval", Interval, 1, 3600, "seconds between two looks (default: 1)"),
    NUMBER("count", Count, 1, 1000000000, "end after N of them"),
    NUMBER("seconds", Seconds, 1, 1000000, "end after N seconds"),
    NUMBER("size", Size, 28, 65535, "bytes of a packet (default: 1400)"),
    FLAG("json", Json, "JSON for programs instead of text for people"),
    FLAG("verbose", Verbose, "also what wintun.dll logs, on standard error"),
    FLAG("help", Help, "this help"),
};

typedef struct {
    const char *Name, *Arguments;
    unsigned MinArguments, MaxArguments;
    const char *Options; /* names, each with a space before and after it */
    const char *Summary, *Details;
} COMMAND;

static const COMMAND Commands[CommandCount] = {
    [CommandHelp] = {"help", "[COMMAND]", 0, 1, " ", "Help, also of one command", ""},
    [CommandList] =
        {"list", "", 0, 0, " json verbose ", "List the adapters made with wintun.dll",
         "STATE is ready, starting, stale (its creator has gone), absent (Windows only\n"
         "remembers it) or the problem that Windows reports. A question mark means that\n"
         "this user may not see it. OWNER is the program that has the session.\n"},
    [CommandShow] = {"show", "NAME", 1, 1, " json verbose ",
                     "Show everything about one adapter, with its counters", ""},
    [CommandCreate] = {"create", "NAME", 1, 1,
                       " type guid address mtu metric category sddl no-dad persistent seconds json "
                       "verbose ",
                       "Create an adapter; it lives until Ctrl-C, or for good",
                       "Returns only when the adapter goes, but for --persistent. Needs to run\n"
                       "elevated. Windows drops what it sends through the adapter until a program\n"
                       "has a session with it.\n"},
    [CommandDelete] =
        {"delete", "NAME", 1, 1, " force json verbose ", "Remove an adapter, persistent or not",
         "Refuses while a running program uses or owns it, but for --force. Needs to\n"
         "run elevated.\n"},
    [CommandStats] =
        {"stats", "[NAME]", 0, 1, " interval count json verbose ",
         "Watch packets, bytes and losses per second",
         "All adapters, or all counters of one. Ends with Ctrl-C. With --json one line\n"
         "for each look.\n"},
    [CommandCapture] =
        {"capture", "NAME [FILE|-]", 1, 2, " create answer count seconds overwrite json verbose ",
         "Write what Windows sends to a pcapng file",
         "Takes the adapter's session: it fails while another program has it, and what\n"
         "is captured goes nowhere else. Without FILE a line is shown for each packet;\n"
         "with - the file goes to standard output. Ends with Ctrl-C.\n"},
    [CommandRepair] =
        {"repair", "", 0, 0, " devices packages broken json verbose ",
         "Remove what crashed programs and old versions left",
         "Only what carries the mark of wintun.dll; adapters in use and persistent ones\n"
         "stay. Without an option: --devices --packages. Needs to run elevated.\n"},
    [CommandVersion] = {"version", "", 0, 0, " json verbose ",
                        "Versions of this program, wintun.dll and the driver", ""},
    [CommandSelftest] =
        {"selftest", "", 0, 0, " json verbose ", "Try everything on a temporary adapter",
         "Creates an adapter with addresses of 198.18.53.0/30, carries pings both ways\n"
         "through Windows' own TCP/IP, compares counters and removes everything. Needs\n"
         "to run elevated.\n"},
    [CommandBench] =
        {"bench", "", 0, 0, " seconds size json verbose ",
         "Measure packets per second on this machine",
         "Through a temporary adapter, each case for --seconds (default: 3). To Windows:\n"
         "packets that the driver took and gave to TCP/IP, which drops them. From\n"
         "Windows: UDP datagrams that a socket of this program sends. Each packet by\n"
         "packet, and in batches of 64. Needs to run elevated.\n"},
};

static bool NameIs(const char *One, const char *Other, size_t Length)
{
    for (size_t Index = 0; Index < Length; Index++) {
        if (One[Index] != Other[Index])
            return false;
    }
    return true;
}

/* Whether a command has the option. */
static bool CommandHas(const COMMAND *Command, const OPTION *Option)
{
    const size_t Length = TextWidth(Option->Name);

    if (NameIs(Option->Name, "help", Length + 1))
        return true;
    for (const char *At = Command->Options; *At; At++) {
        if (At[0] == ' ' && NameIs(At + 1, Option->Name, Length) && At[1 + Length] == ' ')
            return true;
    }
    return false;
}

const char *CommandName(TOOL_COMMAND Command)
{
    return Commands[Command].Name;
}

bool CommandFind(const wchar_t *Name, TOOL_COMMAND *Command)
{
    for (int Index = 0; Index < CommandCount; Index++) {
        if (WideIs(Name, Commands[Index].Name)) {
            *Command = (TOOL_COMMAND)Index;
            return true;
        }
    }
    return false;
}

/* ---- reading ---- */

/* "--name=value" or "--name"; Value is what follows "=", NULL when nothing does. */
static const OPTION *OptionFind(const wchar_t *Argument, const wchar_t **Value)
{
    *Value = NULL;
    for (size_t Index = 0; Index < sizeof(Options) / sizeof(Options[0]); Index++) {
        const char *Name = Options[Index].Name;
        const wchar_t *At = Argument + 2;
        while (*Name && *At == (wchar_t)*Name) {
            At++;
            Name++;
        }
        if (!*Name && *At == '=')
            *Value = At + 1;
        if (!*Name && (!*At || *At == '='))
            return &Options[Index];
    }
    return NULL;
}

static bool OptionStoreNumber(const OPTION *Option, const wchar_t *Value, uint64_t *Field,
                              TOOL_TEXT *Error)
{
    if (*Field) {
        TextPrint(Error, "--%s is given twice", Option->Name);
        return false;
    }
    if (NumberParse(Value, Field) && *Field >= Option->Min && *Field <= Option->Max)
        return true;
    TextPrint(Error, "--%s %ls: a number from %llu to %llu is expected", Option->Name, Value,
              (unsigned long long)Option->Min, (unsigned long long)Option->Max);
    return false;
}

static bool OptionStore(const OPTION *Option, const wchar_t *Value, TOOL_OPTIONS *Result,
                        TOOL_TEXT *Error)
{
    void *Field = (char *)Result + Option->Field;

    switch (Option->Kind) {
    case KindFlag:
        *(bool *)Field = true;
        return true;
    case KindNumber:
        return OptionStoreNumber(Option, Value, Field, Error);
    case KindAddresses:
        if (Result->AddressCount < MAX_ADDRESSES) {
            Result->Addresses[Result->AddressCount++] = Value;
            return true;
        }
        TextPrint(Error, "--address is given more than %d times", MAX_ADDRESSES);
        return false;
    default:
        if (!*(const wchar_t **)Field) {
            *(const wchar_t **)Field = Value;
            return true;
        }
        TextPrint(Error, "--%s is given twice", Option->Name);
        return false;
    }
}

/* One option with its value, which may be the next argument; *Index moves over that. */
static bool OptionParse(int Count, const wchar_t *const *Arguments, int *Index,
                        TOOL_OPTIONS *Result, TOOL_TEXT *Error)
{
    const wchar_t *Argument = Arguments[*Index];
    const COMMAND *Command = &Commands[Result->Command];
    const wchar_t *Value;
    const OPTION *Option = OptionFind(Argument, &Value);

    if (!Option || !CommandHas(Command, Option)) {
        TextPrint(Error, "%ls: %s option of \"%s\"", Argument, Option ? "not an" : "unknown",
                  Command->Name);
        return false;
    }
    if (Option->Kind == KindFlag && Value) {
        TextPrint(Error, "--%s takes no value", Option->Name);
        return false;
    }
    if (Option->Kind != KindFlag && !Value) {
        if (*Index + 1 == Count) {
            TextPrint(Error, "--%s needs a value", Option->Name);
            return false;
        }
        Value = Arguments[++*Index];
    }
    return OptionStore(Option, Value, Result, Error);
}

static bool IsHelp(const wchar_t *Argument)
{
    return WideIs(Argument, "--help") || WideIs(Argument, "-h") || WideIs(Argument, "/?");
}

static bool CommandParse(const wchar_t *Argument, TOOL_OPTIONS *Result, TOOL_TEXT *Error)
{
    if (IsHelp(Argument)) {
        Result->Command = CommandHelp;
        return true;
    }
    if (WideIs(Argument, "--version")) {
        Result->Command = CommandVersion;
        return true;
    }
    if (CommandFind(Argument, &Result->Command))
        return true;
    TextPrint(Error, "%ls: unknown command", Argument);
    return false;
}

/* An argument that is no option. */
static bool PositionParse(const wchar_t *Argument, unsigned Position, TOOL_OPTIONS *Result,
                          TOOL_TEXT *Error)
{
    TOOL_COMMAND Named;

    if (Position >= Commands[Result->Command].MaxArguments) {
        TextPrint(Error, "%ls: one argument too many for \"%s\"", Argument,
                  CommandName(Result->Command));
        return false;
    }
    if (Result->Command == CommandHelp && !CommandFind(Argument, &Named)) {
        TextPrint(Error, "%ls: unknown command", Argument);
        return false;
    }
    *(Position == 0 ? &Result->Name : &Result->File) = Argument;
    return true;
}

bool OptionsParse(int Count, const wchar_t *const *Arguments, TOOL_OPTIONS *Result,
                  TOOL_TEXT *Error)
{
    unsigned Positions = 0;
    bool HasEnded = false; /* "--" was seen: only arguments follow */

    *Result = (TOOL_OPTIONS){.Command = CommandHelp};
    if (Count && !CommandParse(Arguments[0], Result, Error))
        return false;
    for (int Index = 1; Index < Count; Index++) {
        const wchar_t *Argument = Arguments[Index];
        if (!HasEnded && WideIs(Argument, "--")) {
            HasEnded = true;
        } else if (!HasEnded && IsHelp(Argument)) {
            Result->Help = true;
            return true; /* whatever else is wrong */
        } else if (!HasEnded && Argument[0] == '-' && Argument[1]) {
            if (!OptionParse(Count, Arguments, &Index, Result, Error))
                return false;
        } else if (!PositionParse(Argument, Positions++, Result, Error)) {
            return false;
        }
    }
    if (Positions < Commands[Result->Command].MinArguments) {
        TextPrint(Error, "\"%s\" needs the NAME of an adapter", CommandName(Result->Command));
        return false;
    }
    return true;
}

/* ---- help ---- */

enum { SUMMARY_COLUMN = 12, OPTION_COLUMN = 22 };

void HelpWriteAll(TOOL_TEXT *Out)
{
    TextPrint(Out, "wintun: network adapters whose packets programs read and write\n\n"
                   "usage: wintun COMMAND [ARGUMENTS] [OPTIONS]\n\n");
    for (int Index = CommandList; Index < CommandCount; Index++) {
        TextPrint(Out, "  %s", Commands[Index].Name);
        TextPad(Out, SUMMARY_COLUMN);
        TextPrint(Out, "%s\n", Commands[Index].Summary);
    }
    TextPrint(
        Out, "\n\"wintun COMMAND --help\" tells more. Exit codes: 0 done, 1 failed, 2 not a valid\n"
             "command line.\n");
}

void HelpWrite(TOOL_TEXT *Out, TOOL_COMMAND Command)
{
    const COMMAND *Shown = &Commands[Command];

    TextPrint(Out, "%s.\n\nusage: wintun %s%s%s%s\n", Shown->Summary, Shown->Name,
              *Shown->Arguments ? " " : "", Shown->Arguments,
              Shown->Options[1] ? " [OPTIONS]" : "");
    if (*Shown->Details)
        TextPrint(Out, "\n%s", Shown->Details);
    TextPrint(Out, "\n");
    for (size_t Index = 0; Index < sizeof(Options) / sizeof(Options[0]); Index++) {
        const OPTION *Option = &Options[Index];
        if (!CommandHas(Shown, Option))
            continue;
        TextPrint(Out, "  --%s%s%s", Option->Name, Option->Value ? " " : "",
                  Option->Value ? Option->Value : "");
        TextPad(Out, OPTION_COLUMN);
        TextPrint(Out, "%s\n", Option->Help);
    }
}
