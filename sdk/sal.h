/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */

/*
 * Source annotations. A build with the WDK takes Microsoft's own sal.h and has these checked; here
 * they are documentation and expand to nothing. Only the annotations that the house style allows
 * are defined, so that a build without the WDK refuses any other.
 */

#pragma once

#define _In_
#define _In_opt_
#define _In_reads_(Count)
#define _In_reads_opt_(Count)
#define _In_reads_bytes_(Size)
#define _In_reads_bytes_opt_(Size)
#define _Out_
#define _Out_opt_
#define _Out_writes_(Count)
#define _Out_writes_bytes_(Size)
#define _Out_writes_bytes_opt_(Size)
#define _Out_writes_bytes_to_(Size, Used)
#define _Inout_
#define _Inout_opt_
#define _Inout_updates_bytes_(Size)
#define _Outptr_
#define _Outptr_opt_
#define _Outptr_result_maybenull_
#define _Field_size_bytes_(Size)
#define _Must_inspect_result_
#define _Return_type_success_(Expression)
#define _Use_decl_annotations_
#define _Function_class_(Name)
#define _Dispatch_type_(Major)
#define _When_(Condition, Annotations)

#define _IRQL_requires_(Irql)
#define _IRQL_requires_max_(Irql)
#define _IRQL_requires_min_(Irql)
#define _IRQL_requires_same_
#define _IRQL_raises_(Irql)
#define _IRQL_saves_
#define _IRQL_restores_

#define _Requires_lock_held_(Lock)
#define _Requires_lock_not_held_(Lock)
#define _Acquires_lock_(Lock)
#define _Releases_lock_(Lock)
#define _Guarded_by_(Lock)
