/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The command line (nthost/main.c) through what a user sees of it: output and exit status. Promises
 * are those of nthost --help.
 */
#include "check.h"
#include "edge/netns.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define NTHOST "out/nthost "
#define MIRROR " out/drivers/gnu-O2/mirror.sys"

static char output[65536];

/* Runs a shell command; its exit status, and what it printed (both streams) in output. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int run(const char *format, ...)
{
    char command[2048];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    strcat(command, " 2>&1");
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    const size_t got = fread(output, 1, sizeof(output) - 1, pipe);
    output[got] = 0;
    const int status = pclose(pipe);
    fputs(output, stderr);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void need_tun(void)
{
    const struct nth_edge_config config = {.name = "probe", .mtu = 1500};
    struct nth_netns netns;
    char error[NTH_EDGE_ERROR];
    int tun;

    if (nth_netns_create(&config, &netns, &tun, error) != 0)
        check_skip("no TUN interface here: %s", error);
    nth_netns_close(&netns);
    close(tun);
}

static void expect_usage_error(const char *arguments, const char *word)
{
    CHECK_EQ(run(NTHOST "%s", arguments), 2);
    CHECK(strstr(output, "nthost"));
    if (!strstr(output, word))
        check_fail(__FILE__, __LINE__, "nthost %s: no word of '%s'", arguments, word);
}

TEST(help_names_every_option_and_command)
{
    /* "nthost --help is useful": what the option table has, the text has */
    CHECK_EQ(run(NTHOST "--help"), 0);
    static const char *const words[] = {"--adapter ", "--adapters",   "--client",   "--exec",
                                        "--ndis",     "--processors", "--serial",   "--strict",
                                        "--trace",    "--tun",        "--control",  "--seconds",
                                        "--counters", "--quiet",      "--ask",      "counters",
                                        "surprise",   "transfer",     "Exit status"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (!strstr(output, words[i]))
            check_fail(__FILE__, __LINE__, "no word of %s", words[i]);
}

TEST(bad_usage_ends_with_2_and_says_why)
{
    /* exit status 2: bad usage, before anything was started */
    expect_usage_error("", "no driver");
    expect_usage_error("/nonexistent.sys", "/nonexistent.sys");
    expect_usage_error("--bogus" MIRROR, "--bogus");
    expect_usage_error("--ndis 5.1" MIRROR, "5.1");
    expect_usage_error("--ndis 6.90" MIRROR, "6.90");
    expect_usage_error("--processors 0" MIRROR, "--processors");
    expect_usage_error("--processors 65" MIRROR, "--processors");
    expect_usage_error("--seconds x" MIRROR, "--seconds");
    expect_usage_error("--adapter bogus" MIRROR, "bogus");
    expect_usage_error("--adapter tun,,10.0.0.1/8" MIRROR, "empty");
    expect_usage_error("--adapter mtu=65536" MIRROR, "mtu");
    expect_usage_error("--adapter id=1" MIRROR, "GUID");
    expect_usage_error("--adapter 'id={6E74686F-7374-4000-8000-00000000000X}'" MIRROR, "GUID");
    expect_usage_error("--adapter 10.0.0.1/33" MIRROR, "10.0.0.1/33");
    expect_usage_error("--adapter 300.1.1.1/8" MIRROR, "300.1.1.1/8");
    expect_usage_error("--adapter 10.0.0.1/" MIRROR, "LENGTH");
    expect_usage_error("--adapter /8" MIRROR, "LENGTH");
    expect_usage_error("--adapter fd00::1/129" MIRROR, "128");
    expect_usage_error("--adapter tun,route=x" MIRROR, "route");
    expect_usage_error("--adapter key=x" MIRROR, "NAME=TEXT");
    expect_usage_error("--adapter key=x:d=y" MIRROR, "number");
    expect_usage_error("--adapter none,driver=1" MIRROR, "driver");
    expect_usage_error("--exec ping" MIRROR, "ping");
    expect_usage_error("--ask @nobody", "--ask");
}

TEST(file_that_is_no_driver_is_refused)
{
    /* exit status 1: something failed; the loader's reason in words */
    const int status = run(NTHOST "Makefile");

    CHECK(status == 1 || status == 71);
    CHECK(strstr(output, "Makefile"));
}

TEST(run_without_adapters_loads_and_unloads)
{
    CHECK_EQ(run(NTHOST "--seconds 0" MIRROR), 0);
    CHECK(strstr(output, "unloaded, nothing leaked"));
}

TEST(program_that_cannot_run_or_fails_is_reported)
{
    /* whoever started a user process by --client is not waiting for it, and must still learn why
     * nothing happens */
    CHECK_EQ(run(NTHOST "--client out/nonexistent" MIRROR), 1);
    CHECK(strstr(output, "out/nonexistent: No such file"));
    CHECK_EQ(run(NTHOST "--client ''" MIRROR), 1);
    CHECK(strstr(output, "no program given"));
    CHECK_EQ(run(NTHOST "--seconds 1 --client /bin/false" MIRROR), 0);
    CHECK(strstr(output, "false (pid ") && strstr(output, "ended with status 1"));
    CHECK_EQ(run(NTHOST "--seconds 1 --client '/bin/sleep 1000'" MIRROR), 0);
    CHECK(!strstr(output, "sleep (pid"));
}

TEST(adapters_of_each_ndis_version_come_and_go)
{
    /* --ndis: what NDIS claims to be */
    static const char *const versions[] = {"6.20", "6.30", "6.50", "6.89"};

    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        CHECK_EQ(run(NTHOST "--ndis %s --adapters 3 --seconds 0" MIRROR, versions[i]), 0);
        CHECK(strstr(output, "adapter 2"));
        CHECK(strstr(output, "unloaded, nothing leaked"));
    }
}

TEST(exec_pings_through_the_driver)
{
    /* the one-line use of --help */
    need_tun();
    CHECK_EQ(run(NTHOST "--adapter tun,10.9.0.1/24,fd09::1/64,mtu=1400 --counters "
                        "--exec '0:ping -q -n -c 5 -i 0.01 10.9.0.77' "
                        "--exec '0:ping -q -n -c 5 -i 0.01 fd09::77'" MIRROR),
             0);
    CHECK(strstr(output, "5 packets transmitted, 5 received"));
    CHECK(strstr(output, "edge_sent_packets"));
    CHECK(strstr(output, "unloaded, nothing leaked"));
}

TEST(exec_status_is_the_exit_status)
{
    need_tun();
    CHECK_EQ(run(NTHOST "--adapter tun,10.9.0.1/24 --exec 0:false" MIRROR), 1);
    CHECK_EQ(run(NTHOST "--adapter tun,10.9.0.1/24 --exec 0:/nonexistent" MIRROR), 127);
    CHECK_EQ(run(NTHOST "--adapter none --exec 0:true" MIRROR), 1);
    CHECK(strstr(output, "namespace"));
}

/* ---- the control socket ---- */

static pid_t host;
static char name[64];

static void start(const char *adapter)
{
    char driver[] = MIRROR;

    snprintf(name, sizeof(name), "@nthost-test-%d", (int)getpid());
    host = fork();
    if (host == 0) {
        if (adapter)
            execl("out/nthost", "nthost", "-q", "--control", name, "--adapter", adapter, driver + 1,
                  NULL);
        else
            execl("out/nthost", "nthost", "-q", "--control", name, driver + 1, NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && run(NTHOST "--ask %s status", name) != 0; i++)
        usleep(10000);
}

static int host_end(void)
{
    int status = 0;

    CHECK(waitpid(host, &status, 0) == host);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(commands_plug_show_and_unplug)
{
    start(NULL);
    CHECK_EQ(run(NTHOST "--ask %s plug none", name), 0);
    CHECK_STR(output, "0\n");
    CHECK_EQ(run(NTHOST "--ask %s status", name), 0);
    CHECK(strstr(output, "adapter 0") && strstr(output, "running"));
    CHECK_EQ(run(NTHOST "--ask %s counters 0", name), 0);
    CHECK(strstr(output, "out_packets 0"));
    CHECK_EQ(run(NTHOST "--ask %s pause 0", name), 0);
    CHECK_EQ(run(NTHOST "--ask %s status", name), 0);
    CHECK(strstr(output, "paused"));
    CHECK_EQ(run(NTHOST "--ask %s restart 0", name), 0);
    CHECK_EQ(run(NTHOST "--ask %s unplug 0", name), 0);
    CHECK_EQ(run(NTHOST "--ask %s counters 0", name), 1);
    CHECK_EQ(run(NTHOST "--ask %s plug none", name), 0);
    CHECK_EQ(run(NTHOST "--ask %s surprise 0", name), 0);
    CHECK_EQ(run(NTHOST "--ask %s quit", name), 0);
    CHECK_EQ(host_end(), 0);
}

TEST(bad_commands_are_answered_and_do_no_harm)
{
    start("none");
    CHECK_EQ(run(NTHOST "--ask %s bogus", name), 2);
    CHECK_EQ(run(NTHOST "--ask %s ''", name), 2);
    CHECK_EQ(run(NTHOST "--ask %s plug bogus", name), 2);
    CHECK_EQ(run(NTHOST "--ask %s unplug 7", name), 1);
    CHECK_EQ(run(NTHOST "--ask %s unplug x", name), 1);
    CHECK_EQ(run(NTHOST "--ask %s exec 0 true", name), 1);
    CHECK_EQ(run(NTHOST "--ask %s exec", name), 2);
    CHECK_EQ(run(NTHOST "--ask %s start", name), 2);
    CHECK_EQ(run(NTHOST "--ask %s start %%7 x", name), 1);
    CHECK_EQ(run(NTHOST "--ask %s kill 3", name), 1);
    CHECK_EQ(run(NTHOST "--ask %s ping 0 10.0.0.1", name), 1);
    CHECK_EQ(run("yes x | head -c 5000 | xargs " NTHOST "--ask %s", name),
             123); /* xargs: 1 to 125 */
    CHECK_EQ(run(NTHOST "--ask %s status", name), 0);
    CHECK_EQ(run(NTHOST "--ask %s quit", name), 0);
    CHECK_EQ(host_end(), 0);
}

TEST(exec_gets_the_standard_streams_of_who_asks)
{
    need_tun();
    start("tun,10.9.0.1/24");
    CHECK_EQ(run("echo hello | " NTHOST "--ask %s exec 0 cat", name), 0);
    CHECK_STR(output, "hello\n");
    CHECK_EQ(run(NTHOST "--ask %s exec 0 sh -c 'kill -9 $$'", name), 137);
    CHECK_EQ(run(NTHOST "--ask %s quit", name), 0);
    CHECK_EQ(host_end(), 0);
}

TEST(who_goes_away_takes_the_program_along)
{
    need_tun();
    start("tun,10.9.0.1/24");
    CHECK_EQ(run("timeout -s KILL 0.5 " NTHOST "--ask %s exec 0 sleep 1000", name), 137);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(run(NTHOST "--ask %s status", name), 0);
        if (!strstr(output, "running sleep"))
            break;
        usleep(10000);
    }
    CHECK(strstr(output, "over sleep"));
    CHECK_EQ(run(NTHOST "--ask %s quit", name), 0);
    CHECK_EQ(host_end(), 0);
}

TEST(killed_host_takes_its_programs_along)
{
    /* whatever ends nthost: nothing that it started stays */
    need_tun();
    start("tun,10.9.0.1/24");
    char command[256];
    snprintf(command, sizeof(command), NTHOST "--ask %s exec 0 sleep 9999%d", name, (int)getpid());
    const pid_t asker = fork();
    if (asker == 0)
        execl("/bin/sh", "sh", "-c", command, NULL);
    snprintf(command, sizeof(command), "ps -eo args | grep -q '^sleep 9999%d'", (int)getpid());
    for (int i = 0; i < 200 && run("%s", command) != 0; i++)
        usleep(10000);
    CHECK_EQ(run("%s", command), 0);
    kill(host, SIGKILL);
    CHECK_EQ(host_end(), 128 + SIGKILL);
    CHECK(waitpid(asker, NULL, 0) == asker);
    for (int i = 0; i < 200 && run("%s", command) == 0; i++)
        usleep(10000);
    CHECK_EQ(run("%s", command), 1);
}

TEST(interrupt_unloads_in_order)
{
    start("none");
    kill(host, SIGINT);
    CHECK_EQ(host_end(), 0);
    start("none");
    kill(host, SIGTERM);
    CHECK_EQ(host_end(), 0);
}
