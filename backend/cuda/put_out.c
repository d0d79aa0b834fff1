/* backend/cuda/put_out.c -- bytes that go to a session on another server
 *
 * As with copies to the client that do not fit into pinned memory (big.c) the bytes are copied out
 * on a stream of ours, a few pieces ahead of the line, while a gate holds the stream that the
 * client names, so that the context counts as at work. A waiter does it; it waits for the other
 * server, whose patience and ours are limited.
 */
#include "backend/cuda/jobs.h"
#include "backend/cuda/put_priv.h"
#include "be_hooks.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS     4
#define WHY_BYTES 320
#define URL_MAX   128

struct be_put_out {
    struct be_wait wait;
    struct be_call call;
    struct be_put_out *next; /* guarded by puts.lock */
    uint64_t src, session;
    struct wire_put put;
    char url[URL_MAX];
    CUstream copier;
    struct be_staging *staging;
    struct be_gates *gates;
    struct be_gate *gate;
};

struct slot {
    struct be_block *block;
    uint32_t bytes;
    CUevent event;
};

/* -- who goes ---------------------------------------------------------------------------------- */

bool
be_puts_sending(struct be_puts *puts, const struct be_context *context)
{
    bool found = false;

    pthread_mutex_lock(&puts->lock);
    for (const struct be_put_out *out = puts->outs; out != NULL && !found; out = out->next)
        found = out->wait.context == context;
    pthread_mutex_unlock(&puts->lock);
    return found;
}

static void
out_link(struct be_puts *puts, struct be_put_out *out)
{
    pthread_mutex_lock(&puts->lock);
    out->next = puts->outs;
    puts->outs = out;
    pthread_mutex_unlock(&puts->lock);
}

static void
out_unlink(struct be_puts *puts, struct be_put_out *out)
{
    struct be_put_out **at = &puts->outs;

    pthread_mutex_lock(&puts->lock);
    while (*at != out)
        at = &(*at)->next;
    *at = out->next;
    pthread_mutex_unlock(&puts->lock);
}

/* False: the session ends. */
static bool
turn_take(struct be_puts *puts)
{
    bool closing;

    pthread_mutex_lock(&puts->lock);
    while (puts->sending == BE_PUT_SENDING && !puts->closing)
        pthread_cond_wait(&puts->changed, &puts->lock);
    closing = puts->closing;
    puts->sending += !closing;
    pthread_mutex_unlock(&puts->lock);
    return !closing;
}

static void
turn_give(struct be_puts *puts)
{
    pthread_mutex_lock(&puts->lock);
    puts->sending--;
    pthread_cond_broadcast(&puts->changed);
    pthread_mutex_unlock(&puts->lock);
}

/* -- bytes ------------------------------------------------------------------------------------- */

static CUresult
issue(struct be_put_out *out, uint64_t at, struct slot *slot)
{
    CUresult cr = CUDA_SUCCESS;

    slot->bytes = (uint32_t)gp_min_u64(out->put.bytes - at, WIRE_PUT_BLOCK);
    if (slot->block == NULL)
        cr = be_staging_get(out->staging, WIRE_PUT_BLOCK, true, &slot->block);
    if (cr == CUDA_SUCCESS)
        cr = out->call.driver->cuMemcpyDtoHAsync_v2(slot->block->data, out->src + at, slot->bytes,
                                                    out->copier);
    return cr == CUDA_SUCCESS ? be_context_mark(out->wait.context, out->copier, &slot->event) : cr;
}

/* *whole_p: all of it is on the line. */
static CUresult
pour(struct be_put_out *out, struct be_put_way *way, bool *whole_p)
{
    uint64_t count = (out->put.bytes + WIRE_PUT_BLOCK - 1) / WIRE_PUT_BLOCK, issued = 0, sent = 0;
    struct slot slots[SLOTS] = {{0}};
    CUresult cr = CUDA_SUCCESS;

    while (sent < count && cr == CUDA_SUCCESS) {
        struct slot *slot = &slots[sent % SLOTS];

        for (; issued < count && issued < sent + SLOTS && cr == CUDA_SUCCESS; issued++)
            cr = issue(out, issued * WIRE_PUT_BLOCK, &slots[issued % SLOTS]);
        if (cr == CUDA_SUCCESS)
            cr = out->call.driver->cuEventSynchronize(slot->event);
        be_context_event_put(out->wait.context, slot->event);
        slot->event = NULL;
        if (cr == CUDA_SUCCESS && !be_put_way_send(way, slot->block->data, slot->bytes))
            break;
        sent += cr == CUDA_SUCCESS;
    }
    (void)out->call.driver->cuStreamSynchronize(out->copier);
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].block != NULL)
            be_staging_put(out->staging, slots[i].block);
        be_context_event_put(out->wait.context, slots[i].event);
    }
    *whole_p = sent == count;
    return cr;
}

static void
answer(const struct be_call *call, CUresult result, bool reached, const char *why)
{
    struct wire_gpPutSend_reply reply = {.result = (int32_t)result,
                                         .reached = reached,
                                         .why = why,
                                         .why_len = (uint32_t)strlen(why)};
    uint8_t *to = be_reply_begin(call, CUDA_SUCCESS, wire_size_gpPutSend_reply(&reply));

    if (to == NULL)
        return;
    wire_put_gpPutSend_reply(to, &reply);
    be_reply_end(call);
}

static CUresult
carry(struct be_put_out *out, bool *reached_p, char why[WHY_BYTES])
{
    struct be_put_way *way;
    bool whole = false;
    CUresult cr, said;

    way = be_put_way_open(out->call.session->puts->lines, out->url, out->session, &out->put, why);
    *reached_p = way != NULL;
    if (way == NULL)
        return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
    cr = pour(out, way, &whole);
    said = be_put_way_close(way, whole, why);
    return cr != CUDA_SUCCESS ? cr : said;
}

static void
out_free(struct be_put_out *out)
{
    explicit_bzero(out->put.secret, sizeof(out->put.secret));
    be_pending_put(out->call.session);
    free(out);
}

static void
out_run(struct be_wait *wait, CUresult cr)
{
    struct be_put_out *out = GP_CONTAINER_OF(wait, struct be_put_out, wait);
    struct be_puts *puts = out->call.session->puts;
    char why[WHY_BYTES] = "";
    bool reached = false;

    if (cr == CUDA_SUCCESS && turn_take(puts)) {
        cr = carry(out, &reached, why);
        turn_give(puts);
    } else if (cr == CUDA_SUCCESS) {
        cr = CUDA_ERROR_DEINITIALIZED;
    }
    be_gate_open(out->gates, out->gate);
    answer(&out->call, cr, reached, why);
    be_flush(out->call.session);
    out_unlink(puts, out);
    out_free(out);
}

/* -- the call ---------------------------------------------------------------------------------- */

static CUresult
out_create(struct be_call *call, const struct wire_gpPutSend_args *args, struct be_put_out **out_p)
{
    struct be_put_out *out;

    if (args->bytes == 0 || args->session == 0 || args->url_len >= URL_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    out = be_pending_new(call->session, sizeof(*out));
    if (out == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    out->call = *call;
    out->src = args->src;
    out->session = args->session;
    out->put.bytes = args->bytes;
    memcpy(out->url, args->url, args->url_len);
    out->wait.kind = BE_WAIT_NOTHING;
    out->wait.context = call->context;
    out->wait.run = out_run;
    if (wire_put_token_decode(args->token, args->token_len, &out->put.id, out->put.secret) !=
        GP_OK) {
        out_free(out);
        return CUDA_ERROR_INVALID_VALUE;
    }
    *out_p = out;
    return CUDA_SUCCESS;
}

CUresult
be_hook_gpPutSend(struct be_call *call, const struct wire_gpPutSend_args *args,
                  struct wire_gpPutSend_reply *reply)
{
    struct be_session *session = call->session;
    struct be_put_out *out;
    CUstream stream;
    CUresult cr;

    (void)reply;
    if (session->puts == NULL || session->puts->lines == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = be_handle_get(session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(session, args->src, args->bytes);
    if (cr == CUDA_SUCCESS)
        cr = out_create(call, args, &out);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = be_context_staging(call->context, &out->staging);
    if (cr == CUDA_SUCCESS)
        cr = be_context_copier(call->context, &out->copier);
    if (cr == CUDA_SUCCESS)
        cr = be_context_gates(call->context, &out->gates);
    if (cr == CUDA_SUCCESS)
        cr = be_gate_close(out->gates, stream, &out->gate);
    if (cr != CUDA_SUCCESS) {
        out_free(out);
        return cr;
    }
    out_link(session->puts, out);
    be_waits_submit(session->waits, &out->wait);
    return BE_PARKED;
}
