/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemini-simulator: stands in for https://generativelanguage.googleapis.com in
 * tests, benchmarks and trials without a key. This file has the command line,
 * the listening socket and the signals.
 *
 * The control requests are described in sim_help.c, which --help and
 * GET /_sim/ print.
 */
#include "sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    const char *bind, *port, *port_file, *tls_cert, *tls_key;
    bool die_with_parent;
} options_t;

static pid_t parent;

static const struct option long_options[] = {
    {"port",            required_argument, NULL, 'p'},
    {"bind",            required_argument, NULL, 'b'},
    {"port-file",       required_argument, NULL, 'f'},
    {"tls-cert",        required_argument, NULL, 'c'},
    {"tls-key",         required_argument, NULL, 'k'},
    {"die-with-parent", no_argument,       NULL, 'd'},
    {"calls",           required_argument, NULL, 'n'},
    {"max-body",        required_argument, NULL, 'm'},
    {"help",            no_argument,       NULL, 'h'},
    {NULL,              0,                 NULL, 0  }
};

static const char usage[] =
    "usage: gemini-simulator [--port N] [--bind ADDRESS] [--port-file PATH]\n"
    "           [--tls-cert FILE --tls-key FILE] [--die-with-parent]\n"
    "           [--calls N] [--max-body BYTES]\n"
    "\n"
    "  --port N           0 picks a free one (default)\n"
    "  --bind ADDRESS     default 127.0.0.1; the control requests have no password\n"
    "  --port-file PATH   gets the port when the simulator is ready\n"
    "  --die-with-parent  ends when the process that started it ends\n"
    "  --calls N          calls kept for GET /_sim/calls, default 2000000, 0 = none\n"
    "  --max-body BYTES   longest request body, default 104857600\n"
    "\n";

static void read_options(options_t *o, int argc, char **argv)
{
    int got;

    while ((got = getopt_long(argc, argv, "p:b:f:c:k:dn:m:h", long_options, NULL)) != -1) {
        switch (got) {
        case 'p':
            o->port = optarg;
            break;
        case 'b':
            o->bind = optarg;
            break;
        case 'f':
            o->port_file = optarg;
            break;
        case 'c':
            o->tls_cert = optarg;
            break;
        case 'k':
            o->tls_key = optarg;
            break;
        case 'd':
            o->die_with_parent = true;
            break;
        case 'n':
            sim_calls_max = strtoull(optarg, NULL, 10);
            sim_record_calls = sim_calls_max > 0;
            break;
        case 'm':
            sim_max_body = strtoull(optarg, NULL, 10);
            break;
        case 'h':
            printf("%s%s", usage, sim_control_help);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
}

/* ---- the socket ---- */

static int open_socket(const options_t *o)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
    int fd, on = 1, rv = getaddrinfo(o->bind, o->port, &hints, &found);

    if (rv != 0) {
        fprintf(stderr, "gemini-simulator: %s: %s\n", o->bind, gai_strerror(rv));
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 4096) != 0) {
        fprintf(stderr, "gemini-simulator: %s:%s: %s\n", o->bind, o->port, strerror(errno));
        freeaddrinfo(found);
        return -1;
    }
    freeaddrinfo(found);
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6
                     ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                     : ((struct sockaddr_in *)(void *)&address)->sin_port);
}

/* Written beside and renamed, so that a reader never sees half a number. */
static bool write_port(const char *path, unsigned port)
{
    char name[4096];
    FILE *f;

    if (snprintf(name, sizeof(name), "%s.new", path) >= (int)sizeof(name)
        || (f = fopen(name, "w")) == NULL) {
        perror(path);
        return false;
    }
    fprintf(f, "%u\n", port);
    if (fclose(f) != 0 || rename(name, path) != 0) {
        perror(path);
        return false;
    }
    return true;
}

/* ---- signals and limits ---- */

static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* The parent death signal also comes when only the starting thread ended. */
bool sim_orphaned(void)
{
    return parent != 0 && getppid() != parent;
}

bool sim_signal_ends(int signal_fd)
{
    struct signalfd_siginfo info;
    bool ends = false;

    while (read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        ends = ends || info.ssi_signo != SIGHUP || parent == 0 || sim_orphaned();
    }
    return ends;
}

static void raise_limits(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

int main(int argc, char **argv)
{
    options_t o = {.bind = "127.0.0.1", .port = "0"};
    int signal_fd, listen_fd;

    parent = getppid();
    read_options(&o, argc, argv);
    signal_fd = open_signals();
    if (o.die_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGHUP);
        if (sim_orphaned()) {
            return 0;
        }
    }
    else {
        parent = 0;
    }
    raise_limits();
    if (o.tls_cert != NULL
        && !sim_tls_init(o.tls_cert, o.tls_key != NULL ? o.tls_key : o.tls_cert)) {
        return 1;
    }
    listen_fd = open_socket(&o);
    if (listen_fd < 0) {
        return 1;
    }
    if (o.port_file != NULL && !write_port(o.port_file, port_of(listen_fd))) {
        return 1;
    }
    printf("gemini-simulator ready at %s://%s:%u\n", sim_tls_on() ? "https" : "http", o.bind,
           port_of(listen_fd));
    fflush(stdout);
    sim_loop_run(listen_fd, signal_fd);
    close(listen_fd);
    close(signal_fd);
    return 0;
}
