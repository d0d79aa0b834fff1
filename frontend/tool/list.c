/* frontend/tool/list.c */
#include "frontend/tool/list.h"

#include "protocol/base/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct tool_column gpu_columns[] = {
    {"SERVER", "server", false},
    {"GPU", "index", false},
    {"MODEL", "model", false},
    {"MEMORY", "total_bytes", false},
    {"USED", "used_bytes", false},
    {"PROMISED", "promised_bytes", false},
    {"PAGED", "paged_bytes", true},
    {"SESSIONS", "sessions", false},
    {"TENANTS", "tenants", false},
    {"STATE", "state", false},
    {"CC", "compute_capability", true},
    {"SMS", "processors", true},
    {"PCI", "pci", true},
    {"UUID", "uuid", true},
    {0},
};
static const struct tool_column server_columns[] = {
    {"SERVER", "server", false},
    {"ADDRESS", "address", false},
    {"STATE", "state", false},
    {"GPUS", "gpus", false},
    {"MEMORY", "total_bytes", false},
    {"PROMISED", "promised_bytes", false},
    {"SESSIONS", "sessions", false},
    {"MAX", "sessions_max", true},
    {"UPTIME", "uptime_ms", false},
    {"DRIVER", "driver", true},
    {"CUDA", "cuda", true},
    {"BUILD", "build", true},
    {"PID", "pid", true},
    {"ACCEPTED", "accepted", true},
    {"REFUSED", "refused", true},
    {"DIED", "died", true},
    {"ERROR", "error", true},
    {0},
};
static const struct tool_column session_columns[] = {
    {"SESSION", "id", false},
    {"SERVER", "server", false},
    {"TENANT", "tenant", false},
    {"PROGRAM", "program", false},
    {"CLIENT", "address", false},
    {"STATE", "state", false},
    {"ACTIVITY", "activity", false},
    {"AGE", "age_ms", false},
    {"IDLE", "idle_ms", false},
    {"MEMORY", "used_bytes", false},
    {"GPUS", "gpus", false},
    {"LEASE", "lease_bytes", true},
    {"CALLS", "calls", true},
    {"WAITS", "waits", true},
    {"ERRORS", "errors", true},
    {"RECEIVED", "received_bytes", true},
    {"SENT", "sent_bytes", true},
    {"GPUDIRECT", "gpudirect_bytes", true},
    {"VIA", "transport", true},
    {"NAME", "common_name", true},
    {"PID", "pid", true},
    {"WORKER", "worker", true},
    {0},
};
static const struct tool_column tenant_columns[] = {
    {"TENANT", "tenant", false},
    {"SERVER", "server", false},
    {"PRIORITY", "priority", false},
    {"SHARE", "share", false},
    {"POLICY", "policy", true},
    {"FLOOR", "floor", true},
    {"SESSIONS", "sessions", false},
    {"MAX", "sessions_max", false},
    {"USED", "used_bytes", false},
    {"PROMISED", "promised_bytes", false},
    {"QUOTA/GPU", "quota_bytes", false},
    {"QUOTA", "quota_total_bytes", true},
    {"CALLS", "calls", true},
    {"RECEIVED", "received_bytes", true},
    {"SENT", "sent_bytes", true},
    {"ENDED", "sessions_ended", true},
    {"STATE", "state", true},
    {0},
};
static const struct {
    const char *many, *one;
    const struct tool_column *columns;
    uint32_t part;
} kinds[TOOL_KINDS] = {
    [TOOL_GPUS] = {"gpus", "gpu", gpu_columns, WIRE_ADMIN_GPUS},
    [TOOL_SERVERS] = {"servers", "server", server_columns, WIRE_ADMIN_GPUS},
    [TOOL_SESSIONS] = {"sessions", "session", session_columns, WIRE_ADMIN_SESSIONS},
    [TOOL_TENANTS] = {"tenants", "tenant", tenant_columns, WIRE_ADMIN_TENANTS},
};

bool
tool_kind_parse(const char *text, enum tool_kind *kind_p)
{
    for (int i = 0; i < TOOL_KINDS; i++) {
        if (strcmp(text, kinds[i].many) != 0 && strcmp(text, kinds[i].one) != 0)
            continue;
        *kind_p = (enum tool_kind)i;
        return true;
    }
    return false;
}

uint32_t
tool_kind_part(enum tool_kind kind)
{
    return kinds[kind].part;
}

static const char *
server_state(const struct wire_admin_server *server)
{
    static const char *const texts[] = {"serving", "draining", "stopping"};

    return server->state < GP_ARRAY_LEN(texts) ? texts[server->state] : "?";
}

static void
list_gpu(const struct wire_admin_answer *a, const struct wire_admin_gpu *gpu,
         struct tool_rows *rows)
{
    char text[32];

    tool_rows_text(rows, a->server.name);
    tool_rows_number(rows, TOOL_NUMBER, gpu->index);
    tool_rows_text(rows, gpu->name);
    tool_rows_number(rows, TOOL_BYTES, gpu->total_bytes);
    tool_rows_number(rows, TOOL_BYTES, gpu->used_bytes);
    tool_rows_number(rows, TOOL_BYTES, gpu->promised_bytes);
    tool_rows_number(rows, TOOL_BYTES, gpu->paged_bytes);
    tool_rows_number(rows, TOOL_NUMBER, gpu->sessions);
    tool_rows_number(rows, TOOL_NUMBER, gpu->tenants);
    tool_rows_text(rows, server_state(&a->server));
    snprintf(text, sizeof(text), "%u.%u", gpu->major, gpu->minor);
    tool_rows_text(rows, text);
    tool_rows_number(rows, TOOL_NUMBER, gpu->processors);
    tool_rows_text(rows, gpu->pci);
    tool_rows_text(rows, gpu->uuid);
}

/* One that did not answer too. */
static void
list_server(const struct tool_target *t, struct tool_rows *rows)
{
    const struct wire_admin_server none = {0}, *s = t->answered ? &t->answer.server : &none;
    uint64_t total = 0, promised = 0;
    char cuda[32] = "";

    for (uint32_t i = 0; t->answered && i < t->answer.gpu_count; i++) {
        total += t->answer.gpus[i].total_bytes;
        promised += t->answer.gpus[i].promised_bytes;
    }
    if (s->driver_version > 0)
        snprintf(cuda, sizeof(cuda), "%d.%d", s->driver_version / 1000,
                 s->driver_version % 1000 / 10);
    tool_rows_text(rows, s->name);
    tool_rows_text(rows, t->local && t->answered && s->urls[0] != '\0' ? s->urls : t->name);
    tool_rows_text(rows, t->answered ? server_state(s) : "unreachable");
    tool_rows_number(rows, TOOL_NUMBER, t->answered ? t->answer.gpu_count : 0);
    tool_rows_number(rows, TOOL_BYTES, total);
    tool_rows_number(rows, TOOL_BYTES, promised);
    tool_rows_number(rows, TOOL_NUMBER, s->sessions);
    tool_rows_number(rows, TOOL_NUMBER, s->sessions_max);
    tool_rows_number(rows, TOOL_AGE, s->now_ms > s->started_ms ? s->now_ms - s->started_ms : 0);
    tool_rows_text(rows, s->driver);
    tool_rows_text(rows, cuda);
    tool_rows_text(rows, s->build);
    tool_rows_number(rows, TOOL_NUMBER, s->pid);
    tool_rows_number(rows, TOOL_NUMBER, s->accepted);
    tool_rows_number(rows, TOOL_NUMBER, s->refused);
    tool_rows_number(rows, TOOL_NUMBER, s->died);
    tool_rows_text(rows, t->answered ? "" : t->why);
}

/* Of a tenant's session; a server from before they were told says nothing. */
static const char *
activity_text(uint32_t activity)
{
    static const char *const names[WIRE_ADMIN_ACTIVITIES] = {"", "active", "idle", "cold",
                                                             "reclaimable"};

    return activity < WIRE_ADMIN_ACTIVITIES ? names[activity] : "?";
}

static void
list_session(const struct wire_admin_answer *a, const struct wire_admin_session *s,
             struct tool_rows *rows)
{
    uint64_t lease = 0, now = a->server.now_ms;
    char id[32];

    for (uint32_t i = 0; i < s->use_count; i++)
        lease += s->uses[i].lease_bytes;
    snprintf(id, sizeof(id), "%016" PRIx64, s->id);
    tool_rows_text(rows, id);
    tool_rows_text(rows, a->server.name);
    tool_rows_text(rows, s->tenant);
    tool_rows_text(rows, s->program);
    tool_rows_text(rows, s->address);
    tool_rows_text(rows, s->state == WIRE_ADMIN_AWAY ? "away" : s->monitor ? "monitor" : "open");
    tool_rows_text(rows, activity_text(s->activity));
    tool_rows_number(rows, TOOL_AGE, now > s->opened_ms ? now - s->opened_ms : 0);
    tool_rows_number(rows, TOOL_AGE, s->idle_ms);
    tool_rows_number(rows, TOOL_BYTES, tool_used_sum(s->uses, s->use_count));
    tool_rows_number(rows, TOOL_NUMBER, s->use_count);
    tool_rows_number(rows, TOOL_BYTES, lease);
    tool_rows_number(rows, TOOL_NUMBER, tool_calls_sum(&s->counters));
    tool_rows_number(rows, TOOL_NUMBER, s->counters.waits);
    tool_rows_number(rows, TOOL_NUMBER, s->counters.errors);
    tool_rows_number(rows, TOOL_BYTES, s->counters.bytes_in);
    tool_rows_number(rows, TOOL_BYTES, s->counters.bytes_out);
    tool_rows_number(rows, TOOL_BYTES, s->counters.direct_bytes);
    tool_rows_text(rows, s->transport);
    tool_rows_text(rows, s->common_name);
    tool_rows_number(rows, TOOL_NUMBER, s->pid);
    tool_rows_number(rows, TOOL_NUMBER, s->worker);
}

static void
list_tenant(const struct wire_admin_answer *a, const struct wire_admin_tenant *t,
            struct tool_rows *rows)
{
    tool_rows_text(rows, t->name);
    tool_rows_text(rows, a->server.name);
    tool_rows_text(rows, t->priority);
    tool_rows_number(rows, TOOL_NUMBER, t->share);
    tool_rows_text(rows, t->force ? "force" : "soft");
    tool_rows_number(rows, TOOL_NUMBER, t->floor);
    tool_rows_number(rows, TOOL_NUMBER, t->sessions);
    tool_rows_number(rows, TOOL_NUMBER, t->sessions_max);
    tool_rows_number(rows, TOOL_BYTES, tool_used_sum(t->uses, t->use_count));
    tool_rows_number(rows, TOOL_BYTES, tool_promised_sum(t->uses, t->use_count));
    tool_rows_number(rows, TOOL_BYTES, t->memory_bytes);
    tool_rows_number(rows, TOOL_BYTES, t->memory_total_bytes);
    tool_rows_number(rows, TOOL_NUMBER, tool_calls_sum(&t->counters));
    tool_rows_number(rows, TOOL_BYTES, t->counters.bytes_in);
    tool_rows_number(rows, TOOL_BYTES, t->counters.bytes_out);
    tool_rows_number(rows, TOOL_NUMBER, t->sessions_ended);
    tool_rows_text(rows, t->gone ? "gone" : "");
}

void
tool_list(const struct tool_targets *targets, enum tool_kind kind, struct tool_rows *rows)
{
    tool_rows_init(rows, kinds[kind].columns);
    for (size_t i = 0; i < targets->count; i++) {
        const struct tool_target *t = &targets->list[i];
        const struct wire_admin_answer *a = &t->answer;

        if (kind == TOOL_SERVERS)
            list_server(t, rows);
        if (!t->answered)
            continue;
        for (uint32_t g = 0; kind == TOOL_GPUS && g < a->gpu_count; g++)
            list_gpu(a, &a->gpus[g], rows);
        for (uint32_t s = 0; kind == TOOL_SESSIONS && s < a->session_count; s++)
            list_session(a, &a->sessions[s], rows);
        for (uint32_t n = 0; kind == TOOL_TENANTS && n < a->tenant_count; n++)
            if (a->tenants[n].name[0] != '\0') /* else it is who belongs to none */
                list_tenant(a, &a->tenants[n], rows);
    }
}

static const char *
cell_of(const struct tool_rows *rows, size_t row, const char *key)
{
    for (size_t c = 0; c < rows->column_count; c++)
        if (strcmp(rows->columns[c].key, key) == 0 &&
            rows->cells[row * rows->column_count + c].text != NULL)
            return rows->cells[row * rows->column_count + c].text;
    return "";
}

bool
tool_list_is(const struct tool_rows *rows, enum tool_kind kind, size_t row, const char *name)
{
    const char *server = cell_of(rows, row, "server"), *uuid = cell_of(rows, row, "uuid");
    char place[300];

    switch (kind) {
    case TOOL_SERVERS:
        return strcmp(server, name) == 0 || strcmp(cell_of(rows, row, "address"), name) == 0;
    case TOOL_SESSIONS:
        return strcasecmp(cell_of(rows, row, "id"), name) == 0;
    case TOOL_TENANTS:
        return strcmp(cell_of(rows, row, "tenant"), name) == 0;
    default:
        snprintf(place, sizeof(place), "%s/%" PRIu64, server,
                 rows->cells[row * rows->column_count + 1].number);
        return strcmp(place, name) == 0 ||
               (strlen(name) > 4 && strncasecmp(uuid, name, strlen(name)) == 0);
    }
}
