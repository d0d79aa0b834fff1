/* tests/unit/frontend/stress.c -- everything at once on one session, for ThreadSanitizer
 *
 * Criterion does not start under it, hence a plain program. Exit code 0 if all answers were right,
 * and all threads came back when the server went away in the middle.
 */
#include "fake.h"

#include "frontend/core/call.h"
#include "frontend/core/data.h"
#include "frontend/core/notice.h"

#include <semaphore.h>
#include <string.h>

#define THREADS    6
#define ROUNDS     300
#define COPY_BYTES 40000u

/* --- the server -------------------------------------------------------------------- */

static void
send_copy(struct fake *f, uint32_t data)
{
    static uint8_t bytes[COPY_BYTES];
    uint32_t i;

    for (i = 0; i < COPY_BYTES; i++)
        bytes[i] = (uint8_t)i;
    fake_data(f, data, 0, bytes, COPY_BYTES / 2, 0, 0);
    fake_data(f, data, COPY_BYTES / 2, bytes + COPY_BYTES / 2, COPY_BYTES / 2, 1, 0);
}

static void
ask_host(struct fake *f, uint32_t tag)
{
    struct wire_gpNoticeHost_args host = {.callback = tag};
    struct wire_gpNoticePull_args pull = {.source = tag, .bytes = 100};
    uint8_t row[64];

    wire_put_gpNoticeHost_args(row, &host);
    fake_notice(f, WIRE_CALL_gpNoticeHost, tag, row, wire_size_gpNoticeHost_args(&host));
    wire_put_gpNoticePull_args(row, &pull);
    fake_notice(f, WIRE_CALL_gpNoticePull, tag, row, wire_size_gpNoticePull_args(&pull));
}

static void
on_record(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    unsigned *end_after = f->opts.user;
    struct wire_gpCopyOut3D_args copy;
    struct wire_gpLease_args lease;

    if (end_after != NULL && f->records > *end_after) {
        f->opts.cut = true; /* the next bytes of ours do not leave whole */
        f->opts.cut_after = f->sent + 20;
    }
    switch (record->call) {
    case WIRE_CALL_gpCopyOut3D:
        FAKE_NEED(wire_get_gpCopyOut3D_args(args, len, &copy));
        send_copy(f, copy.data);
        break;
    case WIRE_CALL_gpLease:
        FAKE_NEED(wire_get_gpLease_args(args, len, &lease));
        fake_reply(f, record, 0, 0, &lease.bytes, 8);
        if (lease.bytes % 50 == 0)
            ask_host(f, (uint32_t)lease.bytes + 1);
        break;
    default:
        fake_answer(f, record, args, len);
        break;
    }
}

/* --- the client ---------------------------------------------------------------------- */

static sem_t host_ran, pull_ran; /* posted each time */

static void
on_host(struct fe_session *s, uint64_t callback, CUresult status)
{
    (void)s;
    (void)callback;
    (void)status;
    sem_post(&host_ran);
}

static const void *
on_pull(struct fe_session *s, uint64_t source, uint64_t bytes)
{
    static const uint8_t offered[128];

    (void)s;
    (void)source;
    sem_post(&pull_ran);
    return bytes <= sizeof(offered) ? offered : NULL;
}

static CUresult
upload(size_t len)
{
    static const uint8_t bytes[200 << 10];
    struct wire_gpUpload_args args = {.data = bytes, .data_len = (uint32_t)len};
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_gpUpload);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post_tail(&call, WIRE_HEAD_gpUpload_args, bytes, len);
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_head_gpUpload_args(to, &args);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

static CUresult
lease(uint64_t bytes)
{
    struct wire_gpLease_args args = {.bytes = bytes};
    struct wire_gpLease_reply reply;
    const uint8_t *answer;
    struct fe_call call;
    size_t len;
    CUresult cr = fe_enter(&call, WIRE_CALL_gpLease);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(&call, wire_size_gpLease_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_gpLease_args(to, &args);
    fe_post_done(&call);
    cr = fe_wait(&call, &answer, &len);
    if (cr == CUDA_SUCCESS)
        FAKE_NEED(wire_get_gpLease_reply(answer, len, &reply) && reply.granted == bytes);
    return fe_leave(&call, cr);
}

static CUresult
copy_out(uint8_t *dst, enum fe_data_mode mode)
{
    struct wire_gpCopyOut3D_args args = {0};
    struct fe_call call;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_gpCopyOut3D, NULL);
    void *to;

    if (cr == CUDA_SUCCESS)
        cr = fe_data_open_linear(&call, dst, COPY_BYTES, mode, &args.data);
    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(&call, wire_size_gpCopyOut3D_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_gpCopyOut3D_args(to, &args);
    if (mode == FE_DATA_ASYNC)
        fe_post_done(&call);
    else
        fe_post_done_wait(&call);
    if (mode == FE_DATA_WAIT)
        cr = fe_data_wait(&call, args.data);
    return fe_leave(&call, cr);
}

static CUresult
one_round(uint64_t n, uint8_t *dst, uint8_t *async_dst)
{
    CUresult cr = upload(n % 40 == 39 ? 150000 : n % 700);

    if (cr == CUDA_SUCCESS && n % 3 == 0)
        cr = lease(n);
    if (cr == CUDA_SUCCESS && n % 7 == 0) {
        memset(dst, 0, COPY_BYTES);
        cr = copy_out(dst, FE_DATA_WAIT);
        FAKE_NEED(cr != CUDA_SUCCESS || dst[COPY_BYTES - 1] == (uint8_t)(COPY_BYTES - 1));
    }
    if (cr == CUDA_SUCCESS && n % 11 == 0) {
        async_dst[COPY_BYTES - 1] = 0;
        cr = copy_out(async_dst, FE_DATA_ASYNC);
        if (cr == CUDA_SUCCESS)
            cr = lease(n); /* proves it */
        FAKE_NEED(cr != CUDA_SUCCESS || async_dst[COPY_BYTES - 1] == (uint8_t)(COPY_BYTES - 1));
    }
    return cr;
}

/* Set before the threads: each goes on until it hears that the server died. Of a fixed number of
 * rounds one could be done before, while the others had no processor. */
static bool until_lost;

static void *
work(void *arg)
{
    static uint8_t memory[THREADS][2][COPY_BYTES];
    uintptr_t me = (uintptr_t)arg;
    CUresult cr = CUDA_SUCCESS;
    uint64_t n;

    for (n = 1; (n <= ROUNDS || until_lost) && cr == CUDA_SUCCESS; n++)
        cr = one_round(n, memory[me][0], memory[me][1]);
    return (void *)(uintptr_t)cr;
}

static void
run(struct fake *f, CUresult wanted)
{
    pthread_t threads[THREADS];
    void *result;
    uintptr_t i;

    until_lost = wanted != CUDA_SUCCESS;
    FAKE_NEED(fe_start() == CUDA_SUCCESS);
    for (i = 0; i < THREADS; i++)
        FAKE_NEED(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &result);
        FAKE_NEED((CUresult)(uintptr_t)result == wanted);
    }
    if (wanted == CUDA_SUCCESS) {
        FAKE_NEED(lease(1) == CUDA_SUCCESS);
        FAKE_NEED(sem_wait(&host_ran) == 0 && sem_wait(&pull_ran) == 0);
    }
    fake_stop(f);
}

int
main(int argc, char **argv)
{
    static const struct fe_notice_handlers handlers = {.host = on_host, .pull = on_pull};
    unsigned end_after = 2000;
    bool die = argc > 1 && strcmp(argv[1], "die") == 0;
    struct fake f;

    FAKE_NEED(sem_init(&host_ran, 0, 0) == 0 && sem_init(&pull_ran, 0, 0) == 0);
    fe_notice_set_handlers(&handlers);
    fake_start(&f, &(struct fake_opts){.on_record = on_record,
                                       .user = die ? &end_after : NULL,
                                       .heartbeat_ms = 500});
    run(&f, die ? CUDA_ERROR_DEVICE_UNAVAILABLE : CUDA_SUCCESS);
    puts("stress: ok");
    return 0;
}
