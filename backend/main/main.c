/* backend/main/main.c -- gpupoold: a supervisor, or one of its workers */
#include "backend/main/options.h"
#include "backend/main/registrar.h"
#include "backend/main/relay.h"
#include "backend/main/worker.h"
#include "backend/supervisor/dial.h"
#include "backend/supervisor/supervisor.h"
#include "protocol/base/log.h"
#include "protocol/base/url.h"
#include "transport/rdma/rdma.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define RDMA_DEVICES "/dev/infiniband"

/* Standard error goes to systemd's journal, which takes levels and knows who speaks. */
static bool
journal_is_there(void)
{
    const char *where = getenv("JOURNAL_STREAM");
    unsigned long device, inode;
    struct stat st;

    return where != NULL && sscanf(where, "%lu:%lu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static void
log_start(const struct gp_options *options, bool worker)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    const char *level = gp_options_text(options, "log-level");
    char name[48];

    for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (strcmp(level, levels[i]) == 0)
            gp_log_set_level((enum gp_log_level)i);
    if (journal_is_there())
        gp_log_set_journal(true);
    snprintf(name, sizeof(name), "%s[%d]", worker ? "gpupoold-worker" : "gpupoold", (int)getpid());
    gp_log_set_name(name);
}

/* Certificates are read by workers; that they are there is better said now. */
static bool
tls_complete(const struct gp_options *options)
{
    static const char *const needed[] = {"tls-cert", "tls-key", "tls-ca"};
    bool complete = true;

    for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        const char *path = gp_options_text(options, needed[i]);

        if (path == NULL)
            log_error("--%s is needed to listen on tls:// or rdma://", needed[i]);
        else if (access(path, R_OK) != 0)
            log_error("--%s %s: %m", needed[i], path);
        else
            continue;
        complete = false;
    }
    if (gp_options_is_set(options, "tls-crl") &&
        access(gp_options_text(options, "tls-crl"), R_OK) != 0) {
        log_error("--tls-crl %s: %m", gp_options_text(options, "tls-crl"));
        complete = false;
    }
    return complete;
}

/* The same for rdma://, whose devices and memory are the workers' too. */
static bool
rdma_complete(const struct gp_options *options, bool listens)
{
    size_t count = gp_options_count(options, "rdma-fabric");
    char why[TP_WHY_BYTES];

    for (size_t i = 0; i < count; i++)
        if (tp_rdma_fabric_check(gp_options_at(options, "rdma-fabric", i)) != GP_OK) {
            log_error("--rdma-fabric %s: no device, port or network",
                      gp_options_at(options, "rdma-fabric", i));
            return false;
        }
    if (count > BE_FABRICS_MAX) {
        log_error("at most %d --rdma-fabric", BE_FABRICS_MAX);
        return false;
    }
    if (!listens)
        return true;
    if (count == 0) {
        log_error("--rdma-fabric is needed to listen on rdma://: what it carries is not encrypted");
        return false;
    }
    if (access(RDMA_DEVICES, F_OK) != 0)
        log_warn("no RDMA device is at " RDMA_DEVICES ": clients of rdma:// will be refused");
    if (tp_rdma_memory_ok(why))
        return true;
    log_error("%s", why);
    return false;
}

static bool
congestion_known(const struct gp_options *options)
{
    const char *name = gp_options_text(options, "tcp-congestion");

    if (name == NULL || tp_congestion_known(name))
        return true;
    log_error("--tcp-congestion %s: %m: see sysctl net.ipv4.tcp_allowed_congestion_control", name);
    return false;
}

/* Where sessions may copy to. */
static bool
peers_fill(const struct gp_options *options, struct be_supervisor_config *config)
{
    static const char *peers[BE_PEERS_MAX];

    config->peers = peers;
    config->peer_count = gp_options_count(options, "peer");
    if (config->peer_count > BE_PEERS_MAX) {
        log_error("at most %d --peer", BE_PEERS_MAX);
        return false;
    }
    for (size_t i = 0; i < config->peer_count; i++) {
        peers[i] = gp_options_at(options, "peer", i);
        if (be_dial_check(peers[i]) != GP_OK) {
            log_error("--peer %s: no network, address or *", peers[i]);
            return false;
        }
    }
    return true;
}

static bool
has_scheme(const char *url, const char *scheme)
{
    size_t n = strlen(scheme);

    return strncmp(url, scheme, n) == 0 && url[n] == ':';
}

/* SIGHUP: be_supervisor_config.reload. */
static enum gp_status
reload(void *user, struct be_policies *policies)
{
    char *const *argv = user;
    struct gp_options *options;
    enum gp_status status;
    int argc = 0;

    while (argv[argc] != NULL)
        argc++;
    status = be_options_load(argc, argv, &options, policies);
    if (status == GP_OK)
        gp_options_destroy(options);
    return status;
}

static const char *
admin_socket(const struct gp_options *options, char *path, size_t path_bytes)
{
    const char *folder = getenv("RUNTIME_DIRECTORY"); /* systemd's word for /run/gpupool */

    if (gp_options_is_set(options, "admin-socket"))
        return gp_options_text(options, "admin-socket");
    if (folder == NULL || folder[0] != '/' || strchr(folder, ':') != NULL)
        return NULL;
    snprintf(path, path_bytes, "%s/admin.sock", folder);
    return path;
}

static const char *
accounts_file(const struct gp_options *options, char *path, size_t path_bytes)
{
    const char *folder = getenv("STATE_DIRECTORY"); /* systemd's word for /var/lib/gpupool */

    if (gp_options_is_set(options, "accounts"))
        return gp_options_text(options, "accounts");
    if (folder == NULL || folder[0] != '/' || strchr(folder, ':') != NULL)
        return NULL;
    snprintf(path, path_bytes, "%s/accounts", folder);
    return path;
}

/* The predecessor's line and its sockets, "FD=URL"; nobody else gives them. */
static bool
sockets_inherit(const struct gp_options *options, struct be_supervisor_config *config)
{
    config->predecessor_fd = (int)gp_options_u64(options, "predecessor");
    for (size_t i = 0; i < gp_options_count(options, "inherit") && i < BE_LISTENERS_MAX; i++) {
        const char *text = gp_options_at(options, "inherit", i), *url = strchr(text, '=');
        char *end;
        long fd = strtol(text, &end, 10);

        if (url == NULL || end != url || fd < 0 || fd > INT_MAX) {
            log_error("--inherit %s: not FD=URL", text);
            return false;
        }
        config->inherited[config->listen_count] = (int)fd;
        config->listen[config->listen_count++] = url + 1;
    }
    return config->listen_count > 0 && fcntl(config->predecessor_fd, F_SETFD, FD_CLOEXEC) == 0;
}

static int
supervise(const struct gp_options *options, const struct be_policies *policies, char *const argv[])
{
    struct be_supervisor_config config = {
        .worker_argv = argv,
        .policies = policies,
        .reload = reload,
        .reload_user = (void *)(uintptr_t)argv,
        .predecessor_fd = -1,
        .ready_fd = -1,
        .offer_shm = gp_options_flag(options, "offer-shm"),
        .warm_workers = (unsigned)gp_options_u64(options, "warm-workers"),
        .warm_delay_ns = gp_options_u64(options, "warm-delay"),
        .sessions_max = (unsigned)gp_options_u64(options, "sessions-max"),
        .handshakes_max = (unsigned)gp_options_u64(options, "handshakes-max"),
        .handshake_ns = gp_options_u64(options, "handshake-time"),
        .pending_max = (unsigned)gp_options_u64(options, "pending-max"),
        .recv_buffer_bytes = (uint32_t)gp_options_u64(options, "tcp-recv-buffer"),
        .drain_ns = gp_options_u64(options, "drain-time"),
        .keep = {[BE_STORE_IMAGES] = {gp_options_text(options, "image-cache"),
                                      gp_options_u64(options, "image-cache-bytes")},
                 [BE_STORE_CONTENTS] = {gp_options_text(options, "content-cache"),
                                        gp_options_u64(options, "content-cache-bytes")}},
    };
    char host[256] = "gpupoold", socket_path[512], accounts_path[512];
    bool tls = false, rdma = false;

    if (be_options_paging(options, &config.paging) != GP_OK)
        return 2;
    if (config.warm_workers == 0)
        config.warm_workers = 1; /* the first tells whether the driver can be loaded at all */
    if (gp_options_is_set(options, "predecessor")) {
        if (!sockets_inherit(options, &config))
            return 2;
    } else if (gp_options_is_set(options, "ready-fd"))
        config.ready_fd = (int)gp_options_u64(options, "ready-fd");
    if (gp_options_count(options, "listen") > BE_LISTENERS_MAX) {
        log_error("at most %d --listen", BE_LISTENERS_MAX);
        return 2;
    }
    for (size_t i = 0; config.predecessor_fd < 0 && i < gp_options_count(options, "listen"); i++)
        config.listen[config.listen_count++] = gp_options_at(options, "listen", i);
    for (unsigned i = 0; i < config.listen_count; i++) {
        rdma = rdma || has_scheme(config.listen[i], "rdma");
        tls = tls || rdma || has_scheme(config.listen[i], "tls");
    }
    if (!peers_fill(options, &config) || (tls && !tls_complete(options)) ||
        !rdma_complete(options, rdma) || !congestion_known(options) ||
        be_relay_rules_check(options) != GP_OK || be_registrar_check(options) != GP_OK)
        return 2;
    (void)gethostname(host, sizeof(host) - 1);
    config.name = gp_options_is_set(options, "name") ? gp_options_text(options, "name") : host;
    config.region = gp_options_text(options, "region");
    config.cost = gp_options_text(options, "cost");
    config.accounts = accounts_file(options, accounts_path, sizeof(accounts_path));
    config.registers = gp_options_is_set(options, "etcd");
    config.metrics = gp_options_text(options, "metrics");
    config.admin_socket = admin_socket(options, socket_path, sizeof(socket_path));
    return be_supervisor_run(&config);
}

int
main(int argc, char *argv[])
{
    static struct be_policies policies; /* too big for the stack */
    pid_t parent = getppid();
    struct gp_options *options;
    enum gp_status status;
    int code;

    gp_log_set_name("gpupoold");
    gp_log_set_level(GP_LOG_INFO);
    status = be_options_load(argc, argv, &options, &policies);
    if (status == GP_ERR_AGAIN)
        return 0;
    if (status != GP_OK)
        return 2;
    log_start(options, gp_options_is_set(options, "worker"));
    if (gp_options_is_set(options, "worker")) {
        code = be_worker_run(options, (int)gp_options_u64(options, "worker"));
    } else if (gp_options_is_set(options, "registrar")) {
        code = be_registrar_run(options, (int)gp_options_u64(options, "registrar"));
    } else {
        /* A successor's parent ends before it does. */
        if (gp_options_flag(options, "exit-with-parent") &&
            !gp_options_is_set(options, "predecessor")) {
            (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (getppid() != parent)
                return 0;
        }
        code = supervise(options, &policies, argv);
    }
    be_policies_fini(&policies);
    gp_options_destroy(options);
    return code;
}
