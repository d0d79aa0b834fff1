/* frontend/core/stats.c */
#include "frontend/core/stats.h"

#include "frontend/core/line.h"

#include "protocol/base/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool fe_stats_on;
static bool as_json;
static _Atomic uint64_t local_calls, between[FE_BETWEEN_WAYS]; /* relaxed */

__attribute__((constructor)) static void
read_environment(void)
{
    const char *wish = getenv("GPUPOOL_STATS");

    fe_stats_on = wish != NULL && wish[0] != '\0' && strcmp(wish, "0") != 0;
    as_json = fe_stats_on && strcmp(wish, "json") == 0;
}

void
fe_stats_count_local(void)
{
    atomic_fetch_add_explicit(&local_calls, 1, memory_order_relaxed);
}

void
fe_stats_count_between(uint64_t bytes, enum fe_between way)
{
    atomic_fetch_add_explicit(&between[way], bytes, memory_order_relaxed);
}

static uint64_t
copied(enum fe_between way)
{
    return atomic_load_explicit(&between[way], memory_order_relaxed);
}

static void
add(const struct fe_line *l, struct fe_stats *stats)
{
    struct tp_stats lane;

    tp_stats(l->lane, &lane);
    stats->calls_async += atomic_load_explicit(&l->submit.calls_async, memory_order_relaxed);
    stats->calls_sync += atomic_load_explicit(&l->submit.calls_sync, memory_order_relaxed);
    /* The opening waited for the server too. */
    stats->exposed_round_trips +=
        1 + atomic_load_explicit(&l->recv.round_trips, memory_order_relaxed);
    stats->waited_ns += atomic_load_explicit(&l->recv.waited_ns, memory_order_relaxed);
    stats->bytes_sent += lane.bytes_sent;
    stats->bytes_received += lane.bytes_received;
    stats->batches += lane.sends;
    stats->wakes += atomic_load_explicit(&l->submit.bell, memory_order_relaxed);
    stats->held += atomic_load_explicit(&l->submit.held, memory_order_relaxed);
}

static void
collect(const struct fe_sessions *all, struct fe_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    stats->calls_local = atomic_load_explicit(&local_calls, memory_order_relaxed);
    for (unsigned i = 0; i < all->count; i++)
        add(all->list[i]->line, stats);
}

void
fe_stats_get(struct fe_stats *stats_p)
{
    if (fe_session_get(NULL) != NULL)
        collect(fe_sessions(), stats_p);
    else
        memset(stats_p, 0, sizeof(*stats_p));
}

/* One line a value, or one for all. */
static void
put_number(const char *key, uint64_t value)
{
    fprintf(stderr, as_json ? "\"%s\": %" PRIu64 ", " : "gpupool-stats: %s %" PRIu64 "\n", key,
            value);
}

static void
put_text(const char *key, const char *value, bool last)
{
    char clean[WIRE_TEXT_MAX + 1];
    size_t i;

    for (i = 0; value[i] != '\0' && i < sizeof(clean) - 1; i++)
        clean[i] = value[i] == '"' || value[i] == '\\' ? '\'' : value[i];
    clean[i] = '\0';
    if (as_json)
        fprintf(stderr, "\"%s\": \"%s\"%s", key, clean, last ? "}\n" : ", ");
    else
        fprintf(stderr, "gpupool-stats: %s %s\n", key, clean);
}

/* The names of all servers, by comma. */
static void
put_servers(const struct fe_sessions *all)
{
    char names[WIRE_TEXT_MAX + 1] = "";
    size_t len = 0;

    for (unsigned i = 0; i < all->count && len < sizeof(names) - 1; i++) {
        const struct fe_session *s = all->list[i];

        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i > 0 ? "," : "",
                                s->server[0] != '\0' ? s->server : s->url);
    }
    put_text("server", names, false);
}

void
fe_stats_print(const struct fe_sessions *all)
{
    const struct fe_session *s = all->list[0];
    const char *scheme = tp_scheme(s->line->lane);
    struct fe_stats stats;

    if (!fe_stats_on)
        return;
    collect(all, &stats);
    flockfile(stderr);
    if (as_json)
        fputs("gpupool-stats: {", stderr);
    put_number("calls", stats.calls_async + stats.calls_sync + stats.calls_local);
    put_number("calls_async", stats.calls_async);
    put_number("calls_sync", stats.calls_sync);
    put_number("calls_local", stats.calls_local);
    put_number("exposed_round_trips", stats.exposed_round_trips);
    put_number("bytes_sent", stats.bytes_sent);
    put_number("bytes_received", stats.bytes_received);
    put_number("batches", stats.batches);
    put_number("wakes", stats.wakes);
    put_number("held", stats.held);
    put_number("waited_us", stats.waited_ns / 1000);
    if (all->count > 1) {
        put_number("servers", all->count);
        put_number("bytes_between_servers", copied(FE_BETWEEN_TLS) + copied(FE_BETWEEN_RDMA));
        put_number("bytes_between_by_rdma", copied(FE_BETWEEN_RDMA));
        put_number("bytes_relayed", copied(FE_BETWEEN_RELAYED));
    }
    put_text("transport", scheme, false);
    /* What opened the session is not what it goes by now. */
    put_text("cipher", strcmp(scheme, "tls") == 0 ? tp_peer(s->line->lane)->cipher : "", false);
    put_servers(all);
    put_text("device", all->devices[0].info->name, false);
    put_text("driver", s->driver, true);
    funlockfile(stderr);
}
