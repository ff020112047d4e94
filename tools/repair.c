/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * wintun repair and wintun version: the care of an installation.
 */
#include "tool.h"

int RunRepair(const TOOL_OPTIONS *Options)
{
    const bool IsAll = !Options->Devices && !Options->Packages && !Options->Broken;
    const DWORD Flags = (IsAll || Options->Devices ? WINTUN_REPAIR_DEVICES : 0) |
                        (IsAll || Options->Packages ? WINTUN_REPAIR_PACKAGES : 0) |
                        (Options->Broken ? WINTUN_REPAIR_BROKEN : 0);
    TOOL_JSON Json = {.Out = &ToolOut};
    DWORD Removed = 0;

    if (!LIBRARY_HAS(Repair))
        return ToolFailed;
    const BOOL IsDone = Wintun.Repair(Flags, &Removed);
    const DWORD Code = GetLastError();
    if (!IsDone && Removed)
        return FailWintun(Code, "not all could be removed; %lu adapters and packages were",
                          Removed);
    if (!IsDone)
        return FailWintun(Code, "cannot repair");
    if (Options->Json) {
        JsonBegin(&Json, NULL, '{');
        JsonNumber(&Json, "removed", Removed);
        JsonEnd(&Json, '}');
    } else if (Removed) {
        TextPrint(&ToolOut, "Removed: %lu adapters and packages.\n", Removed);
    } else {
        TextPrint(&ToolOut, "There was nothing to remove.\n");
    }
    return ToolDone;
}

/* ---- version ---- */

/* Bytes of a resource of wintun.dll; NULL when it has no such resource. */
static const uint8_t *ResourceFind(const wchar_t *Name, const wchar_t *Type, DWORD *Size)
{
    HRSRC Found = FindResourceW(LibraryModule(), Name, Type);

    if (!Found)
        return NULL;
    *Size = SizeofResource(LibraryModule(), Found);
    return LockResource(LoadResource(LibraryModule(), Found));
}

/*
 * "VS_VERSIONINFO structure" and "VS_FIXEDFILEINFO structure" (verrsrc.h): three words, the key
 * "VS_VERSION_INFO", and at the next 32-bit boundary the numbers.
 */
static bool VersionOfLibrary(TOOL_TEXT *Text)
{
    enum { FIXED_OFFSET = 40 };
    VS_FIXEDFILEINFO Fixed;
    DWORD Size;
    const uint8_t *Bytes = ResourceFind(MAKEINTRESOURCEW(1), MAKEINTRESOURCEW(16), &Size);

    if (!Bytes || Size < FIXED_OFFSET + sizeof(Fixed))
        return false;
    memcpy(&Fixed, Bytes + FIXED_OFFSET, sizeof(Fixed));
    if (Fixed.dwSignature != 0xFEEF04BD)
        return false;
    TextPrint(Text, "%lu.%lu.%lu", Fixed.dwFileVersionMS >> 16, Fixed.dwFileVersionMS & 0xFFFF,
              Fixed.dwFileVersionLS >> 16);
    return true;
}

/* What follows the date in "DriverVer = 11/28/2026,1.0.0.0" of the INF in the DLL. */
static bool VersionOfEmbedded(TOOL_TEXT *Text)
{
    static const char Key[] = "DriverVer";
    const DWORD KeyLength = sizeof(Key) - 1;
    DWORD Size, Start;
    const uint8_t *Inf = ResourceFind(L"WINTUN.INF", MAKEINTRESOURCEW(10), &Size);

    if (!Inf)
        return false;
    for (Start = 0; Start + KeyLength < Size && memcmp(Inf + Start, Key, KeyLength) != 0;)
        Start++;
    while (Start < Size && Inf[Start] != ',' && Inf[Start] != '\n')
        Start++;
    for (Start++; Start < Size && Inf[Start] == ' ';)
        Start++;
    for (; Start < Size && ((Inf[Start] >= '0' && Inf[Start] <= '9') || Inf[Start] == '.'); Start++)
        TextPrint(Text, "%c", Inf[Start]);
    return Text->Length != 0;
}

typedef struct {
    const char *Key, *Text;
    char Version[64]; /* "": not known */
} COMPONENT;

static const char *VersionOfRunning(COMPONENT *Component, TOOL_TEXT *Text)
{
    const DWORD Version = Wintun.GetRunningDriverVersion();

    if (!Version)
        return GetLastError() == ERROR_FILE_NOT_FOUND ? "not loaded" : "Windows does not tell";
    TextPrint(Text, "%lu.%lu", Version >> 16, Version & 0xFFFF);
    return Component->Version;
}

int RunVersion(const TOOL_OPTIONS *Options)
{
    COMPONENT Components[] = {{"tool", "wintun.exe", TUN_VERSION_TEXT},
                              {"library", "wintun.dll", ""},
                              {"embeddedDriver", "driver in wintun.dll", ""},
                              {"runningDriver", "driver that is running", ""}};
    TOOL_JSON Json = {.Out = &ToolOut};
    TOOL_TEXT Text;

    TextInit(&Text, Components[1].Version, sizeof(Components[1].Version));
    VersionOfLibrary(&Text);
    TextInit(&Text, Components[2].Version, sizeof(Components[2].Version));
    VersionOfEmbedded(&Text);
    TextInit(&Text, Components[3].Version, sizeof(Components[3].Version));
    const char *Running = VersionOfRunning(&Components[3], &Text);
    if (Options->Json)
        JsonBegin(&Json, NULL, '{');
    for (size_t Index = 0; Index < sizeof(Components) / sizeof(Components[0]); Index++) {
        const COMPONENT *Shown = &Components[Index];
        const char *Version = Index == 3 ? Running : *Shown->Version ? Shown->Version : "none";
        if (Options->Json) {
            JsonText(&Json, Shown->Key, *Shown->Version ? Shown->Version : NULL);
            continue;
        }
        TextPrint(&ToolOut, "%s:", Shown->Text);
        TextPad(&ToolOut, 26);
        TextPrint(&ToolOut, "%s\n", Version);
    }
    if (Options->Json)
        JsonEnd(&Json, '}');
    return ToolDone;
}
