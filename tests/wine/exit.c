/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Loaded into Wine's processes with LD_PRELOAD: a thread that has begun to end is left alone.
 * When a process exits, Wine 8 ends its other threads with SIGQUIT, whose handler calls
 * pthread_exit. One that is just returning, such as that of a Ctrl-C handler, is in pthread_exit
 * already, and may hold the lock of the dynamic loader there; it then ends with it, and exit waits
 * for the lock until Wine's server kills the process a second later, whatever its exit code was.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

void pthread_exit(void *result)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* before dlsym, which takes that lock too */
    ((void (*)(void *))dlsym(RTLD_NEXT, "pthread_exit"))(result);
    abort();
}
