/* frontend/core/config.c */
#include "frontend/core/config.h"

#include "frontend/core/need.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/options.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"
#include "transport/rdma/rdma.h"

#include <stdio.h>
#include <string.h>

#define SYSTEM_FOLDER "/etc/gpupool"
#define FILE_NAME     "client.ini"

static const struct gp_option options[] = {
    {"server", "URL", GP_OPT_GROUPS, NULL,
     "the pool's servers, in order of preference: tls://host:port, gpupool://host:port for the "
     "best "
     "of shared memory, RDMA and TLS; a+b: both together"},
    {"cert", "FILE", GP_OPT_PATH, NULL, "the client's certificate, PEM"},
    {"key", "FILE", GP_OPT_PATH, NULL, "its private key, PEM"},
    {"ca", "FILE", GP_OPT_PATH, NULL, "who signed the servers' certificates, PEM"},
    {"servers-file", "FILE", GP_OPT_PATH, NULL, "servers, one a line, where server is not set"},
    FE_NEED_OPTIONS,
    {"etcd", "URL", GP_OPT_URLS, NULL, "the directory of servers, https://host:2379"},
    {"etcd-ca", "FILE", GP_OPT_PATH, NULL, "who signed etcd's certificate, PEM"},
    {"etcd-cert", "FILE", GP_OPT_PATH, NULL, "a certificate for etcd, PEM"},
    {"etcd-key", "FILE", GP_OPT_PATH, NULL, "its private key, PEM"},
    {"etcd-user", "NAME", GP_OPT_TEXT, NULL, "who we are for etcd's own authentication"},
    {"etcd-password-file", "FILE", GP_OPT_PATH, NULL, "a file with the password"},
    {"notice-hook", "COMMAND", GP_OPT_TEXT, NULL,
     "run by /bin/sh when the session will be or was ended; see GPUPOOL_NOTICE_TEXT, _KIND"},
    {"content-cache", NULL, GP_OPT_FLAG, "no",
     "large copies to the device are named by their hash first, and only sent where the server "
     "lacks them"},
    {"managed-wait", "TIME", GP_OPT_TIME, "4s",
     "how long a touch of managed memory waits for kernels under way; 0: not at all"},
    {"tcp-congestion", "NAME", GP_OPT_TEXT, NULL,
     "congestion control of connections; the system's if unset, reno of loopback addresses"},
    {"tcp-send-buffer", "BYTES", GP_OPT_BYTES, "0", "of connections; 0: the system's choice"},
    {"tcp-recv-buffer", "BYTES", GP_OPT_BYTES, "0", "of connections; 0: the system's choice"},
    {"tcp-keepalive", "TIME", GP_OPT_TIME, "30s", "silence before the system probes a connection"},
    {"tls-kernel", NULL, GP_OPT_FLAG, "yes",
     "have the kernel cipher a session's further connections, where it has TLS (modprobe tls)"},
    {"tls-rekey", "BYTES", GP_OPT_BYTES, "0",
     "new TLS keys after so much in a direction; 0: 64 GiB, 256 GiB where the kernel ciphers"},
    {"rdma-fabric", "NAME", GP_OPT_STRINGS, NULL,
     "by RDMA over these only: devices (mlx5_0), their ports (mlx5_0:1), networks (10.9.0.0/16)"},
    {"rdma-ports", "N", GP_OPT_NUMBER, "0",
     "bulk goes by so many ports of RDMA at once; 0: by all that both ends have"},
    {"lines", "N", GP_OPT_NUMBER, "0",
     "connections of one session for bulk; 0: 4 to other machines, 1 on this one"},
    {"lines-after", "BYTES", GP_OPT_BYTES, "64m", "of a session's data go by one connection"},
    {NULL},
};
const struct gp_option_set fe_config_options = {"gpupool", "use the pool", "GPUPOOL_", "client",
                                                options};

/* "~/.config/gpupool", or NULL where there is no home. */
static char *
home_folder(void)
{
    const char *home = getenv("HOME");
    char *folder;

    if (home == NULL || home[0] == '\0' || asprintf(&folder, "%s/.config/gpupool", home) < 0)
        return NULL;
    return folder;
}

static char *
joined(const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* Load folder's file if there is one. */
static enum gp_status
load_from(struct gp_options *o, const char *folder, struct fe_config *config)
{
    enum gp_status status;
    char *path;

    if (folder == NULL)
        return GP_ERR_NOT_FOUND;
    path = joined(folder, FILE_NAME);
    if (path == NULL)
        return GP_ERR_NO_MEMORY;
    status = gp_options_load_file(o, path);
    if (status == GP_OK)
        config->file = path;
    else
        free(path);
    return status;
}

static enum gp_status
load_file(struct gp_options *o, const char *home, struct fe_config *config)
{
    const char *named = getenv("GPUPOOL_CONFIG");
    enum gp_status status;

    if (named != NULL && named[0] != '\0') {
        status = gp_options_load_file(o, named);
        if (status == GP_ERR_NOT_FOUND) {
            log_error("GPUPOOL_CONFIG: no file %s", named);
            return GP_ERR_INVALID;
        }
        config->file = strdup(named);
        return status;
    }
    status = load_from(o, home, config);
    if (status == GP_ERR_NOT_FOUND)
        status = load_from(o, SYSTEM_FOLDER, config);
    return status == GP_ERR_NOT_FOUND ? GP_OK : status;
}

/* The folder that certificates are in by default; the caller's. */
static char *
certs_folder(const struct fe_config *config, const char *home)
{
    const char *slash;
    char *probe;
    bool at_home;

    if (config->file != NULL) {
        slash = strrchr(config->file, '/');
        return slash == NULL ? strdup(".") : strndup(config->file, (size_t)(slash - config->file));
    }
    probe = home != NULL ? joined(home, "client.crt") : NULL;
    at_home = probe != NULL && access(probe, R_OK) == 0;
    free(probe);
    return strdup(at_home ? home : SYSTEM_FOLDER);
}

static char *
path_of(const struct gp_options *o, const char *option, const char *folder, const char *name)
{
    const char *set_to = gp_options_text(o, option);
    char *path;

    if (set_to != NULL)
        return strdup(set_to);
    path = folder != NULL ? joined(folder, name) : NULL;
    if (path != NULL && access(path, R_OK) != 0) {
        free(path);
        path = NULL;
    }
    return path;
}

static char *
text_copy(const struct gp_options *o, const char *option)
{
    const char *text = gp_options_text(o, option);

    return text != NULL ? strdup(text) : NULL;
}

static enum gp_status
take_directory(const struct gp_options *o, struct fe_config *config)
{
    for (size_t i = 0; i < gp_options_count(o, "etcd") && i < FE_SERVERS_MAX; i++) {
        config->etcd[i] = strdup(gp_options_at(o, "etcd", i));
        if (config->etcd[i] == NULL)
            return GP_ERR_NO_MEMORY;
        config->etcd_count++;
    }
    config->etcd_ca = text_copy(o, "etcd-ca");
    config->etcd_cert = text_copy(o, "etcd-cert");
    config->etcd_key = text_copy(o, "etcd-key");
    config->notice_hook = text_copy(o, "notice-hook");
    config->etcd_user = text_copy(o, "etcd-user");
    config->etcd_password_file = text_copy(o, "etcd-password-file");
    return GP_OK;
}

/* The lines of a file, where no server is named otherwise. */
static enum gp_status
take_servers_file(const struct gp_options *o, struct fe_config *config)
{
    size_t count = 0;
    enum gp_status status;

    if (config->server_count > 0 || !gp_options_is_set(o, "servers-file"))
        return GP_OK;
    status =
        fe_servers_read(gp_options_text(o, "servers-file"), config->lines, FE_SERVERS_MAX, &count);
    for (size_t i = 0; status == GP_OK && i < count; i++) {
        config->servers[i] = strdup(config->lines[i].url);
        if (config->servers[i] == NULL)
            return GP_ERR_NO_MEMORY;
        config->server_count++;
    }
    return status;
}

static enum gp_status
take_fabrics(const struct gp_options *o, struct fe_socket *to)
{
    size_t count = gp_options_count(o, "rdma-fabric");

    if (count > FE_FABRICS_MAX) {
        log_error("%s: at most %d of them", gp_options_where(o, "rdma-fabric"), FE_FABRICS_MAX);
        return GP_ERR_INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = gp_options_at(o, "rdma-fabric", i);

        if (strlen(text) > FE_FABRIC_MAX || tp_rdma_fabric_check(text) != GP_OK) {
            log_error("%s: \"%s\" is no device, port or network",
                      gp_options_where(o, "rdma-fabric"), text);
            return GP_ERR_INVALID;
        }
        snprintf(to->fabrics[i], sizeof(to->fabrics[i]), "%s", text);
    }
    to->rdma_ports = (uint32_t)gp_min_u64(gp_options_u64(o, "rdma-ports"), UINT32_MAX);
    return GP_OK;
}

static enum gp_status
take_socket(const struct gp_options *o, struct fe_socket *to)
{
    const char *congestion = gp_options_text(o, "tcp-congestion");

    if (congestion != NULL &&
        (strlen(congestion) >= sizeof(to->congestion) || !tp_congestion_known(congestion))) {
        log_error("%s: \"%s\" is no congestion control here: see sysctl "
                  "net.ipv4.tcp_allowed_congestion_control",
                  gp_options_where(o, "tcp-congestion"), congestion);
        return GP_ERR_INVALID;
    }
    snprintf(to->congestion, sizeof(to->congestion), "%s", congestion != NULL ? congestion : "");
    to->send_buffer_bytes = (uint32_t)gp_min_u64(gp_options_u64(o, "tcp-send-buffer"), INT32_MAX);
    to->recv_buffer_bytes = (uint32_t)gp_min_u64(gp_options_u64(o, "tcp-recv-buffer"), INT32_MAX);
    to->keepalive_s = (uint32_t)gp_min_u64(
        (gp_options_u64(o, "tcp-keepalive") + GP_NS_PER_S - 1) / GP_NS_PER_S, INT16_MAX);
    to->kernel_tls = gp_options_flag(o, "tls-kernel");
    to->rekey_bytes = gp_options_u64(o, "tls-rekey");
    to->lines = (uint32_t)gp_min_u64(gp_options_u64(o, "lines"), UINT32_MAX);
    to->lines_after = gp_options_u64(o, "lines-after");
    return take_fabrics(o, to);
}

/* One server, or several that are used together. */
static enum gp_status
take_group(struct fe_config *config, const char *text)
{
    for (bool first = true; text != NULL; first = false) {
        size_t len = gp_url_group_next(text), at = config->server_count;

        if (at == FE_SERVERS_MAX)
            return GP_ERR_LIMIT;
        config->servers[at] = strndup(text, len);
        if (config->servers[at] == NULL)
            return GP_ERR_NO_MEMORY;
        config->together[at] = !first;
        config->server_count++;
        text = text[len] != '\0' ? text + len + 1 : NULL;
    }
    return GP_OK;
}

static enum gp_status
take_values(const struct gp_options *o, const char *home, struct fe_config *config)
{
    GP_AUTO_FREE char *folder = certs_folder(config, home);
    size_t i, n = gp_options_count(o, "server");
    enum gp_status status = GP_OK;

    for (i = 0; i < n && status == GP_OK; i++)
        status = take_group(config, gp_options_at(o, "server", i));
    if (status == GP_ERR_LIMIT) {
        log_error("%s: more than %d servers", gp_options_where(o, "server"), FE_SERVERS_MAX);
        return GP_ERR_INVALID;
    }
    if (status != GP_OK)
        return status;
    status = take_servers_file(o, config);
    if (status == GP_OK)
        status = take_directory(o, config);
    if (status != GP_OK)
        return status;
    config->has_need = fe_need_fill(o, &config->need, &status);
    if (status != GP_OK)
        return status;
    config->wait_ns = gp_options_u64(o, "wait");
    config->content = gp_options_flag(o, "content-cache");
    config->managed_wait_ns = gp_options_u64(o, "managed-wait");
    config->cert = path_of(o, "cert", folder, "client.crt");
    config->key = path_of(o, "key", folder, "client.key");
    config->ca = path_of(o, "ca", folder, "ca.crt");
    if (take_socket(o, &config->socket) != GP_OK)
        return GP_ERR_INVALID;
    return config->server_count > 0 ? GP_OK : GP_ERR_NOT_FOUND;
}

enum gp_status
fe_config_load(struct fe_config *config)
{
    GP_AUTO_FREE char *home = home_folder();
    struct gp_options *o;
    enum gp_status status;

    memset(config, 0, sizeof(*config));
    status = gp_options_create(&fe_config_options, &o);
    if (status != GP_OK)
        return status;
    status = load_file(o, home, config);
    if (status == GP_OK)
        status = gp_options_load_env(o);
    if (status == GP_OK)
        status = take_values(o, home, config);
    gp_options_destroy(o);
    return status;
}

size_t
fe_config_choices(const struct fe_config *config, size_t from)
{
    size_t choices = 0;

    for (size_t i = from; i < config->server_count; i++)
        choices += i == from || !config->together[i];
    return choices;
}

void
fe_config_fini(struct fe_config *config)
{
    size_t i;

    for (i = 0; i < config->server_count; i++)
        free(config->servers[i]);
    for (i = 0; i < config->etcd_count; i++)
        free(config->etcd[i]);
    free(config->etcd_ca);
    free(config->etcd_cert);
    free(config->etcd_key);
    free(config->notice_hook);
    free(config->etcd_user);
    free(config->etcd_password_file);
    free(config->cert);
    free(config->key);
    free(config->ca);
    free(config->file);
}
