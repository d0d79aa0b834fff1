/* frontend/tool/directory.c */
#include "frontend/tool/directory.h"

#include "protocol/directory/entry.h"
#include "protocol/directory/etcd.h"
#include "protocol/directory/line.h"
#include "protocol/base/buf.h"
#include "protocol/base/log.h"
#include "protocol/base/random.h"
#include "protocol/base/util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS  3000
#define LINE_TTL_S  5
#define LINE_KEEP_S 2 /* a third of it, at the latest */
#define LINE_PREFIX "/gpupool/v1line/"
#define SECRET_MAX  256

static void
password_read(const char *path, char out[SECRET_MAX])
{
    FILE *file = path != NULL ? fopen(path, "re") : NULL;

    out[0] = '\0';
    if (path == NULL)
        return;
    if (file == NULL || fgets(out, SECRET_MAX, file) == NULL)
        log_error("etcd-password-file %s: no password: %m", path);
    out[strcspn(out, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
}

static enum gp_status
etcd_open(const struct fe_config *config, struct dir_etcd **etcd_p)
{
    char password[SECRET_MAX];
    struct dir_etcd_config to = {.ca = config->etcd_ca,
                                 .cert = config->etcd_cert,
                                 .key = config->etcd_key,
                                 .user = config->etcd_user,
                                 .password = password,
                                 .timeout_ms = TIMEOUT_MS};
    enum gp_status status;

    password_read(config->etcd_password_file, password);
    for (size_t i = 0; i < config->etcd_count; i++)
        to.endpoints[to.endpoint_count++] = config->etcd[i];
    status = dir_etcd_create(&to, etcd_p);
    explicit_bzero(password, sizeof(password));
    return status;
}

/* -- servers ----------------------------------------------------------------------------------- */

struct tool_line {
    struct dir_etcd *etcd;
    uint64_t lease; /* 0: none */
    const struct place_need *need;
    char servers[DIR_KEY_BYTES], prefix[256], key[320]; /* of the region's servers; ours */
    uint64_t revision;                                  /* of the position */
    bool served, aside;
    /* As the line was when the position was asked. */
    uint64_t before;
    bool seen;
    struct gp_buf going; /* what those wrote who were served, each with its 0 */
};

static void
servers_prefix(const struct fe_config *config, char out[DIR_KEY_BYTES])
{
    const char *region = config->need.region;

    snprintf(out, DIR_KEY_BYTES, DIR_PREFIX "%s%s", region, region[0] != '\0' ? "/" : "");
}

static void
entry(void *user, const char *key, const char *value, uint64_t created)
{
    (void)created;
    if (dir_servers_take(user, key, value) != GP_OK)
        log_debug("directory: %s is left out", key);
}

/* Those who were served and are on their way, as if they had come. */
static void
going_apply(const struct tool_line *line, struct dir_servers *servers)
{
    const char *at = (const char *)line->going.data;
    const char *end = at + line->going.len;

    for (; at < end; at += strlen(at) + 1)
        (void)dir_line_apply(at, line->need, servers->list, servers->count);
}

bool
tool_directory_read(const struct fe_config *config, struct tool_line *line,
                    struct tool_found *found)
{
    char prefix[DIR_KEY_BYTES];
    struct dir_servers servers = {0};
    struct dir_etcd *etcd = line != NULL ? line->etcd : NULL;
    enum gp_status status = line != NULL ? GP_OK : etcd_open(config, &etcd);

    if (status != GP_OK) {
        snprintf(found->why, sizeof(found->why), "directory: %s", gp_status_text(status));
        return false;
    }
    servers_prefix(config, prefix);
    status = dir_etcd_range(etcd, prefix, entry, &servers, NULL);
    if (status != GP_OK)
        snprintf(found->why, sizeof(found->why), "directory: %.250s", dir_etcd_why(etcd));
    if (line != NULL)
        going_apply(line, &servers);
    else
        dir_etcd_destroy(etcd);
    found->list = servers.list;
    found->count = servers.count;
    return status == GP_OK;
}

/* -- the line ---------------------------------------------------------------------------------- */

/* Who wants the same models waits in the same line. */
static void
line_key(const struct fe_config *config, struct tool_line *line)
{
    size_t at = (size_t)snprintf(line->prefix, sizeof(line->prefix), LINE_PREFIX);
    uint64_t number = 0;

    for (uint32_t i = 0; i < config->need.model_count && at + DIR_MODEL_BYTES + 2 < 256; i++)
        at += (size_t)snprintf(line->prefix + at, sizeof(line->prefix) - at, "%s%s",
                               i > 0 ? "," : "", config->need.models[i]);
    snprintf(line->prefix + at, sizeof(line->prefix) - at, "/");
    if (gp_random_bytes(&number, sizeof(number)) != GP_OK)
        number = (uint64_t)getpid();
    snprintf(line->key, sizeof(line->key), "%s%016" PRIx64, line->prefix, number);
}

static enum gp_status
line_enter(struct tool_line *line)
{
    enum gp_status status = dir_etcd_grant(line->etcd, LINE_TTL_S, &line->lease);

    line->aside = false;
    return status == GP_OK ? dir_etcd_put(line->etcd, line->key, DIR_LINE_WAITING, line->lease)
                           : status;
}

struct tool_line *
tool_line_join(const struct fe_config *config)
{
    struct tool_line *line = calloc(1, sizeof(*line));

    if (line == NULL || config->etcd_count == 0 || etcd_open(config, &line->etcd) != GP_OK) {
        free(line);
        return NULL;
    }
    line->need = &config->need;
    servers_prefix(config, line->servers);
    line_key(config, line);
    if (line_enter(line) == GP_OK)
        return line;
    log_info("no place in the line: %s", dir_etcd_why(line->etcd));
    tool_line_leave(line);
    return NULL;
}

static void
line_entry(void *user, const char *key, const char *value, uint64_t created)
{
    struct tool_line *line = user;

    (void)created; /* they come in this order */
    line->seen = line->seen || strcmp(key, line->key) == 0;
    switch (dir_line_apply(value, line->need, NULL, 0)) {
    case DIR_LINE_GOES:
        gp_buf_append(&line->going, value, strlen(value) + 1);
        break;
    case DIR_LINE_WAITS:
        line->before += !line->seen;
        break;
    case DIR_LINE_ASIDE:
        break;
    }
}

uint64_t
tool_line_position(struct tool_line *line)
{
    uint64_t ttl;
    enum gp_status status = dir_etcd_keepalive(line->etcd, line->lease, &ttl);

    if (status == GP_ERR_NOT_FOUND)
        status = line_enter(line); /* at the end again: we were away for too long */
    line->before = 0;
    line->seen = false;
    gp_buf_reset(&line->going);
    if (status == GP_OK)
        status = dir_etcd_range(line->etcd, line->prefix, line_entry, line, &line->revision);
    if (gp_buf_status(&line->going) != GP_OK)
        status = GP_ERR_NO_MEMORY;
    return status == GP_OK && line->seen ? line->before : UINT64_MAX;
}

bool
tool_line_aside(struct tool_line *line, bool aside)
{
    const char *value = aside ? DIR_LINE_STANDING_ASIDE : DIR_LINE_WAITING;

    if (line->aside == aside)
        return true;
    if (dir_etcd_put(line->etcd, line->key, value, line->lease) != GP_OK) {
        log_info("the line: %s", dir_etcd_why(line->etcd));
        return false;
    }
    line->aside = aside;
    return true;
}

bool
tool_line_wait(struct tool_line *line, bool servers, uint64_t timeout_ms)
{
    const char *const prefixes[] = {line->prefix, line->servers};
    enum gp_status status;

    if (timeout_ms > LINE_KEEP_S * 1000)
        timeout_ms = LINE_KEEP_S * 1000;
    status = dir_etcd_watch(line->etcd, prefixes, servers ? 2 : 1, line->revision, timeout_ms);
    if (status == GP_OK || status == GP_ERR_TIMEOUT)
        return true;
    log_info("the line: %s", dir_etcd_why(line->etcd));
    return false;
}

void
tool_line_served(struct tool_line *line, const struct tool_found *found)
{
    size_t count = found->together > 0 ? found->together : 1;
    GP_AUTO_FREE char *value = dir_line_value(line->need, found->list, found->order, count);

    if (value == NULL || dir_etcd_put(line->etcd, line->key, value, line->lease) != GP_OK)
        log_info("the line: %s",
                 dir_etcd_why(line->etcd)); /* we are before them until it expires */
    line->served = true;
}

void
tool_line_leave(struct tool_line *line)
{
    if (line == NULL)
        return;
    if (!line->served && line->lease != 0 && dir_etcd_revoke(line->etcd, line->lease) != GP_OK)
        log_debug("the line: our place is left to expire");
    dir_etcd_destroy(line->etcd);
    gp_buf_fini(&line->going);
    free(line);
}
