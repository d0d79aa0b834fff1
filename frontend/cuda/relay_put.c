/* frontend/cuda/relay_put.c -- bytes that go from server to server, and not through this program
 *
 * The destination's session makes a token for one copy, the source's connects there with it
 * (protocol/wire/put.h). By RDMA where the destination listens for that, both sessions were asked
 * for by a URL that does not insist on encryption (gpupool://, rdma://), and the source's server
 * has a way; else by tls. What was found not to go between two servers is not tried again.
 */
#include "frontend/cuda/relay_priv.h"

#include "frontend/core/line.h"
#include "frontend/core/perf.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/state.h"
#include "frontend/cuda/stream.h"
#include "protocol/base/log.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"
#include "protocol/wire/put.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#define URL_BYTES 128

/* Best first. */
enum way {
    BY_RDMA,
    BY_TLS,
    WAYS,
};

/* What does not go from which server to which, by their places among the sessions. */
static _Atomic bool closed[FE_SESSIONS_MAX][FE_SESSIONS_MAX][WAYS];

/* What the destination's session gave out for one copy. */
struct token {
    uint64_t session;
    uint8_t bytes[WIRE_PUT_TOKEN_BYTES];
    uint32_t len;
};

static bool
can_put(const struct fe_session *s)
{
    return wire_call_set_has(&s->calls, WIRE_CALL_gpPutToken) &&
           wire_call_set_has(&s->calls, WIRE_CALL_gpPutDrop) &&
           wire_call_set_has(&s->calls, WIRE_CALL_gpPutSend);
}

/* -- where another server finds this one -------------------------------------------------- */

/* With the address in numbers: a server asks nobody for names. */
static bool
resolve(const char *scheme, const struct gp_url *url, char out[URL_BYTES])
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    unsigned port = url->has_port ? url->port : TP_PORT_DEFAULT;
    char host[INET6_ADDRSTRLEN];
    struct addrinfo *list;
    int rc;

    if (getaddrinfo(url->host, NULL, &hints, &list) != 0)
        return false;
    rc = getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(list);
    snprintf(out, URL_BYTES, strchr(host, ':') != NULL ? "%s://[%s]:%u" : "%s://%s:%u", scheme,
             host, port);
    return rc == 0;
}

/* Where we found it. */
static bool
tls_url(const struct fe_session *s, char out[URL_BYTES])
{
    const struct tp_lane *lane = s->line->lane;
    const char *scheme = tp_scheme(lane);
    struct gp_url url;

    if (gp_url_parse(s->url, &url) != GP_OK)
        return false;
    if (strcmp(scheme, "tls") == 0 || strcmp(scheme, "tcp") == 0) {
        snprintf(out, URL_BYTES, "%s://%s", scheme, tp_peer(lane)->address);
        return true;
    }
    /* By RDMA or shared memory: the port where the session began, if it began by TLS. */
    if (strcmp(url.scheme, "tls") != 0 && strcmp(url.scheme, TP_SCHEME_BEST) != 0)
        return false;
    return resolve("tls", &url, out);
}

/* Who asked for tls:// wants what it sends encrypted. */
static bool
takes_any_lane(const struct fe_session *s)
{
    struct gp_url url;

    return gp_url_parse(s->url, &url) == GP_OK &&
           (strcmp(url.scheme, "rdma") == 0 || strcmp(url.scheme, TP_SCHEME_BEST) == 0);
}

/* Its own port for RDMA, or the one it told us of. */
static bool
rdma_url(const struct fe_session *to, const struct fe_session *from, char out[URL_BYTES])
{
    const char *offered = to->line->resume.rdma_offered;
    struct gp_url url;

    return takes_any_lane(to) && takes_any_lane(from) &&
           gp_url_parse(offered[0] != '\0' ? offered : to->url, &url) == GP_OK &&
           strcmp(url.scheme, "rdma") == 0 && resolve("rdma", &url, out);
}

/* -- one copy ------------------------------------------------------------------------------ */

/* What else the program has to hear is for a later call of its own. */
static CUresult
leave(struct fe_call *call, struct fe_session *session, CUresult cr)
{
    CUresult left = fe_leave(call, cr);

    if (cr == CUDA_SUCCESS && left != CUDA_SUCCESS)
        fe_call_defer(session, left);
    return cr;
}

static CUresult
token_get(const struct fe_relay_side *dst, size_t bytes, struct token *token)
{
    struct wire_gpPutToken_args args = {.dst = dst->address, .bytes = bytes};
    struct wire_gpPutToken_reply reply;
    struct fe_call call;
    CUstream stream;
    CUresult cr = fe_relay_enter(dst, &stream);

    if (cr == CUDA_SUCCESS)
        cr = fe_enter_in(&call, WIRE_CALL_gpPutToken, dst->ctx);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.stream = ((const struct fe_stream *)stream)->object.wire;
    FE_ASK(cr, &call, gpPutToken, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.token_len != sizeof(token->bytes))
        cr = CUDA_ERROR_UNKNOWN;
    if (cr == CUDA_SUCCESS) {
        token->session = reply.session;
        token->len = reply.token_len;
        memcpy(token->bytes, reply.token, sizeof(token->bytes));
    }
    return leave(&call, dst->ctx->head.session, cr);
}

/* Nothing comes by it any more, behind what is called next. */
static void
token_drop(const struct fe_relay_side *dst, const struct token *token)
{
    uint8_t secret[WIRE_PUT_SECRET_BYTES];
    struct wire_gpPutDrop_args args;
    struct fe_call call;
    CUresult cr;

    if (wire_put_token_decode(token->bytes, token->len, &args.id, secret) != GP_OK ||
        fe_enter_on(&call, WIRE_CALL_gpPutDrop, dst->ctx->head.session) != CUDA_SUCCESS)
        return; /* with the server its tokens are gone */
    FE_TELL(cr, &call, gpPutDrop, &args);
    (void)fe_leave(&call, cr);
}

static const char *
name_of(const struct fe_session *s)
{
    return s->server[0] != '\0' ? s->server : s->url;
}

/* This way is not taken again; further: there is another one. */
static void
note_closed(const struct fe_session *to, const struct fe_session *from, enum way way,
            const char *why)
{
    if (atomic_exchange(&closed[from->index][to->index][way], true))
        return;
    if (way == BY_RDMA)
        log_info("copies from %s to %s do not go by rdma: %s", name_of(from), name_of(to), why);
    else
        log_warn("copies from %s to %s go through this program: %s", name_of(from), name_of(to),
                 why);
}

enum sent {
    SENT,
    NOT_THIS_WAY,
    FAILED, /* by whatever way */
};

static enum sent
put_send(const struct fe_relay_side *dst, const struct fe_relay_side *src, size_t bytes,
         const struct token *token, enum way way, const char *url)
{
    struct wire_gpPutSend_args args = {.src = src->address,
                                       .bytes = bytes,
                                       .session = token->session,
                                       .token = token->bytes,
                                       .token_len = token->len,
                                       .url = url,
                                       .url_len = (uint32_t)strlen(url)};
    struct fe_session *from = src->ctx->head.session;
    struct wire_gpPutSend_reply reply;
    enum sent sent = FAILED;
    struct fe_call call;
    CUstream stream;
    CUresult cr = fe_relay_enter_to_go(src, &stream);

    if (cr == CUDA_SUCCESS)
        cr = fe_enter_in(&call, WIRE_CALL_gpPutSend, src->ctx);
    if (cr != CUDA_SUCCESS)
        return FAILED;
    args.stream = ((const struct fe_stream *)stream)->object.wire;
    FE_ASK(cr, &call, gpPutSend, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.result == CUDA_SUCCESS) {
        sent = SENT;
    } else if (cr == CUDA_SUCCESS && (reply.reached == 0 || reply.why_len > 0)) {
        note_closed(dst->ctx->head.session, from, way, reply.why);
        sent = NOT_THIS_WAY;
    } else if (cr == CUDA_SUCCESS) {
        log_info("a copy from %s goes through this program: error %d", from->url, reply.result);
    }
    if (cr == CUDA_SUCCESS && sent != SENT)
        cr = CUDA_ERROR_UNKNOWN; /* nothing for the program */
    return leave(&call, from, cr) == CUDA_SUCCESS || sent != SENT ? sent : FAILED;
}

static enum sent
put_by(const struct fe_relay_side *dst, const struct fe_relay_side *src, size_t bytes, enum way way,
       const char *url)
{
    const struct fe_session *to = dst->ctx->head.session, *from = src->ctx->head.session;
    struct token token;
    enum sent sent;
    CUresult cr = token_get(dst, bytes, &token);

    if (cr == CUDA_ERROR_NOT_SUPPORTED)
        note_closed(to, from, BY_TLS, "no other server finds the session there");
    if (cr != CUDA_SUCCESS)
        return FAILED;
    sent = put_send(dst, src, bytes, &token, way, url);
    if (sent == SENT)
        fe_stats_count_between(bytes, way == BY_RDMA ? FE_BETWEEN_RDMA : FE_BETWEEN_TLS);
    else
        token_drop(dst, &token);
    explicit_bzero(&token, sizeof(token));
    return sent;
}

bool
fe_relay_put(const struct fe_relay_side *dst, const struct fe_relay_side *src, size_t bytes)
{
    const struct fe_session *to = dst->ctx->head.session, *from = src->ctx->head.session;
    enum sent sent = NOT_THIS_WAY;
    char url[URL_BYTES];

    if (!fe_perf(FE_PERF_DIRECT) || !can_put(to) || !can_put(from))
        return false;
    for (int way = 0; way < WAYS && sent == NOT_THIS_WAY; way++)
        if (!atomic_load(&closed[from->index][to->index][way]) &&
            (way == BY_RDMA ? rdma_url(to, from, url) : tls_url(to, url)))
            sent = put_by(dst, src, bytes, (enum way)way, url);
    return sent == SENT;
}
