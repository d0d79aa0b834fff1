/* backend/metrics/page.c */
#include "backend/metrics/page.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define IDLE_MS 60000 /* a session without a call for so long is idle */

struct page {
    const struct wire_admin_answer *a;
    struct gp_buf *out;
};

/* -- the format -------------------------------------------------------------------------------- */

static void
family(struct page *p, const char *name, const char *type, const char *help)
{
    gp_buf_printf(p->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: names come from certificates and configuration. */
static void
label_value(struct gp_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"')
            gp_buf_printf(out, "\\%c", *text);
        else if (*text == '\n')
            gp_buf_append_text(out, "\\n");
        else
            gp_buf_append(out, text, 1);
    }
}

/* Pairs of name and value up to NULL; a pair whose value is NULL is left out. */
static void
sample(struct page *p, const char *name, double value, ...)
{
    const char *label, *text, *separator = "{";
    va_list labels;

    gp_buf_append_text(p->out, name);
    va_start(labels, value);
    while ((label = va_arg(labels, const char *)) != NULL) {
        text = va_arg(labels, const char *);
        if (text == NULL)
            continue;
        gp_buf_printf(p->out, "%s%s=\"", separator, label);
        label_value(p->out, text);
        gp_buf_append_text(p->out, "\"");
        separator = ",";
    }
    va_end(labels);
    /* Bytes and counts are whole numbers, and stay so up to 2^53. */
    gp_buf_printf(p->out, "%s %.17g\n", separator[0] == ',' ? "}" : "", value);
}

#define SERVER(p) "server", (p)->a->server.name

/* -- the server -------------------------------------------------------------------------------- */

static void
server_page(struct page *p)
{
    static const char *const states[] = {"serving", "draining", "stopping"};
    const struct wire_admin_server *s = &p->a->server;
    char cuda[32];

    snprintf(cuda, sizeof(cuda), "%d.%d", s->driver_version / 1000, s->driver_version % 1000 / 10);
    family(p, "gpupool_build_info", "gauge", "What this server is; always 1.");
    sample(p, "gpupool_build_info", 1, SERVER(p), "version", s->build, "driver", s->driver, "cuda",
           cuda, NULL);
    family(p, "gpupool_start_time_seconds", "gauge", "When the server started, since 1970.");
    sample(p, "gpupool_start_time_seconds", (double)s->started_ms / 1e3, SERVER(p), NULL);
    family(p, "gpupool_server_state", "gauge", "1 for the state the server is in.");
    for (uint32_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        sample(p, "gpupool_server_state", s->state == i, SERVER(p), "state", states[i], NULL);
    family(p, "gpupool_sessions_limit", "gauge", "Open sessions that the server may have.");
    sample(p, "gpupool_sessions_limit", s->sessions_max, SERVER(p), NULL);
    family(p, "gpupool_connections_total", "counter",
           "Connections by what became of them: given to a worker, of these refused before the "
           "open, dropped before they were open, asking for a session that is not here.");
    sample(p, "gpupool_connections_total", (double)s->accepted, SERVER(p), "result", "given", NULL);
    sample(p, "gpupool_connections_total", (double)s->refused, SERVER(p), "result", "refused",
           NULL);
    sample(p, "gpupool_connections_total", (double)s->dropped, SERVER(p), "result", "dropped",
           NULL);
    sample(p, "gpupool_connections_total", (double)s->strangers, SERVER(p), "result", "stranger",
           NULL);
    family(p, "gpupool_sessions_ended_total", "counter", "Sessions that have ended, in any way.");
    sample(p, "gpupool_sessions_ended_total", (double)s->ended, SERVER(p), NULL);
    family(p, "gpupool_workers_died_total", "counter",
           "Worker processes that ended by a signal or with an error.");
    sample(p, "gpupool_workers_died_total", (double)s->died, SERVER(p), NULL);
    family(p, "gpupool_paging_host_bytes", "gauge",
           "Of the host's memory, for what does not fit the devices.");
    sample(p, "gpupool_paging_host_bytes", (double)s->paging_host_bytes, SERVER(p), NULL);
    family(p, "gpupool_paging_disk_bytes", "gauge", "The same, of the disk.");
    sample(p, "gpupool_paging_disk_bytes", (double)s->paging_disk_bytes, SERVER(p), NULL);
    family(p, "gpupool_paging_packed_bytes", "gauge",
           "Device memory that lies packed in the host's.");
    sample(p, "gpupool_paging_packed_bytes", (double)s->paging_packed_bytes, SERVER(p), NULL);
    family(p, "gpupool_transport_bytes_total", "counter",
           "Bytes of frames, by transport and direction as the server sees it.");
    for (uint32_t i = 0; i < p->a->transport_count; i++) {
        const struct wire_admin_transport *t = &p->a->transports[i];

        sample(p, "gpupool_transport_bytes_total", (double)t->bytes_in, SERVER(p), "transport",
               t->name, "direction", "in", NULL);
        sample(p, "gpupool_transport_bytes_total", (double)t->bytes_out, SERVER(p), "transport",
               t->name, "direction", "out", NULL);
    }
}

static void
sessions_page(struct page *p)
{
    const struct wire_admin_answer *a = p->a;
    unsigned open = 0, away = 0, monitors = 0;

    for (uint32_t i = 0; i < a->session_count; i++) {
        if (a->sessions[i].monitor)
            monitors++;
        else if (a->sessions[i].state == WIRE_ADMIN_AWAY)
            away++;
        else
            open++;
    }
    family(
        p, "gpupool_sessions", "gauge",
        "Sessions by state: open; away: the client lost its line; monitor: only looks; opening.");
    sample(p, "gpupool_sessions", open, SERVER(p), "state", "open", NULL);
    sample(p, "gpupool_sessions", away, SERVER(p), "state", "away", NULL);
    sample(p, "gpupool_sessions", monitors, SERVER(p), "state", "monitor", NULL);
    sample(p, "gpupool_sessions", a->server.opening, SERVER(p), "state", "opening", NULL);
}

/* -- GPUs -------------------------------------------------------------------------------------- */

/* One family over all GPUs. */
static void
gpu_family(struct page *p, const char *name, const char *type, const char *help,
           double (*value)(const struct wire_admin_gpu *gpu))
{
    char index[16];

    family(p, name, type, help);
    for (uint32_t i = 0; i < p->a->gpu_count; i++) {
        const struct wire_admin_gpu *gpu = &p->a->gpus[i];

        snprintf(index, sizeof(index), "%u", gpu->index);
        sample(p, name, value(gpu), SERVER(p), "gpu", index, "uuid", gpu->uuid, "model", gpu->name,
               NULL);
    }
}

static double
gpu_total(const struct wire_admin_gpu *gpu)
{
    return (double)gpu->total_bytes;
}

static double
gpu_used(const struct wire_admin_gpu *gpu)
{
    return (double)gpu->used_bytes;
}

static double
gpu_promised(const struct wire_admin_gpu *gpu)
{
    return (double)gpu->promised_bytes;
}

static double
gpu_paged(const struct wire_admin_gpu *gpu)
{
    return (double)gpu->paged_bytes;
}

static double
gpu_sessions(const struct wire_admin_gpu *gpu)
{
    return gpu->sessions;
}

static double
gpu_tenants(const struct wire_admin_gpu *gpu)
{
    return gpu->tenants;
}

static double
gpu_turns(const struct wire_admin_gpu *gpu)
{
    return (double)gpu->turn_ns / 1e9;
}

static void
gpus_page(struct page *p)
{
    gpu_family(p, "gpupool_gpu_memory_total_bytes", "gauge", "Device memory.", gpu_total);
    gpu_family(p, "gpupool_gpu_memory_used_bytes", "gauge",
               "Device memory that sessions use, resident or paged out.", gpu_used);
    gpu_family(p, "gpupool_gpu_memory_promised_bytes", "gauge",
               "Device memory that sessions may use without asking.", gpu_promised);
    gpu_family(p, "gpupool_gpu_memory_paged_bytes", "gauge",
               "Device memory of sessions that lies in the host's memory now.", gpu_paged);
    gpu_family(p, "gpupool_gpu_sessions", "gauge", "Sessions that have memory there.",
               gpu_sessions);
    gpu_family(p, "gpupool_gpu_tenants", "gauge", "Tenants that have memory there.", gpu_tenants);
    gpu_family(p, "gpupool_gpu_turn_seconds_total", "counter",
               "Time that the device worked in turns; measured while several sessions want it.",
               gpu_turns);
}

/* -- tenants ----------------------------------------------------------------------------------- */

/* One number of each tenant. */
static void
tenant_family(struct page *p, const char *name, const char *type, const char *help,
              double (*value)(const struct wire_admin_tenant *t))
{
    family(p, name, type, help);
    for (uint32_t i = 0; i < p->a->tenant_count; i++)
        sample(p, name, value(&p->a->tenants[i]), SERVER(p), "tenant", p->a->tenants[i].name, NULL);
}

/* One number of each tenant on each GPU. */
static void
use_family(struct page *p, const char *name, const char *type, const char *help,
           double (*value)(const struct wire_admin_use *use))
{
    char index[16];

    family(p, name, type, help);
    for (uint32_t i = 0; i < p->a->tenant_count; i++) {
        const struct wire_admin_tenant *t = &p->a->tenants[i];

        for (uint32_t u = 0; u < t->use_count && t->uses[u].gpu < p->a->gpu_count; u++) {
            snprintf(index, sizeof(index), "%u", t->uses[u].gpu);
            sample(p, name, value(&t->uses[u]), SERVER(p), "tenant", t->name, "gpu", index, "uuid",
                   p->a->gpus[t->uses[u].gpu].uuid, NULL);
        }
    }
}

static double
use_used(const struct wire_admin_use *use)
{
    return (double)(use->used_bytes + use->other_bytes);
}

static double
use_promised(const struct wire_admin_use *use)
{
    return (double)(use->lease_bytes + use->other_bytes);
}

static double
use_paged(const struct wire_admin_use *use)
{
    return (double)use->paged_bytes;
}

static double
use_turns(const struct wire_admin_use *use)
{
    return (double)use->turn_ns / 1e9;
}

static double
tenant_sessions(const struct wire_admin_tenant *t)
{
    return t->sessions;
}

static double
tenant_share(const struct wire_admin_tenant *t)
{
    return t->share / 100.0;
}

static double
tenant_errors(const struct wire_admin_tenant *t)
{
    return (double)t->counters.errors;
}

static double
tenant_waits(const struct wire_admin_tenant *t)
{
    return (double)t->counters.waits;
}

static double
tenant_in(const struct wire_admin_tenant *t)
{
    return (double)t->counters.bytes_in;
}

static double
tenant_out(const struct wire_admin_tenant *t)
{
    return (double)t->counters.bytes_out;
}

static double
tenant_direct(const struct wire_admin_tenant *t)
{
    return (double)t->counters.direct_bytes;
}

static double
tenant_put_in(const struct wire_admin_tenant *t)
{
    return (double)t->counters.put_in;
}

static double
tenant_put_out(const struct wire_admin_tenant *t)
{
    return (double)t->counters.put_out;
}

static double
tenant_put_in_rdma(const struct wire_admin_tenant *t)
{
    return (double)t->counters.put_in_rdma;
}

static double
tenant_put_out_rdma(const struct wire_admin_tenant *t)
{
    return (double)t->counters.put_out_rdma;
}

static double
tenant_throttled(const struct wire_admin_tenant *t)
{
    return (double)t->counters.turn_wait_ns / 1e9;
}

static double
tenant_turn_waits(const struct wire_admin_tenant *t)
{
    return (double)t->counters.turn_waits;
}

static double
tenant_paging(const struct wire_admin_tenant *t)
{
    return (double)t->counters.paging_ns / 1e9;
}

static double
tenant_room_wait(const struct wire_admin_tenant *t)
{
    return (double)t->counters.room_wait_ns / 1e9;
}

static double
tenant_held(const struct wire_admin_tenant *t)
{
    return (double)t->counters.held_ns / 1e9;
}

static void
tenant_paged(struct page *p)
{
    static const char name[] = "gpupool_tenant_paged_bytes_total";

    family(p, name, "counter",
           "Device memory of a tenant's sessions that paging moved: in, to the device, or out.");
    for (uint32_t i = 0; i < p->a->tenant_count; i++) {
        const struct wire_admin_tenant *t = &p->a->tenants[i];

        sample(p, name, (double)t->counters.paged_in, SERVER(p), "tenant", t->name, "direction",
               "in", NULL);
        sample(p, name, (double)t->counters.paged_out, SERVER(p), "tenant", t->name, "direction",
               "out", NULL);
    }
}

static void
tenant_calls(struct page *p)
{
    family(p, "gpupool_calls_total", "counter",
           "CUDA calls that were executed, by what they are about.");
    for (uint32_t i = 0; i < p->a->tenant_count; i++) {
        const struct wire_admin_tenant *t = &p->a->tenants[i];
        const struct {
            const char *class;
            uint64_t count;
        } classes[] = {
            {"launch", t->counters.launches}, {"copy", t->counters.copies},
            {"memory", t->counters.memory},   {"module", t->counters.modules},
            {"stream", t->counters.streams},  {"graph", t->counters.graphs},
            {"other", t->counters.others},
        };

        for (size_t c = 0; c < sizeof(classes) / sizeof(classes[0]); c++)
            sample(p, "gpupool_calls_total", (double)classes[c].count, SERVER(p), "tenant", t->name,
                   "class", classes[c].class, NULL);
    }
}

/* How long who wanted to work waited for others to let the device go: for a tenant of high
 * priority, what preemption takes, from its arrival until its first kernel is given to the device.
 */
static void
tenant_turns(struct page *p)
{
    static const char name[] = "gpupool_tenant_turn_wait_seconds";
    char bucket[64], count[64], sum[64];

    family(
        p, name, "histogram",
        "Turns that others had when a tenant wanted to work, by how long that took; for a tenant "
        "of high priority, the latency of preemption.");
    snprintf(bucket, sizeof(bucket), "%s_bucket", name);
    snprintf(count, sizeof(count), "%s_count", name);
    snprintf(sum, sizeof(sum), "%s_sum", name);
    for (uint32_t i = 0; i < p->a->tenant_count; i++) {
        const struct wire_admin_tenant *t = &p->a->tenants[i];
        const struct wire_admin_counters *c = &t->counters;
        const struct {
            const char *upto;
            uint64_t count;
        } buckets[] = {
            {"0.0005", c->turns_500us}, {"0.001", c->turns_1ms}, {"0.002", c->turns_2ms},
            {"0.005", c->turns_5ms},    {"0.01", c->turns_10ms}, {"0.05", c->turns_50ms},
            {"0.2", c->turns_200ms},    {"1", c->turns_1s},      {"+Inf", c->turns_longer},
        };
        uint64_t all = 0;

        for (size_t b = 0; b < sizeof(buckets) / sizeof(buckets[0]); b++) {
            all += buckets[b].count;
            sample(p, bucket, (double)all, SERVER(p), "tenant", t->name, "priority", t->priority,
                   "le", buckets[b].upto, NULL);
        }
        sample(p, sum, (double)c->turns_ns / 1e9, SERVER(p), "tenant", t->name, "priority",
               t->priority, NULL);
        sample(p, count, (double)all, SERVER(p), "tenant", t->name, "priority", t->priority, NULL);
    }
}

/* Of those that have one. */
static void
tenant_quotas(struct page *p)
{
    family(p, "gpupool_tenant_quota_bytes", "gauge",
           "Device memory that a tenant may have, of each GPU or of all; absent where unlimited.");
    for (uint32_t i = 0; i < p->a->tenant_count; i++) {
        const struct wire_admin_tenant *t = &p->a->tenants[i];

        if (t->memory_bytes != 0)
            sample(p, "gpupool_tenant_quota_bytes", (double)t->memory_bytes, SERVER(p), "tenant",
                   t->name, "of", "each", NULL);
        if (t->memory_total_bytes != 0)
            sample(p, "gpupool_tenant_quota_bytes", (double)t->memory_total_bytes, SERVER(p),
                   "tenant", t->name, "of", "all", NULL);
    }
}

static void
tenant_idle(struct page *p)
{
    family(p, "gpupool_tenant_sessions_idle", "gauge", "Sessions without a call for a minute.");
    for (uint32_t i = 0; i < p->a->tenant_count; i++) {
        unsigned idle = 0;

        for (uint32_t s = 0; s < p->a->session_count; s++)
            idle += !p->a->sessions[s].monitor && p->a->sessions[s].idle_ms >= IDLE_MS &&
                    strcmp(p->a->sessions[s].tenant, p->a->tenants[i].name) == 0;
        sample(p, "gpupool_tenant_sessions_idle", idle, SERVER(p), "tenant", p->a->tenants[i].name,
               NULL);
    }
}

static void
tenant_activity(struct page *p)
{
    static const char *const names[WIRE_ADMIN_ACTIVITIES] = {
        [WIRE_ADMIN_ACTIVE] = "active",
        [WIRE_ADMIN_IDLE] = "idle",
        [WIRE_ADMIN_COLD] = "cold",
        [WIRE_ADMIN_RECLAIMABLE] = "reclaimable",
    };

    family(p, "gpupool_tenant_sessions_activity", "gauge",
           "Sessions by work: active; idle: none for a second; cold: none for two minutes; "
           "reclaimable: told that they will be ended.");
    for (uint32_t i = 0; i < p->a->tenant_count; i++)
        for (uint32_t kind = WIRE_ADMIN_ACTIVE; kind < WIRE_ADMIN_ACTIVITIES; kind++) {
            unsigned count = 0;

            for (uint32_t s = 0; s < p->a->session_count; s++)
                count += !p->a->sessions[s].monitor && p->a->sessions[s].activity == kind &&
                         strcmp(p->a->sessions[s].tenant, p->a->tenants[i].name) == 0;
            sample(p, "gpupool_tenant_sessions_activity", count, SERVER(p), "tenant",
                   p->a->tenants[i].name, "activity", names[kind], NULL);
        }
}

static void
tenants_page(struct page *p)
{
    tenant_family(p, "gpupool_tenant_sessions", "gauge", "Open sessions of a tenant.",
                  tenant_sessions);
    tenant_idle(p);
    tenant_activity(p);
    tenant_family(p, "gpupool_tenant_share_ratio", "gauge", "Its share of a device's time.",
                  tenant_share);
    tenant_quotas(p);
    use_family(p, "gpupool_tenant_memory_used_bytes", "gauge",
               "Device memory that a tenant's sessions use.", use_used);
    use_family(p, "gpupool_tenant_memory_promised_bytes", "gauge",
               "Device memory that a tenant's sessions may use without asking.", use_promised);
    use_family(p, "gpupool_tenant_memory_paged_bytes", "gauge",
               "Device memory of a tenant's sessions that lies in the host's memory now.",
               use_paged);
    use_family(p, "gpupool_tenant_turn_seconds_total", "counter",
               "Time that the device worked for a tenant; measured while several sessions want it.",
               use_turns);
    tenant_family(p, "gpupool_tenant_throttled_seconds_total", "counter",
                  "Time that sessions of a tenant waited for their turn.", tenant_throttled);
    tenant_family(p, "gpupool_tenant_turn_waits_total", "counter",
                  "Turns that were waited for, also for one's own work to be done.",
                  tenant_turn_waits);
    tenant_turns(p);
    tenant_paged(p);
    tenant_family(p, "gpupool_tenant_paging_seconds_total", "counter",
                  "Time that moving these bytes took.", tenant_paging);
    tenant_family(p, "gpupool_tenant_residency_wait_seconds_total", "counter",
                  "Time that sessions of a tenant waited for their memory to be on the device.",
                  tenant_room_wait);
    tenant_family(p, "gpupool_tenant_held_seconds_total", "counter",
                  "Time that others waited for memory which a tenant's sessions could not let go, "
                  "since what they had under way did not end.",
                  tenant_held);
    tenant_calls(p);
    tenant_family(p, "gpupool_call_errors_total", "counter", "Calls that ended with an error.",
                  tenant_errors);
    tenant_family(p, "gpupool_round_trips_total", "counter", "Calls that a client waited for.",
                  tenant_waits);
    tenant_family(p, "gpupool_tenant_received_bytes_total", "counter",
                  "Bytes that came from a tenant's clients.", tenant_in);
    tenant_family(p, "gpupool_tenant_sent_bytes_total", "counter",
                  "Bytes that went to a tenant's clients.", tenant_out);
    tenant_family(p, "gpupool_tenant_gpudirect_bytes_total", "counter",
                  "Bytes that RDMA devices moved between a tenant's clients and device memory "
                  "without staging.",
                  tenant_direct);
    tenant_family(p, "gpupool_tenant_servers_received_bytes_total", "counter",
                  "Bytes that a tenant's sessions on other servers copied here.", tenant_put_in);
    tenant_family(p, "gpupool_tenant_servers_sent_bytes_total", "counter",
                  "Bytes that were copied to a tenant's sessions on other servers.",
                  tenant_put_out);
    tenant_family(p, "gpupool_tenant_servers_rdma_received_bytes_total", "counter",
                  "Of what sessions on other servers copied here, the bytes that came by RDMA.",
                  tenant_put_in_rdma);
    tenant_family(p, "gpupool_tenant_servers_rdma_sent_bytes_total", "counter",
                  "Of what was copied to sessions on other servers, the bytes that went by RDMA.",
                  tenant_put_out_rdma);
}

void
be_page_metrics(const struct wire_admin_answer *state, struct gp_buf *out)
{
    struct page page = {state, out};

    server_page(&page);
    sessions_page(&page);
    gpus_page(&page);
    tenants_page(&page);
}

/* -- names of others --------------------------------------------------------------------------- */

static void
dcgm_family(struct page *p, const char *name, const char *help,
            double (*value)(const struct wire_admin_gpu *gpu))
{
    char index[16], device[24];

    family(p, name, "gauge", help);
    for (uint32_t i = 0; i < p->a->gpu_count; i++) {
        const struct wire_admin_gpu *gpu = &p->a->gpus[i];

        snprintf(index, sizeof(index), "%u", gpu->index);
        snprintf(device, sizeof(device), "nvidia%u", gpu->index);
        sample(p, name, value(gpu), "gpu", index, "UUID", gpu->uuid, "pci_bus_id", gpu->pci,
               "device", device, "modelName", gpu->name, "Hostname", p->a->server.name, NULL);
    }
}

static double
mib_total(const struct wire_admin_gpu *gpu)
{
    return (double)(gpu->total_bytes >> 20);
}

static double
mib_used(const struct wire_admin_gpu *gpu)
{
    uint64_t resident = gpu->used_bytes > gpu->paged_bytes ? gpu->used_bytes - gpu->paged_bytes : 0;

    return (double)(resident >> 20);
}

static double
mib_free(const struct wire_admin_gpu *gpu)
{
    double left = mib_total(gpu) - mib_used(gpu);

    return left > 0 ? left : 0;
}

static void
hami_gpus(struct page *p, const char *name, const char *help,
          double (*value)(const struct wire_admin_gpu *gpu))
{
    char index[16];

    family(p, name, "gauge", help);
    for (uint32_t i = 0; i < p->a->gpu_count; i++) {
        snprintf(index, sizeof(index), "%u", p->a->gpus[i].index);
        sample(p, name, value(&p->a->gpus[i]), "nodeid", p->a->server.name, "deviceuuid",
               p->a->gpus[i].uuid, "deviceidx", index, "devicetype", p->a->gpus[i].name, NULL);
    }
}

/* A tenant takes the place of a pod. */
static void
hami_tenants(struct page *p, const char *name, const char *help, bool limit)
{
    char index[16];

    family(p, name, "gauge", help);
    for (uint32_t i = 0; i < p->a->tenant_count; i++) {
        const struct wire_admin_tenant *t = &p->a->tenants[i];

        for (uint32_t u = 0; u < t->use_count && t->uses[u].gpu < p->a->gpu_count; u++) {
            const struct wire_admin_gpu *gpu = &p->a->gpus[t->uses[u].gpu];
            uint64_t most = t->memory_bytes != 0 ? t->memory_bytes : gpu->total_bytes;

            snprintf(index, sizeof(index), "%u", t->uses[u].gpu);
            sample(p, name, limit ? (double)most : use_used(&t->uses[u]), "podnamespace", "gpupool",
                   "podname", t->name[0] != '\0' ? t->name : "none", "ctrname", p->a->server.name,
                   "vdeviceid", index, "deviceuuid", gpu->uuid, NULL);
        }
    }
}

void
be_page_compat(const struct wire_admin_answer *state, struct gp_buf *out)
{
    struct page page = {state, out}, *p = &page;

    dcgm_family(p, "DCGM_FI_DEV_FB_TOTAL", "Total frame buffer of the GPU (in MB).", mib_total);
    dcgm_family(p, "DCGM_FI_DEV_FB_USED", "Frame buffer memory used (in MB).", mib_used);
    dcgm_family(p, "DCGM_FI_DEV_FB_FREE", "Frame buffer memory free (in MB).", mib_free);
    hami_gpus(p, "hami_gpu_memory_limit_bytes", "Device memory of a GPU.", gpu_total);
    hami_gpus(p, "hami_gpu_memory_allocated_bytes", "Device memory that was promised.",
              gpu_promised);
    hami_gpus(p, "hami_gpu_shared_count", "Sessions that share a GPU.", gpu_sessions);
    hami_gpus(p, "GPUDeviceMemoryLimit", "Device memory of a GPU.", gpu_total);
    hami_gpus(p, "GPUDeviceMemoryAllocated", "Device memory that was promised.", gpu_promised);
    hami_gpus(p, "GPUDeviceSharedNum", "Sessions that share a GPU.", gpu_sessions);
    hami_tenants(p, "hami_vgpu_memory_used_bytes", "Device memory that a tenant uses.", false);
    hami_tenants(p, "hami_vgpu_memory_limit_bytes", "Device memory that a tenant may use.", true);
    hami_tenants(p, "vGPU_device_memory_usage_in_bytes", "Device memory that a tenant uses.",
                 false);
    hami_tenants(p, "vGPU_device_memory_limit_in_bytes", "Device memory that a tenant may use.",
                 true);
}
