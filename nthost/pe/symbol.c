/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Names for addresses in drivers: function and line from the PDB beside the image, asked of
 * llvm-symbolizer if it is installed, else module+offset. Used when a machine stops, so nothing
 * here may fail, wait for long, or allocate.
 */
#include "pe/private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER = 1024, TEXT = 1280, LIMIT_MS = 5000 };

extern char **environ;

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads what the child prints until it ends or the time is up. */
static size_t read_answer(int fd, char *answer, size_t bytes, int64_t deadline)
{
    size_t done = 0;

    while (done < bytes - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const int64_t left = deadline - now_ms();
        if (left <= 0 || poll(&wait, 1, (int)left) <= 0)
            break;
        const ssize_t n = read(fd, answer + done, bytes - 1 - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    answer[done] = 0;
    return done;
}

static void reap(pid_t pid, int64_t deadline)
{
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ms() >= deadline)
            kill(pid, SIGKILL);
        usleep(1000);
    }
}

/* Output of program with arguments, or nothing. */
static size_t run(const char *program, char *const *arguments, char *answer, size_t bytes)
{
    const int64_t deadline = now_ms() + LIMIT_MS;
    posix_spawn_file_actions_t actions;
    int pipes[2];
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC) != 0)
        return 0;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    const int error = posix_spawnp(&pid, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    const size_t done = error ? 0 : read_answer(pipes[0], answer, bytes, deadline);
    close(pipes[0]);
    if (!error)
        reap(pid, deadline);
    return done;
}

/* The answer is two lines: function, then file:line:column. */
static bool parse(char *answer, const char *module, char *text, size_t bytes)
{
    char *line = strchr(answer, '\n');

    if (!line || answer[0] == '?' || answer[0] == 0)
        return false;
    *line++ = 0;
    char *end = strchr(line, '\n');
    if (end)
        *end = 0;
    char *column = strrchr(line, ':');
    if (column && line[0] != '?')
        *column = 0;
    for (char *c = line; *c; c++) /* our images name sources as Windows does, from the top */
        if (*c == '\\')
            *c = '/';
    char here[PATH_MAX];
    const size_t length = getcwd(here, sizeof here) ? strlen(here) : 0;
    if (length > 1 && strncmp(line, here, length) == 0 && line[length] == '/')
        line += length + 1;
    if (line[0] == '?' || line[0] == 0)
        snprintf(text, bytes, "%s!%s", module, answer);
    else
        snprintf(text, bytes, "%s!%s (%s)", module, answer, line);
    return true;
}

static bool ask(const struct nth_image *image, uint32_t rva, const char *module, char *text,
                size_t bytes)
{
    static const char *const programs[] = {"llvm-symbolizer-19", "llvm-symbolizer"};
    static int first; /* those before it are not installed */
    char object[sizeof image->path + 8], address[32], answer[ANSWER];

    snprintf(object, sizeof object, "--obj=%s", image->path);
    snprintf(address, sizeof address, "0x%x", rva);
    for (; first < 2; first++) {
        char *const arguments[] = {(char *)programs[first], object,  "--relative-address",
                                   "--no-inlines",          address, NULL};
        if (run(programs[first], arguments, answer, sizeof answer) > 0)
            return parse(answer, module, text, bytes);
    }
    return false;
}

/* The image's name without its extension. */
static void module_of(const struct nth_image *image, char *module)
{
    memcpy(module, image->name, sizeof image->name);
    char *dot = strrchr(module, '.');
    if (dot)
        *dot = 0;
}

void nth_place(uintptr_t address, char *text, size_t bytes)
{
    const struct nth_image *image = nth_image_at(address);
    char module[sizeof image->name];

    if (!image) {
        snprintf(text, bytes, "0x%llx", (unsigned long long)address);
        return;
    }
    module_of(image, module);
    snprintf(text, bytes, "%s+0x%llx", module,
             (unsigned long long)(address - (uintptr_t)image->base));
}

const char *nth_symbol(uintptr_t address)
{
    static _Thread_local char text[TEXT];
    const struct nth_image *image = nth_image_at(address - 1);
    char module[sizeof image->name];

    if (!image)
        return NULL;
    module_of(image, module);
    const uint32_t rva = (uint32_t)(address - 1 - (uintptr_t)image->base);
    if (!ask(image, rva, module, text, sizeof text))
        snprintf(text, sizeof text, "%s+0x%x", module, rva + 1);
    return text;
}
