/* backend/cuda/print.c -- what kernels print
 *
 * The driver writes it to the process's standard output, which in a worker is a file in memory: a
 * pipe could fill up while the driver writes in the middle of a synchronisation, and then nobody
 * would be there to read it. What was read is punched out of the file.
 */
#include "backend/cuda/jobs.h"

#include "protocol/base/util.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define BE_PRINT_PUNCH (1u << 20)

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

    if (session->print_fd < 0)
        return;
    (void)fflush(stdout);
    pthread_mutex_lock(&session->print_lock);
    while ((n = pread(session->print_fd, text, sizeof(text), (off_t)session->print_at)) > 0) {
        uint64_t before = session->print_at / BE_PRINT_PUNCH;

        session->print_at += (uint64_t)n;
        if (session->print_at / BE_PRINT_PUNCH != before)
            (void)fallocate(session->print_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                            (off_t)session->print_at);
        if (!print_send(session, text, (size_t)n))
            break;
    }
    pthread_mutex_unlock(&session->print_lock);
}
