/* backend/cuda/print.c -- what kernels print
 *
 * The driver writes it to the process's standard output, which in a worker is a file in memory: a
 * pipe could fill up while the driver writes in the middle of a synchronisation, and then nobody
 * would be there to read it (tail.h).
 */
#include "backend/cuda/jobs.h"

#include <stdio.h>

static bool
print_send(struct be_session *session, const uint8_t *text, size_t len)
{
    struct wire_gpNoticePrint_args args = {.text = text, .text_len = (uint32_t)len};
    uint8_t *to =
        be_notice_begin(session, WIRE_CALL_gpNoticePrint, 0, wire_size_gpNoticePrint_args(&args));

    if (to == NULL)
        return false;
    wire_put_gpNoticePrint_args(to, &args);
    be_notice_end(session);
    return true;
}

void
be_print_drain(struct be_session *session)
{
    uint8_t text[4096];
    ssize_t n;

    if (session->printed.fd < 0)
        return;
    (void)fflush(stdout);
    pthread_mutex_lock(&session->print_lock);
    if (be_tail_grown(&session->printed))
        while ((n = be_tail_read(&session->printed, text, sizeof(text))) > 0 &&
               print_send(session, text, (size_t)n))
            ;
    pthread_mutex_unlock(&session->print_lock);
}
