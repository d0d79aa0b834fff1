/* frontend/tool/doctor.c -- gpupool doctor: what stands between a program here and the pool
 *
 * Each check says what it found, and where that is a fault, what to do. Later checks that need an
 * earlier one are left out, so that one fault is told once.
 */
#include "frontend/tool/tool.h"

#include "frontend/core/config.h"
#include "frontend/core/connect.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"
#include "transport/tls/look.h"
#include "transport/transport.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define DAY_S          86400
#define SOON_DAYS      14
#define FILES_NEEDED   1024
#define MEMLOCK_NEEDED (64ull << 20) /* registered buffers of one session */

static const struct gp_option options[] = {
    TOOL_CLIENT_OPTIONS,
    {"infiniband", "PATH", GP_OPT_PATH, "/dev/infiniband", "where RDMA devices are"},
    {NULL},
};
static const struct gp_option_set set = {"gpupool doctor", "", NULL, NULL, options};
static const char examples[] =
    "\nLooks at the configuration, certificates, limits, and at every server: name, port, TLS, "
    "version,\ntenant. Each fault is told with what to do about it.\n\nExamples:\n"
    "  gpupool doctor\n"
    "  gpupool doctor --server tls://gpu1.example:7470\n"
    "Exit code 0: nothing is wrong (warnings count as nothing), 1: a fault, 2: wrong usage.\n";

struct doctor {
    unsigned faults, warnings;
};

/* -- telling ----------------------------------------------------------------------------------- */

static void tell(const char *mark, const char *remedy, const char *fmt, va_list args);
static void good(const char *fmt, ...) GP_PRINTF(1, 2);
static void warning(struct doctor *d, const char *remedy, const char *fmt, ...) GP_PRINTF(3, 4);
static bool fault(struct doctor *d, const char *remedy, const char *fmt, ...) GP_PRINTF(3, 4);

static void
tell(const char *mark, const char *remedy, const char *fmt, va_list args)
{
    printf("%-6s", mark);
    vprintf(fmt, args);
    putchar('\n');
    if (remedy != NULL && remedy[0] != '\0')
        printf("      remedy: %s\n", remedy);
}

static void
good(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tell("ok", NULL, fmt, args);
    va_end(args);
}

static void
warning(struct doctor *d, const char *remedy, const char *fmt, ...)
{
    va_list args;

    d->warnings++;
    va_start(args, fmt);
    tell("warn", remedy, fmt, args);
    va_end(args);
}

static bool
fault(struct doctor *d, const char *remedy, const char *fmt, ...)
{
    va_list args;

    d->faults++;
    va_start(args, fmt);
    tell("FAULT", remedy, fmt, args);
    va_end(args);
    return false;
}

/* -- the configuration ------------------------------------------------------------------------- */

static char log_text[512]; /* the first line that the configuration's reader had to say */

static void
log_keep(enum gp_log_level level, const char *text)
{
    (void)level;
    if (log_text[0] == '\0')
        snprintf(log_text, sizeof(log_text), "%s", text);
}

static bool
check_config(struct doctor *d, struct fe_config *config)
{
    enum gp_status status;

    gp_log_set_sink(log_keep);
    status = fe_config_load(config);
    gp_log_set_sink(NULL);
    if (status == GP_ERR_NOT_FOUND && config->etcd_count > 0) {
        good("configuration: %s, the directory knows the servers (gpupool place asks it)",
             config->file != NULL ? config->file : "the environment");
        return true;
    }
    if (status == GP_ERR_NOT_FOUND)
        return fault(d,
                     "name one: --server tls://HOST:7470, GPUPOOL_SERVER, or server = ... under "
                     "[client] in ~/.config/gpupool/client.ini",
                     "configuration: no server is named");
    if (status != GP_OK)
        return fault(d, "correct that line; gpupool run --help lists what there is",
                     "configuration: %s", log_text[0] != '\0' ? log_text : gp_status_text(status));
    good("configuration: %s, %zu servers", config->file != NULL ? config->file : "the environment",
         config->server_count);
    return true;
}

/* -- certificates ------------------------------------------------------------------------------ */

/* What begins as tls:// does, too. */
static bool
uses_certs(const char *server)
{
    static const char *const schemes[] = {"tls:", TP_SCHEME_BEST ":", "rdma:"};

    for (size_t i = 0; i < GP_ARRAY_LEN(schemes); i++)
        if (strncmp(server, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return false;
}

static bool
needs_certs(const struct fe_config *config)
{
    for (size_t i = 0; i < config->server_count; i++)
        if (uses_certs(config->servers[i]))
            return true;
    return config->etcd_count > 0;
}

static bool
check_dates(struct doctor *d, const char *what, const char *path, const struct tp_cert_look *look)
{
    int64_t now = (int64_t)time(NULL);
    char remedy[512];

    if (look->until_s < now) {
        snprintf(remedy, sizeof(remedy),
                 "get a new one from who signed it (a laboratory's: gpupool certs), or set this "
                 "machine's clock");
        return fault(d, remedy, "%s %s: expired %" PRId64 " days ago", what, path,
                     (now - look->until_s) / DAY_S);
    }
    if (look->from_s > now)
        return fault(d, "set this machine's clock: timedatectl set-ntp true",
                     "%s %s: is valid only in %" PRId64 " minutes", what, path,
                     (look->from_s - now) / 60 + 1);
    if (look->until_s - now < SOON_DAYS * DAY_S)
        warning(d, "get a new one from who signed it", "%s %s: expires in %" PRId64 " days", what,
                path, (look->until_s - now) / DAY_S);
    return true;
}

static bool
check_file(struct doctor *d, const char *what, const char *option, const char *path,
           struct tp_cert_look *look)
{
    char remedy[256];

    snprintf(remedy, sizeof(remedy), "set %s (--%s, GPUPOOL_%s), or put %s beside client.ini",
             option, option, strcmp(option, "ca") == 0 ? "CA" : "CERT",
             strcmp(option, "ca") == 0 ? "ca.crt" : "client.crt");
    if (path == NULL)
        return fault(d, remedy, "%s: none is given", what);
    switch (tp_cert_look(path, look)) {
    case GP_OK:
        return true;
    case GP_ERR_NOT_FOUND:
        return fault(d, remedy, "%s %s: no such file", what, path);
    case GP_ERR_IO:
        return fault(d, "make it readable for you, or use another", "%s %s: %s", what, path,
                     strerror(errno));
    default:
        return fault(d, "it must be PEM: -----BEGIN CERTIFICATE-----", "%s %s: no certificate",
                     what, path);
    }
}

static bool
check_key(struct doctor *d, const struct fe_config *config)
{
    struct stat st;

    if (config->key == NULL)
        return fault(d, "set key (--key, GPUPOOL_KEY), or put client.key beside client.ini",
                     "private key: none is given");
    switch (tp_cert_key_check(config->cert, config->key)) {
    case GP_OK:
        break;
    case GP_ERR_NOT_FOUND:
        return fault(d, "set key (--key, GPUPOOL_KEY) to where it is",
                     "private key %s: no such file", config->key);
    case GP_ERR_IO:
        return fault(d, "make it readable for you and nobody else: chmod 600", "private key %s: %s",
                     config->key, strerror(errno));
    case GP_ERR_AUTH:
        return fault(d, "give certificate and key that were made together",
                     "private key %s: does not belong to certificate %s", config->key,
                     config->cert);
    default:
        return fault(d, "it must be PEM and have no password: openssl pkey -in KEY -out NEW",
                     "private key %s: no key that can be read", config->key);
    }
    if (stat(config->key, &st) == 0 && (st.st_mode & 0077) != 0) {
        char remedy[512];

        snprintf(remedy, sizeof(remedy), "chmod 600 %s", config->key);
        warning(d, remedy, "private key %s: others can read or change it (mode %03o)", config->key,
                st.st_mode & 0777);
    }
    return true;
}

static bool
check_certs(struct doctor *d, const struct fe_config *config)
{
    struct tp_cert_look cert, ca;
    bool ok;

    ok = check_file(d, "certificate", "cert", config->cert, &cert) &&
         check_dates(d, "certificate", config->cert, &cert);
    if (ok && !cert.for_client)
        ok = fault(d, "ask for one with extended key usage clientAuth",
                   "certificate %s: not made for clients", config->cert);
    ok = ok && check_key(d, config);
    if (ok)
        good("certificate: %s, of %s", config->cert, cert.name);
    if (!check_file(d, "authority", "ca", config->ca, &ca) ||
        !check_dates(d, "authority", config->ca, &ca))
        return false;
    if (!ca.is_ca)
        return fault(d, "give the certificate of who signs servers, not a server's own",
                     "authority %s: it is no authority's certificate", config->ca);
    good("authority: %s, %s", config->ca, ca.name);
    if (ok && tp_cert_signed_check(config->cert, config->ca) != GP_OK)
        warning(d, "fine if the servers know another authority for clients; else get one from it",
                "certificate %s: not signed by %s", config->cert, config->ca);
    return ok;
}

/* -- servers ----------------------------------------------------------------------------------- */

static const char *
remedy_of(CUresult cr, const char *why)
{
    if (strstr(why, "drains it") != NULL || strstr(why, "as many sessions") != NULL)
        return "name a further server, or come back later";
    if (strstr(why, "no RDMA device") != NULL)
        return "use gpupool:// or tls:// from here, or load the device's driver";
    if (strstr(why, "revoked") != NULL)
        return "have the pool's operator issue a new certificate";
    if (strstr(why, "wire format") != NULL || strstr(why, "version") != NULL)
        return "install the same version on both sides (gpupool version, gpupoold --version)";
    if (strstr(why, "tenant") != NULL)
        return "the pool's operator adds your certificate's name to a [tenant]'s match";
    if (cr == CUDA_ERROR_NOT_PERMITTED)
        return "certificates: the server's must be signed by your ca and carry the name you "
               "connect to, yours by the server's tls-ca";
    if (strstr(why, "listens") != NULL || strstr(why, "refused") != NULL)
        return "start gpupoold there (systemctl start gpupoold), or correct the port";
    if (strstr(why, "no such host") != NULL || strstr(why, "address") != NULL ||
        strstr(why, "resolve") != NULL || strstr(why, "unknown") != NULL)
        return "correct the name, or add it to DNS or /etc/hosts";
    if (strstr(why, "unreachable") != NULL || strstr(why, "No route") != NULL)
        return "no way leads there from here: check network, routes and VPN";
    if (strstr(why, "time") != NULL)
        return "a firewall may drop it: open TCP port 7470 from here to the server";
    return "see the server's log: journalctl -u gpupoold";
}

static void
check_limits_of_tcp(struct doctor *d, const struct fe_config *config)
{
    for (size_t i = 0; i < config->server_count; i++) {
        struct gp_url url;

        if (gp_url_parse(config->servers[i], &url) != GP_OK || strcmp(url.scheme, "tcp") != 0)
            continue;
        if (strcmp(url.host, "localhost") != 0 && strncmp(url.host, "127.", 4) != 0 &&
            strcmp(url.host, "::1") != 0)
            (void)fault(d, "use tls://, here and on the server",
                        "%s: plain TCP is for this machine only", config->servers[i]);
    }
}

static bool
check_server(struct doctor *d, const struct fe_config *config, size_t which)
{
    GP_AUTO_FREE struct fe_monitor *monitor = calloc(1, sizeof(*monitor));
    char why[FE_WHY_BYTES] = "";
    uint64_t began = gp_now_ns();
    CUresult cr;

    if (monitor == NULL)
        return fault(d, "", "out of memory");
    gp_log_set_sink(log_keep);
    log_text[0] = '\0';
    cr = fe_connect_monitor(config, which, gp_now_ns() + 5 * GP_NS_PER_S, monitor, why);
    gp_log_set_sink(NULL);
    if (why[0] == '\0')
        snprintf(why, sizeof(why), "%s: %.300s", config->servers[which],
                 log_text[0] != '\0' ? log_text : "it does not answer");
    if (cr != CUDA_SUCCESS)
        return fault(d, remedy_of(cr, why), "server %s", why);
    good("server %s: %s, %s, CUDA %d.%d, %u devices, %s, opened in %.1f ms", config->servers[which],
         monitor->answer.server, monitor->answer.driver, monitor->answer.driver_version / 1000,
         monitor->answer.driver_version % 1000 / 10, monitor->answer.device_count,
         tp_scheme(monitor->lane), (double)(gp_now_ns() - began) / 1e6);
    if (monitor->answer.software)
        warning(d, "fine for tests; gpupoold --driver cuda uses GPUs",
                "server %s: it has no GPU and computes on its CPU", config->servers[which]);
    fe_monitor_close(monitor);
    return true;
}

/* -- this machine ------------------------------------------------------------------------------ */

static void
check_limits(struct doctor *d, const char *infiniband)
{
    struct rlimit files, locked;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max < FILES_NEEDED)
        (void)fault(d, "raise it: ulimit -n, or LimitNOFILE= of the service",
                    "limits: %llu open files", (unsigned long long)files.rlim_max);
    if (access(infiniband, F_OK) != 0) {
        good("RDMA: no device at %s, TLS is used", infiniband);
        return;
    }
    if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY &&
        locked.rlim_cur < MEMLOCK_NEEDED)
        (void)fault(d,
                    "unlimited is best: \"* - memlock unlimited\" in /etc/security/limits.d/, or "
                    "LimitMEMLOCK=infinity of the service",
                    "RDMA: only %llu KiB may be locked in memory",
                    (unsigned long long)locked.rlim_cur >> 10);
    else
        good("RDMA: %s is there, memory may be locked", infiniband);
}

static void
check_library(struct doctor *d)
{
    GP_AUTO_FREE char *folder = tool_place(TOOL_CLIENT);

    if (folder == NULL)
        (void)fault(d, "install gpupool-client again",
                    "client library: it is not where this command looks for it");
    else
        good("client library: %s", folder);
}

int
tool_doctor(int argc, char **argv)
{
    struct doctor d = {0};
    struct fe_config config;
    struct gp_options *o;
    size_t count = 0;
    int rc = tool_arguments(&set, examples, argc, argv, &o, NULL, 0, &count);

    if (rc >= 0)
        return rc;
    check_library(&d);
    check_limits(&d, gp_options_text(o, "infiniband"));
    if (check_config(&d, &config)) {
        bool certs = !needs_certs(&config) || check_certs(&d, &config);

        check_limits_of_tcp(&d, &config);
        for (size_t i = 0; i < config.server_count; i++)
            if (certs || !uses_certs(config.servers[i]))
                (void)check_server(&d, &config, i);
    }
    fe_config_fini(&config);
    printf("%u faults, %u warnings\n", d.faults, d.warnings);
    gp_options_destroy(o);
    return d.faults > 0 ? TOOL_FAILED : 0;
}
