/* transport/rdma/rails.c -- further ports of both ends, two by two
 *
 * The client tells all of its own that may carry something, with a queue pair for each; the server
 * gives each the nearest of its own and answers with those. Who cannot do without is the port that
 * the rings go by: nothing here ends a lane but a peer that breaks the rules.
 */
#include "protocol/base/log.h"
#include "transport/rdma/rdma_priv.h"

#include <stdlib.h>
#include <string.h>

static bool
rail_open(const struct tp_rdma *r, struct tp_rdma_rail *rail, const struct tp_rdma_port *port)
{
    rail->nic.port = *port;
    if (tp_rdma_nic_open(&rail->nic, r->verbs) == GP_OK) {
        rail->reads_max = tp_rdma_reads_at_once(r->verbs, rail->nic.context);
        if (rail->reads_max > 0 &&
            tp_rdma_pair_for_reads(&rail->pair, r->verbs, &rail->nic) == GP_OK)
            return true;
    }
    log_info("lane %s: rdma: %s:%u carries nothing: %m", r->s.lane.peer.address, port->device,
             port->port);
    return false;
}

static void
rail_close(const struct tp_rdma *r, struct tp_rdma_rail *rail)
{
    tp_rdma_pair_destroy(r->verbs, &rail->pair); /* so that nothing is under way */
    if (rail->cache.ops != NULL) {
        tp_cache_put(&rail->cache, &rail->hold);
        tp_cache_fini(&rail->cache);
    }
    tp_rdma_nic_close(&rail->nic, r->verbs);
}

/* Where the peer's port is. False: it stays in its place, as one that carries nothing. */
static bool
rail_join(const struct tp_rdma *r, struct tp_rdma_rail *rail, const struct tp_rdma_rail_offer *peer)
{
    struct tp_rdma_offer place = {.layer = peer->layer, .mtu = peer->mtu, .lid = peer->lid};
    unsigned serves = rail->reads_max;

    memcpy(place.gid, peer->gid, sizeof(place.gid));
    rail->reads_max = (unsigned)gp_min_u64(serves, peer->reads);
    if (peer->layer == rail->nic.port.layer &&
        tp_rdma_pair_join(r->verbs, &rail->nic, &rail->pair, &place, peer->qpn, peer->psn,
                          (uint8_t)serves, (uint8_t)rail->reads_max))
        return true;
    log_info("lane %s: rdma: %s:%u has no way to the peer: %m", r->s.lane.peer.address,
             rail->nic.port.device, rail->nic.port.port);
    rail->state = TP_RDMA_RAIL_BAD;
    atomic_store_explicit(&rail->bad, true, memory_order_relaxed);
    return false;
}

static void
rail_offer_fill(const struct tp_rdma_rail *rail, size_t place, struct tp_rdma_rail_offer *offer)
{
    *offer = (struct tp_rdma_rail_offer){
        .place = (uint8_t)place,
        .layer = rail->nic.port.layer,
        .mtu = rail->nic.port.mtu,
        .reads = (uint8_t)rail->reads_max,
        .lid = rail->nic.port.lid,
        .qpn = rail->pair.qp->qp_num,
        .psn = rail->pair.psn,
    };
    memcpy(offer->gid, rail->nic.port.gid, sizeof(offer->gid));
}

static enum gp_status
list_say(struct tp_rdma *r, const struct tp_rdma_rail_offer *offers, size_t count,
         const struct tp_opts *opts)
{
    uint8_t bytes[TP_RDMA_RAILS * TP_RDMA_RAIL_BYTES];

    tp_rdma_rails_encode(offers, count, bytes);
    return tp_rdma_say(r, TP_RDMA_RAIL_LIST, bytes, count * TP_RDMA_RAIL_BYTES, opts->deadline_ns);
}

static enum gp_status
list_hear(struct tp_rdma *r, struct tp_rdma_rail_offer offers[TP_RDMA_RAILS], size_t *count_p,
          const struct tp_opts *opts)
{
    struct tp_frame frame;
    enum gp_status status = tp_rdma_hear(r, TP_RDMA_RAIL_LIST, opts, &frame);

    if (status != GP_OK)
        return status;
    if (tp_rdma_rails_decode(frame.payload, frame.payload_bytes, offers, count_p) != GP_OK)
        return tp_fail(opts, GP_ERR_PROTOCOL, "rdma: %s: what it says are no ports",
                       r->s.lane.peer.address);
    return GP_OK;
}

/* -- the client ---------------------------------------------------------------------------------
 */

/* Those of ours that the server has something for, in its order, which both count by. */
static enum gp_status
take_answer(struct tp_rdma *r, struct tp_rdma_rail *made, size_t count, const struct tp_opts *opts)
{
    struct tp_rdma_rail_offer answer[TP_RDMA_RAILS];
    size_t answers;
    enum gp_status status = list_hear(r, answer, &answers, opts);

    for (size_t i = 0; i < answers && status == GP_OK; i++) {
        struct tp_rdma_rail *from = &made[answer[i].place], *to = &r->rails[i];

        if (answer[i].place >= count)
            return tp_fail(opts, GP_ERR_PROTOCOL, "rdma: %s: it takes a port that was not offered",
                           r->s.lane.peer.address);
        to->nic = from->nic;
        to->pair = from->pair;
        to->reads_max = from->reads_max;
        *from = (struct tp_rdma_rail){0};
        r->rail_count++;
        if (rail_join(r, to, &answer[i]))
            tp_rdma_rail_begin(to);
    }
    return status;
}

static enum gp_status
agree_as_client(struct tp_rdma *r, const struct tp_rdma_port *ports, size_t count,
                const struct tp_opts *opts)
{
    GP_AUTO_FREE struct tp_rdma_rail *made = calloc(TP_RDMA_RAILS, sizeof(*made));
    struct tp_rdma_rail_offer offers[TP_RDMA_RAILS];
    enum gp_status status;
    size_t n = 0;

    for (size_t i = 0; i < count && made != NULL; i++) {
        if (rail_open(r, &made[n], &ports[i])) {
            rail_offer_fill(&made[n], n, &offers[n]);
            n++;
        } else {
            rail_close(r, &made[n]);
        }
    }
    status = list_say(r, offers, n, opts);
    if (status == GP_OK)
        status = take_answer(r, made, n, opts);
    for (size_t i = 0; i < n; i++)
        rail_close(r, &made[i]);
    return status;
}

/* -- the server ---------------------------------------------------------------------------------
 */

static enum gp_status
agree_as_server(struct tp_rdma *r, const struct tp_rdma_port *ports, size_t count, size_t most,
                const struct tp_opts *opts)
{
    struct tp_rdma_rail_offer theirs[TP_RDMA_RAILS], answer[TP_RDMA_RAILS];
    struct tp_rdma_match matches[TP_RDMA_RAILS];
    uint8_t gids[TP_RDMA_RAILS][16];
    size_t their_count, n;
    enum gp_status status = list_hear(r, theirs, &their_count, opts);

    if (status != GP_OK)
        return status;
    for (size_t i = 0; i < their_count; i++)
        memcpy(gids[i], theirs[i].gid, sizeof(gids[i]));
    n = tp_rdma_match((const uint8_t(*)[16])gids, their_count, ports, count, matches, most);
    for (size_t i = 0; i < n; i++) {
        struct tp_rdma_rail *rail = &r->rails[r->rail_count];
        const struct tp_rdma_rail_offer *peer = &theirs[matches[i].theirs];

        if (!rail_open(r, rail, &ports[matches[i].ours]) || !rail_join(r, rail, peer)) {
            rail_close(r, rail);
            *rail = (struct tp_rdma_rail){0};
            continue;
        }
        rail_offer_fill(rail, peer->place, &answer[r->rail_count++]);
        tp_rdma_rail_begin(rail);
    }
    return list_say(r, answer, r->rail_count, opts);
}

/* -- both ---------------------------------------------------------------------------------------
 */

enum gp_status
tp_rdma_rails_agree(struct tp_rdma *r, enum tp_role role, struct tp_rdma_port *others, size_t count,
                    const struct tp_opts *opts)
{
    size_t most = tp_rdma_rails_most(&opts->rdma);
    enum gp_status status;

    r->rails = calloc(TP_RDMA_RAILS, sizeof(*r->rails));
    if (r->rails == NULL)
        return tp_fail(opts, GP_ERR_NO_MEMORY, "rdma: no memory");
    if (role == TP_CLIENT)
        status = agree_as_client(r, others, tp_rdma_one_each(others, count, most), opts);
    else
        status = agree_as_server(r, others, count, most, opts);
    for (unsigned i = 0; i < r->rail_count && status == GP_OK; i++) {
        char text[TP_RDMA_DEVICE_MAX + 64];

        tp_rdma_port_text(&r->rails[i].nic.port, text, sizeof(text));
        log_info("lane %s: rdma: bulk by %s too", r->s.lane.peer.address, text);
    }
    return status;
}

bool
tp_rdma_rail_stop(const struct tp_rdma *r, struct tp_rdma_rail *rail)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

    rail->line.most = 0;
    if (rail->state == TP_RDMA_RAIL_BAD)
        return false;
    rail->state = TP_RDMA_RAIL_BAD;
    atomic_store_explicit(&rail->bad, true, memory_order_relaxed);
    if (r->verbs->modify_qp(rail->pair.qp, &attr, IBV_QP_STATE) != 0)
        log_debug("lane %s: %s: %m", r->s.lane.peer.address, rail->nic.port.device);
    return true;
}

void
tp_rdma_rail_fail(const struct tp_rdma *r, struct tp_rdma_rail *rail, const char *why)
{
    if (!tp_rdma_rail_stop(r, rail) || tp_rdma_is_gone(r))
        return;
    log_warn("lane %s: rdma: %s:%u carries nothing any more (%s): bulk goes by the other ports",
             r->s.lane.peer.address, rail->nic.port.device, rail->nic.port.port, why);
}

void
tp_rdma_rails_destroy(struct tp_rdma *r)
{
    for (unsigned i = 0; i < r->rail_count; i++) {
        if (r->rails[i].bytes > 0)
            log_info("lane %s: rdma: %llu KiB of what was received came by %s:%u",
                     r->s.lane.peer.address, (unsigned long long)r->rails[i].bytes >> 10,
                     r->rails[i].nic.port.device, r->rails[i].nic.port.port);
        rail_close(r, &r->rails[i]);
    }
    free(r->rails);
    r->rails = NULL;
    r->rail_count = 0;
}
