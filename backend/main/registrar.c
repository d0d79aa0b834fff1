/* backend/main/registrar.c */
#include "backend/main/registrar.h"

#include "backend/supervisor/admin.h"
#include "protocol/directory/entry.h"
#include "protocol/directory/etcd.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"
#include "protocol/wire/admin.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_NS    GP_NS_PER_S /* between two looks at the server, unless it tells of a change */
#define TOLD_NS    (GP_NS_PER_S / 4) /* between looks for changes, in the long run */
#define TOLD_MAX   8                 /* so many at once */
#define RETRY_NS   (2 * GP_NS_PER_S)
#define TTL_MIN_S  3
#define TTL_MAX_S  3600
#define SECRET_MAX 256

struct registrar {
    const struct gp_options *options;
    int fd; /* the supervisor's line */
    struct dir_etcd *etcd;
    const char *rules[64], *labels[64];
    char password[SECRET_MAX];
    uint64_t ttl_s, lease; /* 0: none */
    uint64_t keep_ns;      /* when to keep it alive again */
    bool troubled;         /* etcd did not answer, and that was said */
    uint64_t told_ns;      /* when looks for changes would be no faster than in the long run */
    char *written;         /* the value under the lease; NULL: none */
    struct place_server server;
    char software_driver[WIRE_TEXT_MAX + 1], version[WIRE_TEXT_MAX + 1];
    bool software;
};

/* -- options ----------------------------------------------------------------------------------- */

enum gp_status
be_registrar_check(const struct gp_options *options)
{
    uint64_t ttl = gp_options_u64(options, "etcd-ttl") / GP_NS_PER_S;

    if (!gp_options_is_set(options, "etcd"))
        return GP_OK;
    if (gp_options_count(options, "etcd") > DIR_ENDPOINTS_MAX) {
        log_error("%s: more than %d endpoints", gp_options_where(options, "etcd"),
                  DIR_ENDPOINTS_MAX);
        return GP_ERR_INVALID;
    }
    if (ttl < TTL_MIN_S || ttl > TTL_MAX_S) {
        log_error("%s: etcd-ttl is %d .. %d seconds", gp_options_where(options, "etcd-ttl"),
                  TTL_MIN_S, TTL_MAX_S);
        return GP_ERR_INVALID;
    }
    return GP_OK;
}

static void
list_of(const struct gp_options *options, const char *name, const char **list, size_t max)
{
    size_t n = 0;

    for (; n + 1 < max && n < gp_options_count(options, name); n++)
        list[n] = gp_options_at(options, name, n);
    list[n] = NULL;
}

/* The first line of a file that others cannot see on a command line. */
static void
password_read(struct registrar *r)
{
    const char *path = gp_options_text(r->options, "etcd-password-file");
    FILE *file = path != NULL ? fopen(path, "re") : NULL;

    if (path == NULL)
        return;
    if (file == NULL || fgets(r->password, sizeof(r->password), file) == NULL)
        log_error("registrar: %s: no password: %m", path);
    r->password[strcspn(r->password, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
}

static enum gp_status
etcd_open(struct registrar *r)
{
    struct dir_etcd_config config = {
        .ca = gp_options_text(r->options, "etcd-ca"),
        .cert = gp_options_text(r->options, "etcd-cert"),
        .key = gp_options_text(r->options, "etcd-key"),
        .user = gp_options_text(r->options, "etcd-user"),
        .password = r->password,
    };

    for (size_t i = 0; i < gp_options_count(r->options, "etcd"); i++)
        config.endpoints[config.endpoint_count++] = gp_options_at(r->options, "etcd", i);
    return dir_etcd_create(&config, &r->etcd);
}

/* -- the server as it is ----------------------------------------------------------------------- */

/* False: the supervisor is gone. */
static bool
state_ask(int fd, struct wire_admin_answer *answer_p)
{
    static const struct wire_admin_request request = {
        .what = WIRE_ADMIN_LIST,
        .parts = WIRE_ADMIN_GPUS | WIRE_ADMIN_TENANTS,
    };
    GP_AUTO_BUF struct gp_buf message = {0};
    GP_AUTO_FREE uint8_t *answer = NULL;
    size_t bytes;

    return wire_admin_request_encode(&request, &message) == GP_OK &&
           be_admin_exchange(fd, message.data, message.len, &answer, &bytes) == GP_OK &&
           wire_admin_answer_decode(answer, bytes, answer_p) == GP_OK;
}

/* Where clients reach us: what the operator says, else what we listen on, with our name where that
 * is every address. */
static void
urls_fill(struct registrar *r, const char *listening)
{
    char host[GP_URL_HOST_MAX + 1] = "localhost", text[GP_URL_TEXT_MAX + 1];
    struct gp_url urls[16];
    size_t count = 0, at = 0;

    (void)gethostname(host, sizeof(host) - 1);
    for (size_t i = 0; i < gp_options_count(r->options, "advertise") && i < 16; i++)
        if (gp_url_parse(gp_options_at(r->options, "advertise", i), &urls[count]) == GP_OK)
            count++;
    if (count == 0 && gp_url_list_parse(listening, urls, 16, &count) != GP_OK)
        count = 0;
    r->server.urls[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (strcmp(urls[i].host, "*") == 0 || strcmp(urls[i].host, "0.0.0.0") == 0 ||
            strcmp(urls[i].host, "::") == 0) {
            snprintf(urls[i].host, sizeof(urls[i].host), "%s", host);
            urls[i].is_ipv6 = false;
        }
        gp_url_format(&urls[i], text, sizeof(text));
        if (at + strlen(text) + 2 < sizeof(r->server.urls))
            at += (size_t)snprintf(r->server.urls + at, sizeof(r->server.urls) - at, "%s%s",
                                   i > 0 ? "," : "", text);
    }
}

static void
gpu_fill(struct registrar *r, const struct wire_admin_answer *a, uint32_t index)
{
    const struct wire_admin_gpu *from = &a->gpus[index];
    struct place_gpu *to = &r->server.gpus[index];
    uint32_t promised = 0;

    memset(to, 0, sizeof(*to));
    dir_model_key(from->name, r->rules, to->model);
    snprintf(to->uuid, sizeof(to->uuid), "%s", from->uuid);
    to->total_bytes = from->total_bytes;
    to->free_bytes =
        from->total_bytes > from->promised_bytes ? from->total_bytes - from->promised_bytes : 0;
    to->sessions = from->sessions;
    to->healthy = true;
    for (uint32_t t = 0; t < a->tenant_count; t++)
        for (uint32_t u = 0; u < a->tenants[t].use_count; u++)
            if (a->tenants[t].uses[u].gpu == index && a->tenants[t].uses[u].lease_bytes != 0)
                promised += a->tenants[t].share;
    to->share_free = promised < 100 ? 100 - promised : 0;
}

static void
server_fill(struct registrar *r, const struct wire_admin_answer *a)
{
    const char *region = gp_options_text(r->options, "region");
    const char *zone = gp_options_text(r->options, "zone");

    snprintf(r->server.name, sizeof(r->server.name), "%.*s", PLACE_TEXT - 1, a->server.name);
    snprintf(r->server.region, sizeof(r->server.region), "%.*s", PLACE_TEXT - 1, region);
    snprintf(r->server.zone, sizeof(r->server.zone), "%.*s", PLACE_TEXT - 1,
             zone != NULL ? zone : "");
    r->server.cost =
        strcmp(gp_options_text(r->options, "cost"), "cloud") == 0 ? PLACE_CLOUD : PLACE_ONPREM;
    r->server.draining = a->server.state != WIRE_ADMIN_SERVING;
    r->server.sessions = a->server.sessions;
    r->server.sessions_max = a->server.sessions_max;
    r->server.opened = a->server.ended + a->server.sessions;
    r->server.gpu_count = (uint32_t)gp_min_u64(a->gpu_count, PLACE_GPUS_MAX);
    for (uint32_t i = 0; i < r->server.gpu_count; i++)
        gpu_fill(r, a, i);
    urls_fill(r, a->server.urls);
    r->software = a->server.software;
    snprintf(r->software_driver, sizeof(r->software_driver), "%s", a->server.driver);
    snprintf(r->version, sizeof(r->version), "%s", a->server.build);
}

/* -- the directory ----------------------------------------------------------------------------- */

static void
trouble(struct registrar *r, const char *doing)
{
    if (!r->troubled)
        log_warn("registrar: %s: %s; sessions go on, it is tried again", doing,
                 dir_etcd_why(r->etcd));
    r->troubled = true;
}

static enum gp_status
lease_keep(struct registrar *r)
{
    uint64_t now = gp_now_ns(), left;
    enum gp_status status;

    if (r->lease != 0 && now < r->keep_ns)
        return GP_OK;
    if (r->lease != 0) {
        status = dir_etcd_keepalive(r->etcd, r->lease, &left);
        if (status == GP_ERR_NOT_FOUND) {
            log_warn("registrar: the lease is lost, a new one is taken");
            r->lease = 0;
        } else if (status != GP_OK) {
            return status;
        }
    }
    if (r->lease == 0) {
        free(r->written);
        r->written = NULL;
        status = dir_etcd_grant(r->etcd, r->ttl_s, &r->lease);
        if (status != GP_OK)
            return status;
    }
    r->keep_ns = now + r->ttl_s * GP_NS_PER_S / 3;
    return GP_OK;
}

static enum gp_status
entry_write(struct registrar *r)
{
    const struct dir_about about = {.version = r->version,
                                    .driver = r->software_driver,
                                    .labels = r->labels,
                                    .software = r->software};
    char *value = dir_server_value(&r->server, &about);
    enum gp_status status = value != NULL ? GP_OK : GP_ERR_NO_MEMORY;
    char key[DIR_KEY_BYTES];

    if (status == GP_OK && !dir_server_key(&r->server, key))
        status = GP_ERR_INVALID;
    if (status == GP_OK && (r->written == NULL || strcmp(r->written, value) != 0)) {
        status = dir_etcd_put(r->etcd, key, value, r->lease);
        if (status == GP_OK) {
            free(r->written);
            r->written = value;
            return GP_OK;
        }
    }
    free(value);
    return status;
}

static void
write_all(struct registrar *r)
{
    enum gp_status status = lease_keep(r);

    if (status == GP_OK)
        status = entry_write(r);
    if (status == GP_ERR_NOT_FOUND) /* it expired between the two */
        r->lease = 0;
    else if (status != GP_OK)
        trouble(r, "etcd");
    else if (r->troubled) {
        log_info("registrar: etcd is there again");
        r->troubled = false;
    }
}

/* -- the process ------------------------------------------------------------------------------- */

static volatile sig_atomic_t told; /* by the supervisor: places were taken, or became free */

static void
told_note(int number)
{
    (void)number;
    told = 1;
}

/* When a look for a change may be; it is counted when it is made. */
static uint64_t
told_when(const struct registrar *r)
{
    const uint64_t ahead = (TOLD_MAX - 1) * TOLD_NS;

    return r->told_ns > ahead ? r->told_ns - ahead : 0;
}

/* Until the next look; false: the supervisor closed the line. */
static bool
pause_until_next(struct registrar *r)
{
    uint64_t until = gp_now_ns() + (r->troubled ? RETRY_NS : LOOK_NS), now;
    struct pollfd line = {.fd = r->fd, .events = POLLIN | POLLRDHUP};
    sigset_t none;

    sigemptyset(&none);
    for (;;) {
        uint64_t next = told && !r->troubled ? gp_min_u64(until, told_when(r)) : until, left;
        struct timespec ts;

        now = gp_now_ns();
        if (now >= next)
            break;
        left = next - now;
        ts = gp_timespec(left);
        if (ppoll(&line, 1, &ts, &none) > 0)
            return false;
    }
    if (told)
        r->told_ns = gp_max_u64(r->told_ns, now) + TOLD_NS;
    told = 0;
    return true;
}

int
be_registrar_run(const struct gp_options *options, int fd)
{
    struct registrar *r = calloc(1, sizeof(*r));
    struct wire_admin_answer state;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN); /* the supervisor decides */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, told_note); /* heard in ppoll only */
    if (r == NULL || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return 1;
    r->options = options;
    r->fd = fd;
    r->ttl_s = gp_options_u64(options, "etcd-ttl") / GP_NS_PER_S;
    list_of(options, "model-key", r->rules, GP_ARRAY_LEN(r->rules));
    list_of(options, "label", r->labels, GP_ARRAY_LEN(r->labels));
    password_read(r);
    if (etcd_open(r) != GP_OK) {
        log_error("registrar: cannot begin");
        free(r);
        return 1;
    }
    while (state_ask(fd, &state)) {
        server_fill(r, &state);
        if (state.gpu_count > 0) /* else the driver is not loaded yet */
            write_all(r);
        wire_admin_answer_fini(&state);
        if (!pause_until_next(r))
            break;
    }
    if (r->lease != 0 && dir_etcd_revoke(r->etcd, r->lease) != GP_OK)
        log_debug("registrar: the lease is left to expire");
    free(r->written);
    dir_etcd_destroy(r->etcd);
    explicit_bzero(r, sizeof(*r));
    free(r);
    return 0;
}
