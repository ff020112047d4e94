/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What must hold around every call from the host into a driver's routine. Changes nothing itself.
 */
#include "nt/nt.h"

static const char *name_of(const void *routine)
{
    return nth_symbol_hook ? nth_symbol_hook((uintptr_t)routine) : "a driver routine";
}

void nth_callout_begin(struct nth_callout *callout, const char *what, const void *routine)
{
    *callout = (struct nth_callout){
        .what = what, .routine = routine, .irql = nth_irql(), .spinning = nth_order_spinning()};
    nth_trace("call %s %p", what, routine);
}

void nth_callout_end(const struct nth_callout *callout)
{
    if (nth_irql() != callout->irql)
        nth_stop("callout-irql", "%s %s was called at IRQL %u and returned at %u", callout->what,
                 name_of(callout->routine), callout->irql, nth_irql());
    if (nth_order_spinning() != callout->spinning)
        nth_stop("callout-lock", "%s %s was called with %u spin locks held and returned with %u",
                 callout->what, name_of(callout->routine), callout->spinning, nth_order_spinning());
}
