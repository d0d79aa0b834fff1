/* transport/resolve.c */
#include "transport/resolve.h"

#include "protocol/base/util.h"
#include "transport/lane.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* What the helper thread works on; on the heap, because it may outlive the question. */
struct question {
    struct gaicb cb;
    struct addrinfo hints;
    char host[GP_URL_HOST_MAX + 1];
    char port[8];
};

static enum gp_status
say(const struct gp_url *url, const struct tp_opts *opts, int rc)
{
    if (rc == EAI_MEMORY)
        return tp_fail(opts, GP_ERR_NO_MEMORY, "%s: out of memory", url->host);
    if (rc == EAI_INPROGRESS || rc == EAI_AGAIN) /* which says nothing about the name */
        return tp_fail(opts, GP_ERR_TIMEOUT,
                       "%s: the name server does not answer: check /etc/resolv.conf or give an "
                       "IP address",
                       url->host);
    return tp_fail(opts, GP_ERR_NOT_FOUND, "%s: unknown host (%s): check the name", url->host,
                   gai_strerror(rc));
}

/* The helper thread must not take signals that the program meant for itself. */
static int
start(struct question *q)
{
    struct gaicb *list[1] = {&q->cb};
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static int
await(struct question *q, uint64_t deadline_ns)
{
    const struct gaicb *list[1] = {&q->cb};
    int rc;

    while ((rc = gai_error(&q->cb)) == EAI_INPROGRESS) {
        uint64_t now = gp_now_ns();
        uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
        struct timespec ts = gp_timespec(left);

        if (left == 0)
            return EAI_INPROGRESS;
        (void)gai_suspend(list, 1, deadline_ns == GP_FOREVER ? NULL : &ts);
    }
    return rc;
}

static enum gp_status
ask(const struct gp_url *url, struct question *q, const struct tp_opts *opts,
    struct tp_addresses *out_p)
{
    int rc = start(q);

    if (rc == 0)
        rc = await(q, opts->deadline_ns);
    if (rc == EAI_INPROGRESS && gai_cancel(&q->cb) != EAI_CANCELED) {
        if (gai_error(&q->cb) == EAI_INPROGRESS)
            return say(url, opts, rc); /* q stays with the helper thread */
        rc = gai_error(&q->cb);
    }
    if (rc == 0)
        out_p->list = q->cb.ar_result;
    free(q);
    return rc == 0 ? GP_OK : say(url, opts, rc);
}

enum gp_status
tp_resolve(const struct gp_url *url, bool passive, const struct tp_opts *opts,
           struct tp_addresses *out_p)
{
    struct question *q = calloc(1, sizeof(*q));
    int rc;

    if (q == NULL)
        return GP_ERR_NO_MEMORY;
    snprintf(q->host, sizeof(q->host), "%s", strcmp(url->host, "*") == 0 ? "::" : url->host);
    snprintf(q->port, sizeof(q->port), "%u", url->port);
    q->hints = (struct addrinfo){
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | (passive ? AI_PASSIVE : 0),
    };
    rc = getaddrinfo(q->host, q->port, &q->hints, &out_p->list);
    if (rc != EAI_NONAME) {
        free(q);
        return rc == 0 ? GP_OK : say(url, opts, rc);
    }
    q->hints.ai_flags &= ~AI_NUMERICHOST;
    q->cb = (struct gaicb){.ar_name = q->host, .ar_service = q->port, .ar_request = &q->hints};
    return ask(url, q, opts, out_p);
}

void
tp_addresses_free(struct tp_addresses *addresses)
{
    freeaddrinfo(addresses->list);
    addresses->list = NULL;
}
