/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * As much of POSIX threads as nthost/client/ring.c uses, over slim locks, which are declared here
 * because windows.h and that file both define some statuses.
 */
#pragma once

typedef struct {
    void *lock; /* SRWLOCK */
} pthread_mutex_t;

void __stdcall InitializeSRWLock(pthread_mutex_t *lock);
void __stdcall AcquireSRWLockExclusive(pthread_mutex_t *lock);
void __stdcall ReleaseSRWLockExclusive(pthread_mutex_t *lock);

static inline int pthread_mutex_init(pthread_mutex_t *mutex, const void *attributes)
{
    InitializeSRWLock(mutex);
    return 0;
}

static inline int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    AcquireSRWLockExclusive(mutex);
    return 0;
}

static inline int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    ReleaseSRWLockExclusive(mutex);
    return 0;
}
