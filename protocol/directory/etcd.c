/* protocol/directory/etcd.c */
#include "protocol/directory/etcd.h"

#include "protocol/directory/base64.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS       8000
#define CONNECT_MS       2000
#define ANSWER_BYTES_MAX ((size_t)256 << 20) /* of a range: some hundred thousand entries */
#define EVENT_BYTES_MAX  ((size_t)64 << 10)  /* of what is watched: more is a change anyway */

struct dir_etcd {
    CURL *curl, *watcher; /* watcher: NULL until something is watched */
    char *endpoints[DIR_ENDPOINTS_MAX];
    size_t endpoint_count, current;
    char *user, *password, *token;
    char why[320];
};

static enum gp_status fail(struct dir_etcd *e, enum gp_status status, const char *fmt, ...)
    GP_PRINTF(3, 4);

static enum gp_status
fail(struct dir_etcd *e, enum gp_status status, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(e->why, sizeof(e->why), fmt, args);
    va_end(args);
    return status;
}

const char *
dir_etcd_why(const struct dir_etcd *etcd)
{
    return etcd->why;
}

/* -- life -------------------------------------------------------------------------------------- */

static size_t
take_body(char *data, size_t one, size_t bytes, void *user)
{
    struct gp_buf *body = user;

    (void)one;
    gp_buf_append(body, data, bytes);
    return gp_buf_status(body) == GP_OK ? bytes : 0;
}

static void
curl_setup(CURL *curl, const struct dir_etcd_config *config)
{
    uint64_t timeout = config->timeout_ms != 0 ? config->timeout_ms : TIMEOUT_MS;

    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)gp_min_u64(timeout, CONNECT_MS));
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* etcd is inside */
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    if (config->ca != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, config->ca);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    if (config->cert != NULL)
        curl_easy_setopt(curl, CURLOPT_SSLCERT, config->cert);
    if (config->key != NULL)
        curl_easy_setopt(curl, CURLOPT_SSLKEY, config->key);
}

static char *
endpoint_copy(const char *url)
{
    size_t bytes = strlen(url);

    while (bytes > 0 && url[bytes - 1] == '/')
        bytes--;
    return strndup(url, bytes);
}

enum gp_status
dir_etcd_create(const struct dir_etcd_config *config, struct dir_etcd **etcd_p)
{
    struct dir_etcd *e = calloc(1, sizeof(*e));
    bool ok = e != NULL;

    if (!ok)
        return GP_ERR_NO_MEMORY;
    e->curl = curl_easy_init();
    for (size_t i = 0; i < config->endpoint_count && i < DIR_ENDPOINTS_MAX; i++) {
        e->endpoints[i] = endpoint_copy(config->endpoints[i]);
        ok = ok && e->endpoints[i] != NULL;
        e->endpoint_count++;
    }
    e->user = config->user != NULL ? strdup(config->user) : NULL;
    e->password = config->password != NULL ? strdup(config->password) : NULL;
    if (!ok || e->curl == NULL || e->endpoint_count == 0 ||
        (config->user != NULL && e->user == NULL)) {
        dir_etcd_destroy(e);
        return GP_ERR_NO_MEMORY;
    }
    curl_setup(e->curl, config);
    *etcd_p = e;
    return GP_OK;
}

static void
secret_free(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

void
dir_etcd_destroy(struct dir_etcd *etcd)
{
    if (etcd == NULL)
        return;
    curl_easy_cleanup(etcd->watcher);
    curl_easy_cleanup(etcd->curl);
    for (size_t i = 0; i < etcd->endpoint_count; i++)
        free(etcd->endpoints[i]);
    free(etcd->user);
    secret_free(etcd->password);
    secret_free(etcd->token);
    free(etcd);
}

/* -- one call ---------------------------------------------------------------------------------- */

static struct curl_slist *
headers_make(const struct dir_etcd *e)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char line[1024];

    if (e->token != NULL &&
        snprintf(line, sizeof(line), "Authorization: %s", e->token) < (int)sizeof(line))
        headers = curl_slist_append(headers, line);
    return headers;
}

/* What etcd says is wrong, and what that means for us. */
static enum gp_status
refusal(struct dir_etcd *e, const char *endpoint, long code, const json_t *answer)
{
    const char *text = json_string_value(json_object_get(answer, "error"));

    if (text == NULL)
        text = json_string_value(json_object_get(answer, "message"));
    if (text == NULL)
        text = "";
    (void)fail(e, GP_ERR_IO, "%s: HTTP %ld %.200s", endpoint, code, text);
    if (code == 404 && strstr(text, "lease not found") != NULL)
        return GP_ERR_NOT_FOUND;
    if (code == 401 || code == 403 || strstr(text, "auth token") != NULL ||
        strstr(text, "permission denied") != NULL || strstr(text, "user name is empty") != NULL ||
        strstr(text, "CommonName") != NULL)
        return GP_ERR_AUTH;
    return code >= 500 ? GP_ERR_IO : GP_ERR_PROTOCOL;
}

/* At one endpoint. */
static enum gp_status
ask_one(struct dir_etcd *e, const char *path, const char *body, json_t **answer_p)
{
    const char *endpoint = e->endpoints[e->current];
    char url[512], why[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = headers_make(e);
    GP_AUTO_BUF struct gp_buf text;
    enum gp_status status = GP_OK;
    json_t *answer = NULL;
    long code = 0;
    CURLcode rc;

    gp_buf_init(&text, ANSWER_BYTES_MAX);
    snprintf(url, sizeof(url), "%s/v3%s", endpoint, path);
    curl_easy_setopt(e->curl, CURLOPT_URL, url);
    curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(e->curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(e->curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(e->curl, CURLOPT_WRITEDATA, &text);
    rc = curl_easy_perform(e->curl);
    curl_easy_setopt(e->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    if (rc != CURLE_OK)
        return fail(e, GP_ERR_IO, "%s: %.250s", endpoint,
                    why[0] != '\0' ? why : curl_easy_strerror(rc));
    curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &code);
    answer = json_loadb((const char *)text.data, text.len, 0, NULL);
    if (code != 200)
        status = refusal(e, endpoint, code, answer);
    else if (!json_is_object(answer))
        status = fail(e, GP_ERR_PROTOCOL, "%s: an answer that is no JSON object", endpoint);
    if (status == GP_OK)
        *answer_p = answer;
    else
        json_decref(answer);
    return status;
}

/* At the one that answered last, then at the others. */
static enum gp_status
ask_any(struct dir_etcd *e, const char *path, const char *body, json_t **answer_p)
{
    enum gp_status status = GP_ERR_IO;

    for (size_t i = 0; i < e->endpoint_count; i++) {
        status = ask_one(e, path, body, answer_p);
        if (status != GP_ERR_IO)
            return status;
        e->current = (e->current + 1) % e->endpoint_count;
    }
    return status;
}

static enum gp_status
authenticate(struct dir_etcd *e)
{
    json_t *question =
        json_pack("{s:s,s:s}", "name", e->user, "password", e->password != NULL ? e->password : "");
    char *body = question != NULL ? json_dumps(question, JSON_COMPACT) : NULL;
    enum gp_status status = GP_ERR_NO_MEMORY;
    const char *token;
    json_t *answer;

    secret_free(e->token);
    e->token = NULL;
    if (body != NULL)
        status = ask_any(e, "/auth/authenticate", body, &answer);
    json_decref(question);
    secret_free(body);
    if (status != GP_OK)
        return status;
    token = json_string_value(json_object_get(answer, "token"));
    e->token = token != NULL ? strdup(token) : NULL;
    json_decref(answer);
    return e->token != NULL ? GP_OK : fail(e, GP_ERR_PROTOCOL, "etcd gave no token");
}

/* Takes question. *answer_p is the caller's. */
static enum gp_status
ask(struct dir_etcd *e, const char *path, json_t *question, json_t **answer_p)
{
    char *body = question != NULL ? json_dumps(question, JSON_COMPACT) : NULL;
    enum gp_status status = GP_OK;

    json_decref(question);
    if (body == NULL)
        return fail(e, GP_ERR_NO_MEMORY, "out of memory");
    if (e->user != NULL && e->token == NULL)
        status = authenticate(e);
    if (status == GP_OK)
        status = ask_any(e, path, body, answer_p);
    /* Tokens end with time, and with the member that gave them. */
    if (status == GP_ERR_AUTH && e->user != NULL && authenticate(e) == GP_OK)
        status = ask_any(e, path, body, answer_p);
    free(body);
    return status;
}

/* The same where the answer has nothing in it for us. */
static enum gp_status
tell(struct dir_etcd *e, const char *path, json_t *question)
{
    json_t *answer;
    enum gp_status status = ask(e, path, question, &answer);

    if (status == GP_OK)
        json_decref(answer);
    return status;
}

/* -- leases ------------------------------------------------------------------------------------ */

/* 64-bit numbers are strings in etcd's JSON. */
static uint64_t
number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    if (json_is_integer(value))
        return (uint64_t)json_integer_value(value);
    return json_is_string(value) ? strtoull(json_string_value(value), NULL, 10) : 0;
}

static json_t *
lease_question(uint64_t lease)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, lease);
    return json_pack("{s:s}", "ID", text);
}

enum gp_status
dir_etcd_grant(struct dir_etcd *etcd, uint64_t ttl_s, uint64_t *lease_p)
{
    json_t *answer;
    enum gp_status status =
        ask(etcd, "/lease/grant", json_pack("{s:I}", "TTL", (json_int_t)ttl_s), &answer);

    if (status != GP_OK)
        return status;
    *lease_p = number_of(answer, "ID");
    json_decref(answer);
    return *lease_p != 0 ? GP_OK : fail(etcd, GP_ERR_PROTOCOL, "etcd granted no lease");
}

enum gp_status
dir_etcd_keepalive(struct dir_etcd *etcd, uint64_t lease, uint64_t *ttl_s_p)
{
    json_t *answer;
    enum gp_status status = ask(etcd, "/lease/keepalive", lease_question(lease), &answer);

    if (status != GP_OK)
        return status;
    /* An expired one: success, and no TTL. */
    *ttl_s_p = number_of(json_object_get(answer, "result"), "TTL");
    json_decref(answer);
    return *ttl_s_p != 0 ? GP_OK : fail(etcd, GP_ERR_NOT_FOUND, "the lease has expired");
}

enum gp_status
dir_etcd_revoke(struct dir_etcd *etcd, uint64_t lease)
{
    return tell(etcd, "/lease/revoke", lease_question(lease));
}

/* -- keys -------------------------------------------------------------------------------------- */

static json_t *
base64_of(const void *data, size_t bytes)
{
    GP_AUTO_BUF struct gp_buf text = {0};

    dir_base64_put(&text, data, bytes);
    return gp_buf_status(&text) == GP_OK ? json_stringn((const char *)text.data, text.len) : NULL;
}

enum gp_status
dir_etcd_put(struct dir_etcd *etcd, const char *key, const char *value, uint64_t lease)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, lease);
    return tell(etcd, "/kv/put",
                json_pack("{s:o,s:o,s:s}", "key", base64_of(key, strlen(key)), "value",
                          base64_of(value, strlen(value)), "lease", text));
}

static bool
text_of(const json_t *kv, const char *name, struct gp_buf *out)
{
    const char *text = json_string_value(json_object_get(kv, name));

    gp_buf_reset(out);
    if (text != NULL && !dir_base64_take(text, out))
        return false;
    gp_buf_append(out, "", 1);
    return gp_buf_status(out) == GP_OK && strlen((const char *)out->data) == out->len - 1;
}

/* What the key after all that begin with prefix is; ours end with a slash. */
static json_t *
end_of(const char *prefix)
{
    GP_AUTO_FREE char *end = strdup(prefix);
    size_t bytes = strlen(prefix);

    if (end == NULL || bytes == 0)
        return NULL;
    end[bytes - 1]++;
    return base64_of(end, bytes);
}

enum gp_status
dir_etcd_range(struct dir_etcd *etcd, const char *prefix, dir_etcd_entry_fn entry, void *user,
               uint64_t *revision_p)
{
    GP_AUTO_BUF struct gp_buf key = {0}, value = {0};
    json_t *answer, *kv;
    enum gp_status status;
    size_t i;

    status = ask(etcd, "/kv/range",
                 json_pack("{s:o,s:o,s:b,s:s,s:s}", "key", base64_of(prefix, strlen(prefix)),
                           "range_end", end_of(prefix), "serializable", 1, "sort_target", "CREATE",
                           "sort_order", "ASCEND"),
                 &answer);
    if (status != GP_OK)
        return status;
    if (revision_p != NULL)
        *revision_p = number_of(json_object_get(answer, "header"), "revision");
    json_array_foreach(json_object_get(answer, "kvs"), i, kv)
    {
        if (text_of(kv, "key", &key) && text_of(kv, "value", &value))
            entry(user, (const char *)key.data, (const char *)value.data,
                  number_of(kv, "create_revision"));
    }
    json_decref(answer);
    return GP_OK;
}

/* -- watching ---------------------------------------------------------------------------------- */

/* A stream of JSON objects, one a line. */
struct watching {
    struct dir_etcd *etcd;
    struct gp_buf text;
    bool changed;
    enum gp_status status; /* of etcd's refusal */
};

/* True: that is what was waited for, or it is over. */
static bool
line_take(struct watching *w, const char *line, size_t bytes)
{
    json_t *object = json_loadb(line, bytes, 0, NULL);
    const json_t *result = json_object_get(object, "result");
    const char *why = json_string_value(json_object_get(result, "cancel_reason"));
    bool canceled = json_is_true(json_object_get(result, "canceled"));

    /* What is compacted has changed since. */
    w->changed = json_array_size(json_object_get(result, "events")) > 0 ||
                 (canceled && number_of(result, "compact_revision") != 0);
    if (!w->changed && (canceled || result == NULL))
        w->status = fail(w->etcd, GP_ERR_PROTOCOL, "nothing can be watched: %.200s",
                         why != NULL ? why : "etcd refuses it");
    json_decref(object);
    return w->changed || w->status != GP_OK;
}

/* For curl; less than it gives ends the request. */
static size_t
take_events(char *data, size_t one, size_t bytes, void *user)
{
    struct watching *w = user;
    const char *end;

    (void)one;
    gp_buf_append(&w->text, data, bytes);
    if (gp_buf_status(&w->text) != GP_OK) {
        w->changed = true;
        return 0;
    }
    while (w->text.len > 0 && (end = memchr(w->text.data, '\n', w->text.len)) != NULL) {
        size_t line = (size_t)(end - (const char *)w->text.data);

        if (line_take(w, (const char *)w->text.data, line))
            return 0;
        gp_buf_consume(&w->text, line + 1);
    }
    return bytes;
}

/* One request that watches all prefixes: a JSON object for each, one after the other. */
static enum gp_status
watch_question(const char *const *prefixes, size_t count, uint64_t revision, struct gp_buf *body)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, revision + 1);
    for (size_t i = 0; i < count; i++) {
        json_t *question = json_pack("{s:{s:o,s:o,s:s}}", "create_request", "key",
                                     base64_of(prefixes[i], strlen(prefixes[i])), "range_end",
                                     end_of(prefixes[i]), "start_revision", text);
        char *one = question != NULL ? json_dumps(question, JSON_COMPACT) : NULL;

        json_decref(question);
        if (one == NULL)
            return GP_ERR_NO_MEMORY;
        gp_buf_append_text(body, one);
        free(one);
    }
    gp_buf_append(body, "", 1);
    return gp_buf_status(body);
}

static enum gp_status
watch_at(struct dir_etcd *e, const char *body, uint64_t timeout_ms)
{
    struct curl_slist *headers = headers_make(e);
    struct watching w = {.etcd = e, .status = GP_OK};
    char url[512];
    long code = 0;
    CURLcode rc;

    gp_buf_init(&w.text, EVENT_BYTES_MAX);
    snprintf(url, sizeof(url), "%s/v3/watch", e->endpoints[e->current]);
    curl_easy_setopt(e->watcher, CURLOPT_URL, url);
    curl_easy_setopt(e->watcher, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(e->watcher, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(e->watcher, CURLOPT_WRITEFUNCTION, take_events);
    curl_easy_setopt(e->watcher, CURLOPT_WRITEDATA, &w);
    curl_easy_setopt(e->watcher, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    rc = curl_easy_perform(e->watcher);
    curl_slist_free_all(headers);
    gp_buf_fini(&w.text);
    curl_easy_getinfo(e->watcher, CURLINFO_RESPONSE_CODE, &code);
    if (w.changed)
        return GP_OK;
    if (w.status != GP_OK)
        return w.status;
    if (rc == CURLE_OPERATION_TIMEDOUT && code == 200)
        return GP_ERR_TIMEOUT;
    return fail(e, GP_ERR_IO, "%s: %s", url,
                rc != CURLE_OK ? curl_easy_strerror(rc) : "etcd watches no more");
}

enum gp_status
dir_etcd_watch(struct dir_etcd *etcd, const char *const *prefixes, size_t count, uint64_t revision,
               uint64_t timeout_ms)
{
    GP_AUTO_BUF struct gp_buf body = {0};
    enum gp_status status = watch_question(prefixes, count, revision, &body);

    if (status == GP_OK && etcd->watcher == NULL &&
        (etcd->watcher = curl_easy_duphandle(etcd->curl)) == NULL)
        status = GP_ERR_NO_MEMORY;
    if (status != GP_OK)
        return fail(etcd, status, "out of memory");
    status = watch_at(etcd, (const char *)body.data, timeout_ms);
    if (status == GP_ERR_IO)
        etcd->current = (etcd->current + 1) % etcd->endpoint_count;
    return status;
}
