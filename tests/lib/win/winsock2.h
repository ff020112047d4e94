/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/* What include/wintun.h needs of Windows' header of this name, for tests on Linux. */
#pragma once

#include <ntdef.h>
