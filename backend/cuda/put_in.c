/* backend/cuda/put_in.c -- tokens, and bytes that come from another server */
#include "backend/cuda/put.h"

#include "backend/cuda/copy_in.h"
#include "backend/cuda/jobs.h"
#include "backend/cuda/pace.h"
#include "backend/cuda/put_priv.h"
#include "backend/cuda/stay.h"
#include "be_hooks.h"
#include "protocol/base/clock.h"
#include "protocol/base/random.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

/* -- life -------------------------------------------------------------------------------------- */

enum gp_status
be_puts_create(struct be_session *session, struct be_puts **puts_p)
{
    struct be_puts *puts = calloc(1, sizeof(*puts));

    if (puts == NULL)
        return GP_ERR_NO_MEMORY;
    puts->session = session;
    puts->tail = &puts->first;
    pthread_mutex_init(&puts->lock, NULL);
    pthread_cond_init(&puts->changed, NULL);
    *puts_p = puts;
    return GP_OK;
}

void
be_puts_destroy(struct be_puts *puts)
{
    if (puts == NULL)
        return;
    explicit_bzero(puts->tokens, sizeof(puts->tokens));
    pthread_mutex_destroy(&puts->lock);
    pthread_cond_destroy(&puts->changed);
    free(puts);
}

void
be_puts_open(struct be_puts *puts, uint64_t session_id, struct be_put_lines *lines)
{
    puts->session_id = session_id;
    puts->lines = lines;
}

/* The lock is held. Nothing of it is written from now on. */
static void
end_locked(struct be_puts *puts, struct be_put *put, CUresult cr)
{
    struct be_put_piece **at = &puts->first;

    if (put->over)
        return;
    put->over = true;
    put->result = cr;
    while (*at != NULL) {
        if ((*at)->put == put)
            *at = (*at)->next;
        else
            at = &(*at)->next;
    }
    puts->tail = at;
    put->queued = 0;
    pthread_cond_broadcast(&puts->changed);
}

void
be_puts_end(struct be_session *session, const struct be_context *context)
{
    struct be_puts *puts = session->puts;

    if (puts == NULL)
        return;
    pthread_mutex_lock(&puts->lock);
    if (context == NULL)
        puts->closing = true;
    for (int i = 0; i < BE_PUT_TOKENS_MAX; i++)
        if (puts->tokens[i].id != 0 && (context == NULL || puts->tokens[i].context == context))
            explicit_bzero(&puts->tokens[i], sizeof(puts->tokens[i]));
    for (struct be_put *put = puts->puts; put != NULL; put = put->next)
        if (context == NULL || put->context == context)
            end_locked(puts, put, CUDA_ERROR_CONTEXT_IS_DESTROYED);
    pthread_mutex_unlock(&puts->lock);
    /* Who sends from a context that ends may wait for a server that says nothing. */
    if (puts->lines != NULL && context == NULL)
        be_put_lines_close(puts->lines);
    else if (puts->lines != NULL && be_puts_sending(puts, context))
        be_put_lines_break(puts->lines);
}

/* -- tokens ------------------------------------------------------------------------------------ */

/* The lock is held. A free place, or that of a token whose time is over; NULL. */
static struct be_put_token *
place_locked(struct be_puts *puts, uint64_t now)
{
    for (int i = 0; i < BE_PUT_TOKENS_MAX; i++)
        if (puts->tokens[i].id == 0 || puts->tokens[i].until_ns <= now)
            return &puts->tokens[i];
    return NULL;
}

static CUresult
token_make(struct be_call *call, const struct wire_gpPutToken_args *args,
           uint8_t out[WIRE_PUT_TOKEN_BYTES])
{
    struct be_puts *puts = call->session->puts;
    struct be_put_token token = {
        .context = call->context, .stream = args->stream, .dst = args->dst, .bytes = args->bytes};
    struct be_put_token *place;
    CUresult cr = CUDA_SUCCESS;

    if (gp_random_bytes(&token.id, sizeof(token.id)) != GP_OK ||
        gp_random_bytes(token.secret, sizeof(token.secret)) != GP_OK)
        return CUDA_ERROR_OPERATING_SYSTEM;
    token.id |= 1;
    token.until_ns = gp_deadline_after(gp_now_ns(), call->session->limits.put_ns);
    pthread_mutex_lock(&puts->lock);
    place = place_locked(puts, gp_now_ns());
    if (place != NULL)
        *place = token;
    else
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_unlock(&puts->lock);
    wire_put_token_encode(token.id, token.secret, out);
    explicit_bzero(&token, sizeof(token));
    return cr;
}

CUresult
be_hook_gpPutToken(struct be_call *call, const struct wire_gpPutToken_args *args,
                   struct wire_gpPutToken_reply *reply)
{
    struct be_session *session = call->session;
    struct gp_buf *out = be_scratch(session);
    uint8_t token[WIRE_PUT_TOKEN_BYTES];
    CUstream stream;
    CUresult cr;

    if (session->puts == NULL || session->puts->lines == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = be_handle_get(session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS && args->bytes == 0)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(session, args->dst, args->bytes);
    if (cr == CUDA_SUCCESS)
        cr = token_make(call, args, token);
    if (cr != CUDA_SUCCESS)
        return cr;
    gp_buf_append(out, token, sizeof(token));
    explicit_bzero(token, sizeof(token));
    if (gp_buf_status(out) != GP_OK)
        return CUDA_ERROR_OUT_OF_MEMORY;
    reply->session = session->puts->session_id;
    reply->token = out->data;
    reply->token_len = (uint32_t)out->len;
    return CUDA_SUCCESS;
}

/* The lock is held. A token that is good now; NULL. */
static struct be_put_token *
find_locked(struct be_puts *puts, uint64_t id)
{
    uint64_t now = gp_now_ns();

    for (int i = 0; i < BE_PUT_TOKENS_MAX && id != 0; i++)
        if (puts->tokens[i].id == id && puts->tokens[i].until_ns > now)
            return &puts->tokens[i];
    return NULL;
}

CUresult
be_hook_gpPutDrop(struct be_call *call, const struct wire_gpPutDrop_args *args)
{
    struct be_puts *puts = call->session->puts;
    struct be_put_token *token;

    if (puts == NULL)
        return CUDA_SUCCESS;
    pthread_mutex_lock(&puts->lock);
    token = find_locked(puts, args->id);
    if (token != NULL)
        explicit_bzero(token, sizeof(*token));
    for (struct be_put *put = puts->puts; put != NULL; put = put->next)
        if (put->id == args->id)
            end_locked(puts, put, CUDA_ERROR_NOT_PERMITTED);
    pthread_mutex_unlock(&puts->lock);
    return CUDA_SUCCESS;
}

bool
be_puts_secret(struct be_puts *puts, uint64_t id, uint8_t secret[WIRE_PUT_SECRET_BYTES])
{
    const struct be_put_token *token;

    pthread_mutex_lock(&puts->lock);
    token = find_locked(puts, id);
    if (token != NULL)
        memcpy(secret, token->secret, WIRE_PUT_SECRET_BYTES);
    pthread_mutex_unlock(&puts->lock);
    return token != NULL;
}

/* -- a put that comes -------------------------------------------------------------------------- */

/* The lock is held. */
static CUresult
spend_locked(struct be_puts *puts, const struct wire_put *ask, struct be_put *put)
{
    struct be_put_token *token = find_locked(puts, ask->id);

    if (puts->closing || token == NULL ||
        !gp_secret_equal(token->secret, ask->secret, sizeof(token->secret)))
        return CUDA_ERROR_NOT_PERMITTED;
    put->id = token->id;
    put->context = token->context;
    put->stream = token->stream;
    put->dst = token->dst;
    put->left = token->bytes;
    explicit_bzero(token, sizeof(*token)); /* whatever comes of it: it is spent */
    if (put->left != ask->bytes)
        return CUDA_ERROR_INVALID_VALUE;
    put->next = puts->puts;
    puts->puts = put;
    return CUDA_SUCCESS;
}

CUresult
be_put_begin(struct be_puts *puts, const struct wire_put *ask, struct be_put **put_p)
{
    struct be_put *put = calloc(1, sizeof(*put));
    CUresult cr;

    if (put == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    put->puts = puts;
    put->room = malloc((size_t)BE_PUT_DEPTH * WIRE_PUT_BLOCK);
    pthread_mutex_lock(&puts->lock);
    cr = put->room != NULL ? spend_locked(puts, ask, put) : CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_unlock(&puts->lock);
    if (cr != CUDA_SUCCESS) {
        free(put->room);
        free(put);
        return cr;
    }
    *put_p = put;
    return CUDA_SUCCESS;
}

uint8_t *
be_put_room(struct be_put *put)
{
    struct be_puts *puts = put->puts;
    bool over;

    pthread_mutex_lock(&puts->lock);
    while (put->queued == BE_PUT_DEPTH && !put->over)
        pthread_cond_wait(&puts->changed, &puts->lock);
    over = put->over;
    pthread_mutex_unlock(&puts->lock);
    return over ? NULL : put->room + (size_t)(put->filled % BE_PUT_DEPTH) * WIRE_PUT_BLOCK;
}

void
be_put_block(struct be_put *put, uint32_t bytes)
{
    struct be_puts *puts = put->puts;
    struct be_put_piece *piece = &put->pieces[put->filled % BE_PUT_DEPTH];

    piece->bytes = bytes;
    piece->from = put->room + (size_t)(put->filled % BE_PUT_DEPTH) * WIRE_PUT_BLOCK;
    piece->put = put;
    piece->next = NULL;
    put->filled++;
    pthread_mutex_lock(&puts->lock);
    if (!put->over) {
        put->queued++;
        *puts->tail = piece;
        puts->tail = &piece->next;
    }
    pthread_mutex_unlock(&puts->lock);
    be_executor_wake(puts->session);
}

CUresult
be_put_end(struct be_put *put, bool whole)
{
    struct be_puts *puts = put->puts;
    struct be_put **at = &puts->puts;
    CUresult cr;

    pthread_mutex_lock(&puts->lock);
    if (!whole)
        end_locked(puts, put, CUDA_ERROR_INVALID_VALUE);
    while (!put->over || put->busy)
        pthread_cond_wait(&puts->changed, &puts->lock);
    while (*at != put)
        at = &(*at)->next;
    *at = put->next;
    cr = put->result;
    pthread_mutex_unlock(&puts->lock);
    free(put->room);
    free(put);
    return cr;
}

/* -- the executor ------------------------------------------------------------------------------ */

/* The last block was handed over; when it has arrived. */
struct arrival {
    struct be_wait wait;
    struct be_session *session;
    struct be_put *put;
};

static void
put_settle(struct be_puts *puts, struct be_put *put, CUresult cr)
{
    pthread_mutex_lock(&puts->lock);
    put->busy = false;
    end_locked(puts, put, cr);
    pthread_cond_broadcast(&puts->changed);
    pthread_mutex_unlock(&puts->lock);
}

static void
arrival_run(struct be_wait *wait, CUresult cr)
{
    struct arrival *a = GP_CONTAINER_OF(wait, struct arrival, wait);

    be_context_event_put(wait->context, wait->event);
    put_settle(a->session->puts, a->put, cr);
    be_pending_drop(a->session, a);
}

/* put is busy: it stays until this is over. */
static CUresult
arrival_await(struct be_call *call, struct be_put *put, CUstream stream)
{
    struct be_session *session = call->session;
    struct arrival *a = be_pending_new(session, sizeof(*a));
    CUresult cr;

    if (a == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    a->session = session;
    a->put = put;
    cr = be_wait_mark(&a->wait, call->context, stream, arrival_run);
    if (cr != CUDA_SUCCESS) {
        be_pending_drop(session, a);
        return cr;
    }
    be_waits_submit(session->waits, &a->wait);
    return CUDA_SUCCESS;
}

/* As a client's copy: in the session's turn, with its memory there. */
static CUresult
piece_copy(struct be_call *call, const struct be_put *put, const struct be_put_piece *piece,
           CUstream *stream_p)
{
    const struct wire_cuMemcpyHtoDAsync_v2_args args = {
        .dst = put->dst, .stream = put->stream, .data_len = piece->bytes};
    uint8_t head[WIRE_HEAD_cuMemcpyHtoDAsync_v2_args];
    size_t len = sizeof(head) + piece->bytes;
    struct wire_record record = {.call = WIRE_CALL_cuMemcpyHtoDAsync_v2,
                                 .context = call->context->index,
                                 .bytes = (uint32_t)(sizeof(record) + WIRE_PAD(len))};
    enum be_stay_verdict verdict;
    struct be_pace_pass pass;
    struct be_copy_in in;
    CUresult cr = be_copy_in_begin(call, &args, &in);

    if (cr == CUDA_SUCCESS)
        cr = be_copy_in_get(call, &in, piece->bytes);
    if (cr != CUDA_SUCCESS)
        return cr;
    memcpy(in.block->data, piece->from, piece->bytes);
    wire_head_cuMemcpyHtoDAsync_v2_args(head, &args);
    verdict = be_pace_enter(call, &record, head, len, &pass);
    if (verdict != BE_STAY_GO) {
        be_staging_put(in.staging, in.block);
        /* Or the client is gone. */
        return verdict == BE_STAY_REFUSED ? CUDA_ERROR_OUT_OF_MEMORY
                                          : CUDA_ERROR_DEVICE_UNAVAILABLE;
    }
    cr = be_copy_in_go(call, &in, piece->bytes);
    be_pace_leave(&pass);
    be_pace_flush(call->session);
    be_stay_leave(call->session);
    *stream_p = in.stream;
    return cr;
}

/* The piece is out of the queue, and its put is busy. */
static void
piece_run(struct be_session *session, struct be_put *put, const struct be_put_piece *piece)
{
    struct be_call call = {.session = session,
                           .driver = &session->driver->table,
                           .context = put->context,
                           .id = WIRE_CALL_cuMemcpyHtoDAsync_v2};
    struct be_puts *puts = session->puts;
    CUstream stream = NULL;
    CUresult cr = be_use_context(session, call.context);

    if (cr == CUDA_SUCCESS)
        cr = piece_copy(&call, put, piece, &stream);
    put->dst += piece->bytes;
    put->left -= piece->bytes;
    if (cr == CUDA_SUCCESS && put->left == 0) {
        cr = arrival_await(&call, put, stream);
        if (cr == CUDA_SUCCESS)
            return;
    }
    if (cr != CUDA_SUCCESS) {
        put_settle(puts, put, cr);
        return;
    }
    pthread_mutex_lock(&puts->lock);
    put->busy = false;
    if (!put->over)
        put->queued--;
    pthread_cond_broadcast(&puts->changed);
    pthread_mutex_unlock(&puts->lock);
}

bool
be_puts_run(struct be_session *session)
{
    struct be_puts *puts = session->puts;
    struct be_put_piece *piece;

    if (puts == NULL || puts->lines == NULL)
        return false;
    pthread_mutex_lock(&puts->lock);
    piece = puts->first;
    if (piece != NULL) {
        puts->first = piece->next;
        if (puts->first == NULL)
            puts->tail = &puts->first;
        piece->put->busy = true;
    }
    pthread_mutex_unlock(&puts->lock);
    if (piece != NULL)
        piece_run(session, piece->put, piece);
    return piece != NULL;
}
