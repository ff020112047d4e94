/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/* nthost/nt/csq.c needs nothing more than this. */
#pragma once

#include "nt/nt.h"
