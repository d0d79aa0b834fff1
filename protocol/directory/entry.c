/* protocol/directory/entry.c */
#include "protocol/directory/entry.h"

#include "protocol/directory/number.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- writing ----------------------------------------------------------------------------------- */

static void
part_put(char *out, size_t bytes, const char *text)
{
    size_t at = strlen(out);

    for (; *text != '\0' && at + 2 < bytes; text++)
        out[at++] = *text == '/' || (unsigned char)*text <= ' ' || *text == 0x7f ? '_' : *text;
    out[at] = '\0';
}

bool
dir_server_key(const struct place_server *server, char out[DIR_KEY_BYTES])
{
    snprintf(out, DIR_KEY_BYTES, DIR_PREFIX);
    part_put(out, DIR_KEY_BYTES, server->region[0] != '\0' ? server->region : "default");
    strncat(out, "/", DIR_KEY_BYTES - strlen(out) - 1);
    part_put(out, DIR_KEY_BYTES, server->name);
    return strlen(out) + 2 < DIR_KEY_BYTES && server->name[0] != '\0';
}

static json_t *
labels_object(const char *const *labels)
{
    json_t *object = json_object();

    for (; labels != NULL && *labels != NULL; labels++) {
        const char *equals = strchr(*labels, '=');
        char name[PLACE_TEXT];

        if (equals == NULL || (size_t)(equals - *labels) >= sizeof(name))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)(equals - *labels), *labels);
        json_object_set_new(object, name, json_string(equals + 1));
    }
    return object;
}

static json_t *
gpus_array(const struct place_server *server)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < server->gpu_count; i++) {
        const struct place_gpu *g = &server->gpus[i];

        json_array_append_new(
            array, json_pack("{s:s,s:s,s:I,s:I,s:i,s:i,s:s}", "uuid", g->uuid, "model", g->model,
                             "total", (json_int_t)g->total_bytes, "free", (json_int_t)g->free_bytes,
                             "share", (int)g->share_free, "sessions", (int)g->sessions, "health",
                             g->healthy ? "ok" : "bad"));
    }
    return array;
}

char *
dir_server_value(const struct place_server *server, const struct dir_about *about)
{
    json_t *object =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:I,s:b,s:s,s:s,s:o,s:o}", "name", server->name,
                  "region", server->region, "zone", server->zone, "urls", server->urls, "cost",
                  server->cost == PLACE_CLOUD ? "cloud" : "onprem", "state",
                  server->draining ? "draining" : "serving", "sessions", (int)server->sessions,
                  "sessions_max", (int)server->sessions_max, "opened", (json_int_t)server->opened,
                  "software", about->software, "version", about->version, "driver", about->driver,
                  "labels", labels_object(about->labels), "gpus", gpus_array(server));
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    json_decref(object);
    return text;
}

/* -- reading ----------------------------------------------------------------------------------- */

void
dir_servers_fini(struct dir_servers *servers)
{
    free(servers->list);
    *servers = (struct dir_servers){0};
}

static struct place_server *
server_add(struct dir_servers *servers)
{
    struct place_server *server;

    if (servers->count == servers->capacity) {
        size_t capacity = servers->capacity != 0 ? servers->capacity * 2 : 16;
        struct place_server *list = realloc(servers->list, capacity * sizeof(*list));

        if (list == NULL)
            return NULL;
        servers->list = list;
        servers->capacity = capacity;
    }
    server = &servers->list[servers->count++];
    memset(server, 0, offsetof(struct place_server, gpus));
    server->rtt_ns = UINT64_MAX;
    return server;
}

/* The next part of a key; false if there is none, or it is too long. */
static bool
part_take(const char **at, char *out, size_t bytes)
{
    size_t n = strcspn(*at, "/");

    if (n == 0 || n >= bytes)
        return false;
    memcpy(out, *at, n);
    out[n] = '\0';
    *at += n + ((*at)[n] == '/');
    return true;
}

static void
text_take(const json_t *object, const char *name, char *out, size_t bytes)
{
    const char *text = json_string_value(json_object_get(object, name));

    snprintf(out, bytes, "%s", text != NULL ? text : "");
    for (char *c = out; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
}

static void
gpu_take(struct place_gpu *gpu, const json_t *value)
{
    char health[16];

    text_take(value, "uuid", gpu->uuid, sizeof(gpu->uuid));
    text_take(value, "model", gpu->model, sizeof(gpu->model));
    text_take(value, "health", health, sizeof(health));
    gpu->healthy = strcmp(health, "ok") == 0;
    gpu->total_bytes = dir_number(value, "total", UINT64_MAX);
    gpu->free_bytes = dir_number(value, "free", gpu->total_bytes);
    gpu->share_free = (uint32_t)dir_number(value, "share", 100);
    gpu->sessions = (uint32_t)dir_number(value, "sessions", UINT32_MAX);
}

static void
server_take(struct place_server *server, const json_t *value)
{
    const json_t *gpus = json_object_get(value, "gpus");
    char text[PLACE_TEXT];

    text_take(value, "zone", server->zone, sizeof(server->zone));
    text_take(value, "urls", server->urls, sizeof(server->urls));
    text_take(value, "cost", text, sizeof(text));
    server->cost = strcmp(text, "cloud") == 0 ? PLACE_CLOUD : PLACE_ONPREM;
    text_take(value, "state", text, sizeof(text));
    server->draining = strcmp(text, "serving") != 0;
    server->sessions = (uint32_t)dir_number(value, "sessions", UINT32_MAX);
    server->sessions_max = (uint32_t)dir_number(value, "sessions_max", UINT32_MAX);
    server->opened = dir_number(value, "opened", UINT64_MAX);
    while (server->gpu_count < PLACE_GPUS_MAX && server->gpu_count < json_array_size(gpus)) {
        gpu_take(&server->gpus[server->gpu_count], json_array_get(gpus, server->gpu_count));
        server->gpu_count++;
    }
}

enum gp_status
dir_servers_take(struct dir_servers *servers, const char *key, const char *text)
{
    char region[PLACE_TEXT], name[PLACE_TEXT];
    const char *at = key + strlen(DIR_PREFIX);
    enum gp_status status = GP_OK;
    struct place_server *server;
    json_t *value;

    if (strncmp(key, DIR_PREFIX, strlen(DIR_PREFIX)) != 0 ||
        !part_take(&at, region, sizeof(region)) || !part_take(&at, name, sizeof(name)) ||
        *at != '\0')
        return GP_ERR_INVALID;
    value = json_loads(text, 0, NULL);
    if (!json_is_object(value)) {
        json_decref(value);
        return GP_ERR_INVALID;
    }
    server = server_add(servers);
    if (server != NULL) {
        snprintf(server->region, sizeof(server->region), "%s", region);
        snprintf(server->name, sizeof(server->name), "%s", name);
        server_take(server, value);
        if (server->urls[0] == '\0') {
            servers->count--;
            status = GP_ERR_INVALID;
        }
    } else {
        status = GP_ERR_NO_MEMORY;
    }
    json_decref(value);
    return status;
}
