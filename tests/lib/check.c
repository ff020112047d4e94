/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Runs the tests of a program, each in a child process; see check.h. Never runs one in its own
 * process: a stop of the machine must end a test, not the program.
 */
#include "check.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_SKIPPED = 77 };

/* A test that returns without the stop it announced has failed. Absent in tests without a host. */
const char *nth_stop_expected(void) __attribute__((weak));

extern const struct check_test __start_check_tests[], __stop_check_tests[];

void check_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    _exit(EXIT_FAILED);
}

void check_skip(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "skipped: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    _exit(EXIT_SKIPPED);
}

static int run_in_child(const struct check_test *test)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        return EXIT_FAILED;
    }
    if (pid == 0) {
        setpgid(0, 0);
        alarm((unsigned)test->seconds); /* SIGALRM ends the child */
        test->run();
        if (nth_stop_expected && nth_stop_expected())
            check_fail(test->name, 0, "expected stop %s did not come", nth_stop_expected());
        fflush(NULL);
        _exit(0);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) != pid)
        ;
    kill(-pid, SIGKILL); /* what the test itself started and left */
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "%s: ended by signal %d%s\n", test->name, WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? " (time limit)" : "");
        return EXIT_FAILED;
    }
    return WEXITSTATUS(status);
}

static bool is_wanted(const struct check_test *test, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (strncmp(test->name, names[i], strlen(names[i])) == 0)
            return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0, skipped = 0;

    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (const struct check_test *t = __start_check_tests; t < __stop_check_tests; t++)
            puts(t->name);
        return 0;
    }
    for (const struct check_test *t = __start_check_tests; t < __stop_check_tests; t++) {
        if (!is_wanted(t, argc - 1, argv + 1))
            continue;
        const int result = run_in_child(t);
        printf("%s %s\n", result == 0 ? "ok  " : result == EXIT_SKIPPED ? "skip" : "FAIL", t->name);
        passed += result == 0;
        skipped += result == EXIT_SKIPPED;
        failed += result != 0 && result != EXIT_SKIPPED;
    }
    if (argc > 1 && passed + skipped + failed == 0) {
        printf("FAIL no test has such a name (--list shows them)\n");
        failed = 1;
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed != 0;
}
