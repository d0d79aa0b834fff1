/* tests/unit/frontend/test_calls.c -- calls on their way: order, answers, errors */
#include "fake.h"

#include "frontend/core/call.h"
#include "frontend/core/data.h"
#include "frontend/core/notice.h"
#include "frontend/core/stats.h"
#include "protocol/base/clock.h"
#include "protocol/base/compress.h"
#include "protocol/wire/data.h"
#include "protocol/wire/negotiate.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 8
#define POSTS   3000

/* --- small calls ------------------------------------------------------------------ */

/* One gpUpload: upload and offset tell the server who posted what. */
static CUresult
post_upload(uint32_t upload, uint64_t offset, const void *bytes, size_t len)
{
    struct wire_gpUpload_args args = {
        .upload = upload,
        .total = ~0ull,
        .offset = offset,
        .data = bytes,
        .data_len = (uint32_t)len,
    };
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
barrier(void)
{
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr = fe_enter(&call, WIRE_CALL_gpBarrier);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_post(&call, 0) == NULL)
        return fe_leave(&call, fe_lost(&call));
    fe_post_done(&call);
    return fe_leave(&call, fe_wait(&call, &bytes, &len));
}

/* gpLease of bytes; the fake may grant what it likes. */
static CUresult
lease(uint64_t bytes, uint64_t *granted_p)
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
    if (cr == CUDA_SUCCESS && !wire_get_gpLease_reply(answer, len, &reply))
        cr = fe_malformed(&call);
    if (cr == CUDA_SUCCESS)
        *granted_p = reply.granted;
    return fe_leave(&call, cr);
}

/* A copy out whose `data` argument the fake answers. */
static CUresult
copy_out(const struct fe_data_shape *shape, enum fe_data_mode mode)
{
    struct wire_gpCopyOut3D_args args = {0};
    struct fe_call call;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_gpCopyOut3D, NULL);
    void *to;

    if (cr == CUDA_SUCCESS)
        cr = fe_data_open(&call, shape, mode, &args.data);
    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(&call, wire_size_gpCopyOut3D_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_gpCopyOut3D_args(to, &args);
    if (mode == FE_DATA_ASYNC) {
        fe_post_done(&call);
        return fe_leave(&call, CUDA_SUCCESS);
    }
    fe_post_done_wait(&call);
    return fe_leave(&call, fe_data_wait(&call, args.data));
}

/* --- order ------------------------------------------------------------------------- */

struct order {
    uint64_t next[THREADS + 1]; /* what each thread posts next */
    unsigned wrong;
};

static uint8_t
pattern(uint32_t upload, uint64_t offset, size_t i)
{
    return (uint8_t)(upload * 31 + offset * 7 + i);
}

static void
check_order(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    struct order *order = f->opts.user;
    struct wire_gpUpload_args a;
    uint32_t i;

    if (record->call != WIRE_CALL_gpUpload) {
        fake_answer(f, record, args, len);
        return;
    }
    cr_assert(wire_get_gpUpload_args(args, len, &a));
    order->wrong += a.upload >= THREADS || a.offset != order->next[a.upload]++;
    for (i = 0; i < a.data_len; i++)
        order->wrong += a.data[i] != pattern(a.upload, a.offset, i);
}

static void *
post_many(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;
    uint8_t *bytes = malloc(300 << 10);
    uint64_t n;

    for (n = 0; n < POSTS; n++) {
        size_t len = n % 301 == 300 ? (size_t)(70 << 10) + me * 1001 : n % 90, i;

        for (i = 0; i < len; i++)
            bytes[i] = pattern(me, n, i);
        cr_assert_eq(post_upload(me, n, bytes, len), CUDA_SUCCESS);
        memset(bytes, 0xee, len); /* it is ours again */
        if (n % 500 == 499)
            cr_assert_eq(barrier(), CUDA_SUCCESS);
    }
    free(bytes);
    return NULL;
}

Test(calls, of_each_thread_arrive_in_its_order_whatever_their_size)
{
    struct order order = {0};
    struct fake f;
    pthread_t threads[THREADS];
    uintptr_t i;

    fake_start(&f, &(struct fake_opts){.on_record = check_order, .user = &order});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    for (i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, post_many, (void *)i);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    fake_stop(&f);
    cr_assert_eq(order.wrong, 0);
    for (i = 0; i < THREADS; i++)
        cr_assert_eq(order.next[i], POSTS);
}

Test(calls, need_no_round_trip_when_they_are_asynchronous)
{
    struct order order = {0};
    struct fe_stats stats;
    struct fake f;
    uint64_t n;

    fake_start(&f, &(struct fake_opts){.on_record = check_order, .user = &order});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    for (n = 0; n < 1000; n++)
        cr_assert_eq(post_upload(0, n, NULL, 0), CUDA_SUCCESS);
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    fe_stats_get(&stats);
    cr_assert_eq(stats.exposed_round_trips, 2, "the opening and the barrier");
    cr_assert_eq(stats.calls_async, 1000);
    cr_assert_eq(stats.calls_sync, 1);
    fake_stop(&f);
    cr_assert_eq(order.next[0], 1000);
}

static void
check_and_count(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    check_order(f, record, args, len);
    fake_set(f, f->flag + 1);
}

/* Calls that are waited for after few others make the client leave sending to those who wait: what
 * nobody waits for must leave all the same. */
Test(calls, that_nobody_waits_for_leave_after_many_that_were_waited_for, .timeout = 60)
{
    struct order order = {0};
    struct fake f;
    uint64_t n = 0;
    unsigned seen = 0, i, k;

    fake_start(&f, &(struct fake_opts){.on_record = check_and_count, .user = &order});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    for (i = 0; i < 60; i++) {
        for (k = 0; k < 3 + i; k++) {
            cr_assert_eq(post_upload(0, n++, NULL, 0), CUDA_SUCCESS);
            cr_assert_eq(barrier(), CUDA_SUCCESS);
            seen += 2;
        }
        for (k = 0; k <= i; k++)
            cr_assert_eq(post_upload(0, n++, NULL, 0), CUDA_SUCCESS);
        seen += k;
        fake_await(&f, seen); /* without a call of ours */
    }
    fake_stop(&f);
    cr_assert_eq(order.wrong, 0);
    cr_assert_eq(order.next[0], n);
}

/* Ten waits, each right after its call, and one call that no wait follows, again and again: leaving
 * it to a wait costs more than ten of those bring in, so that soon it is not done any more. */
Test(calls, are_not_held_back_for_waits_that_do_not_follow, .timeout = 60)
{
    struct order order = {0};
    struct fe_stats stats;
    struct fake f;
    uint64_t n = 0, waits = 0;
    unsigned seen = 0, i, k;

    fake_start(&f, &(struct fake_opts){.on_record = check_and_count, .user = &order});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    for (i = 0; i < 400; i++) {
        for (k = 0; k < 10; k++, waits++) {
            cr_assert_eq(post_upload(0, n++, NULL, 0), CUDA_SUCCESS);
            cr_assert_eq(barrier(), CUDA_SUCCESS);
        }
        cr_assert_eq(post_upload(0, n++, NULL, 0), CUDA_SUCCESS);
        seen += 2 * k + 1;
        fake_await(&f, seen);
    }
    fe_stats_get(&stats);
    fake_stop(&f);
    cr_assert_eq(order.next[0], n);
    cr_assert_leq(stats.held, waits / 50 + 1);
}

static _Atomic uint64_t flood_posted;
static uint64_t flood_lag; /* how far posting was ahead of the server at most */

/* The server takes its first record only when the client has filled its buffers. */
static void
read_late(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    while (flood_posted < 40)
        sched_yield();
    if (flood_posted - f->records > flood_lag && flood_posted > f->records)
        flood_lag = flood_posted - f->records;
    check_order(f, record, args, len);
}

Test(calls, wait_for_room_when_the_server_does_not_read)
{
    static uint8_t bytes[32 << 10];
    struct order order = {0};
    struct fake f;
    uint64_t n;
    size_t i;

    fake_start(&f, &(struct fake_opts){.on_record = read_late, .user = &order});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    for (n = 0; n < 2000; n++) {
        for (i = 0; i < sizeof(bytes); i++)
            bytes[i] = pattern(0, n, i);
        cr_assert_eq(post_upload(0, n, bytes, sizeof(bytes)), CUDA_SUCCESS);
        flood_posted = n + 1;
    }
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    fake_stop(&f);
    cr_assert_eq(order.next[0], 2000);
    cr_assert_eq(order.wrong, 0);
    /* 2,000 posts are 64 MiB: more than sockets and buffers hold together. */
    cr_assert_lt(flood_lag, 1000, "posting was %lu ahead", flood_lag);
    cr_assert_geq(flood_lag, 30, "and not one by one");
}

/* --- answers ------------------------------------------------------------------------- */

struct shuffle {
    struct wire_record held[64];
    uint64_t asked[64];
    unsigned count;
};

/* Answers leases four at a time, the last one first. */
static void
answer_backwards(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    struct shuffle *s = f->opts.user;
    struct wire_gpLease_args a;

    cr_assert(wire_get_gpLease_args(args, len, &a));
    s->held[s->count] = *record;
    s->asked[s->count++] = a.bytes;
    if (s->count < 4)
        return;
    while (s->count > 0) {
        uint64_t granted = s->asked[--s->count] * 3;

        fake_reply(f, &s->held[s->count], 0, 0, &granted, 8);
    }
}

static void *
lease_many(void *arg)
{
    uint64_t me = (uintptr_t)arg, n, granted;

    for (n = 0; n < 500; n++) {
        cr_assert_eq(lease(me * 1000 + n, &granted), CUDA_SUCCESS);
        cr_assert_eq(granted, (me * 1000 + n) * 3);
    }
    return NULL;
}

Test(calls, that_wait_get_their_own_answers_in_any_order)
{
    struct shuffle shuffle = {0};
    pthread_t threads[4];
    struct fake f;
    uintptr_t i;

    fake_start(&f, &(struct fake_opts){.on_record = answer_backwards, .user = &shuffle});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    for (i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, lease_many, (void *)i);
    for (i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    fake_stop(&f);
}

static void
answer_with_errors(struct fake *f, const struct wire_record *record, const uint8_t *args,
                   size_t len)
{
    uint64_t granted = 0;

    (void)args;
    (void)len;
    if (record->call == WIRE_CALL_gpLease) /* its own success, and somebody else's failure */
        fake_reply(f, record, 0, CUDA_ERROR_ILLEGAL_ADDRESS, &granted, 8);
    else if (record->tag != 0)
        fake_reply(f, record, f->records == 1 ? CUDA_ERROR_INVALID_VALUE : 0, 0, NULL, 0);
}

Test(calls, report_their_own_error_at_once_and_a_deferred_one_where_cuda_does)
{
    uint64_t granted = 77;
    struct fake f;

    fake_start(&f, &(struct fake_opts){.on_record = answer_with_errors});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(barrier(), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    cr_assert_eq(lease(1, &granted), CUDA_SUCCESS, "a lease is not where CUDA reports it");
    cr_assert_eq(granted, 0);
    cr_assert_eq(barrier(), CUDA_ERROR_ILLEGAL_ADDRESS);
    cr_assert_eq(barrier(), CUDA_SUCCESS, "without a context nothing keeps it");
    fake_stop(&f);
}

static void
fault_context(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    cr_assert_eq(record->context, 1);
    (void)args;
    (void)len;
    fake_reply(f, record, CUDA_ERROR_ILLEGAL_ADDRESS, 0, NULL, 0);
}

Test(calls, in_a_context_that_had_a_fault_fail_without_the_server)
{
    struct fe_context_head *head;
    const uint8_t *bytes;
    struct fe_call call;
    struct fake f;
    size_t len;

    fake_start(&f, &(struct fake_opts){.on_record = fault_context});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(fe_enter(&call, WIRE_CALL_cuCtxSynchronize), CUDA_ERROR_INVALID_CONTEXT);
    fe_slab_define(WIRE_HANDLE_CONTEXT, sizeof(*head), 16);
    head = fe_object_create(WIRE_HANDLE_CONTEXT, NULL);
    head->session = fe_session_get(NULL);
    fe_thread.context = (struct fe_context *)head;
    cr_assert_eq(fe_enter(&call, WIRE_CALL_cuCtxSynchronize), CUDA_SUCCESS);
    cr_assert_not_null(fe_post(&call, 0));
    fe_post_done(&call);
    cr_assert_eq(fe_leave(&call, fe_wait(&call, &bytes, &len)), CUDA_ERROR_ILLEGAL_ADDRESS);
    cr_assert_eq(fe_enter(&call, WIRE_CALL_cuCtxSynchronize), CUDA_ERROR_ILLEGAL_ADDRESS);
    fe_object_set_state(head, FE_OBJECT_DORMANT);
    cr_assert_eq(fe_enter(&call, WIRE_CALL_cuCtxSynchronize), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    fake_stop(&f);
    cr_assert_eq(f.records, 1);
}

/* A fault of the other context comes along with the second answer. */
static void
fault_beside(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    (void)args;
    (void)len;
    f->deferred_context = f->records == 1 ? 2 : 1;
    fake_reply(f, record, 0, f->records <= 2 ? CUDA_ERROR_ILLEGAL_ADDRESS : 0, NULL, 0);
}

static CUresult
synchronize_in(struct fe_context_head *head)
{
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr;

    fe_thread.context = (struct fe_context *)head;
    cr = fe_enter(&call, WIRE_CALL_cuCtxSynchronize);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr_assert_not_null(fe_post(&call, 0));
    fe_post_done(&call);
    return fe_leave(&call, fe_wait(&call, &bytes, &len));
}

Test(calls, of_one_context_know_nothing_of_a_fault_of_another)
{
    struct fe_context_head *head[3];
    struct fake f;

    fake_start(&f, &(struct fake_opts){.on_record = fault_beside});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    fe_slab_define(WIRE_HANDLE_CONTEXT, sizeof(*head[0]), 16);
    for (int i = 0; i < 3; i++) {
        head[i] = fe_object_create(WIRE_HANDLE_CONTEXT, NULL);
        head[i]->session = fe_session_get(NULL);
    }
    cr_assert_eq(fe_object_index(head[1]), 2);
    cr_assert_eq(synchronize_in(head[0]), CUDA_SUCCESS);
    cr_assert_eq(synchronize_in(head[1]), CUDA_ERROR_ILLEGAL_ADDRESS, "without asking");
    cr_assert_eq(synchronize_in(head[0]), CUDA_ERROR_ILLEGAL_ADDRESS, "its own, with its answer");
    cr_assert_eq(synchronize_in(head[2]), CUDA_SUCCESS);
    fake_stop(&f);
    cr_assert_eq(f.records, 3);
}

/* The first one finds the fault, which is also what an earlier launch left behind. */
static void
fault_once(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    int fault = f->records == 1 ? CUDA_ERROR_ILLEGAL_ADDRESS : 0;

    (void)args;
    (void)len;
    fake_reply(f, record, fault, fault, NULL, 0);
}

Test(calls, after_a_reset_are_not_told_of_a_fault_again)
{
    struct fe_context_head *head;
    const uint8_t *bytes;
    struct fe_call call;
    struct fake f;
    size_t len;
    int i;

    fake_start(&f, &(struct fake_opts){.on_record = fault_once});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    fe_slab_define(WIRE_HANDLE_CONTEXT, sizeof(*head), 16);
    head = fe_object_create(WIRE_HANDLE_CONTEXT, NULL);
    head->session = fe_session_get(NULL);
    fe_thread.context = (struct fe_context *)head;
    for (i = 0; i < 3; i++) {
        cr_assert_eq(fe_enter(&call, WIRE_CALL_cuCtxSynchronize), CUDA_SUCCESS);
        cr_assert_not_null(fe_post(&call, 0));
        fe_post_done(&call);
        cr_assert_eq(fe_leave(&call, fe_wait(&call, &bytes, &len)),
                     i == 0 ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS, "call %d", i);
        head->sticky = CUDA_SUCCESS; /* what a reset does */
    }
    fake_stop(&f);
}

Test(calls, that_the_server_lacks_are_not_supported)
{
    struct fe_call call;
    struct fake f;

    fake_start(&f, &(struct fake_opts){.lacks = WIRE_CALL_gpLease});
    cr_assert_eq(fe_enter(&call, WIRE_CALL_gpLease), CUDA_ERROR_NOT_INITIALIZED);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(fe_enter(&call, WIRE_CALL_gpLease), CUDA_ERROR_NOT_SUPPORTED);
    cr_assert_eq(fe_enter(&call, WIRE_CALL_gpBarrier), CUDA_SUCCESS);
    cr_assert_eq(fe_refuse("cuNobodyKnows"), CUDA_ERROR_NOT_SUPPORTED);
    fake_stop(&f);
}

/* --- data to the host ------------------------------------------------------------------ */

/* Answers a copy out with the bytes 0, 1, 2 ... in three pieces, the middle one last but one. */
static void
answer_copy(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    size_t total = (size_t)(uintptr_t)f->opts.user, third = total / 3, i;
    struct wire_gpCopyOut3D_args a;
    uint8_t *bytes;

    if (record->call != WIRE_CALL_gpCopyOut3D) {
        fake_answer(f, record, args, len);
        return;
    }
    cr_assert(wire_get_gpCopyOut3D_args(args, len, &a));
    bytes = malloc(total);
    for (i = 0; i < total; i++)
        bytes[i] = (uint8_t)(i * 13);
    fake_data(f, a.data, third, bytes + third, third, 0, 0);
    fake_data(f, a.data, 0, bytes, third, 0, 0);
    fake_data(f, a.data, 2 * third, bytes + 2 * third, total - 2 * third, WIRE_DATA_LAST, 0);
    free(bytes);
}

static unsigned
wrong_bytes(const uint8_t *dst, const struct fe_data_shape *s)
{
    uint64_t slice, row, i, n = 0;
    unsigned wrong = 0;

    for (slice = 0; slice < s->slices; slice++)
        for (row = 0; row < s->rows; row++)
            for (i = 0; i < s->row_bytes; i++, n++)
                wrong += dst[slice * s->slice_pitch + row * s->row_pitch + i] != (uint8_t)(n * 13);
    return wrong;
}

static void
copy_shape(uint64_t row_bytes, uint64_t pitch, uint64_t rows, uint64_t slices,
           enum fe_data_mode mode)
{
    struct fe_data_shape s = {
        .row_bytes = row_bytes,
        .row_pitch = pitch,
        .rows = rows,
        .slice_pitch = pitch * (rows + 1),
        .slices = slices,
    };
    size_t area = s.slice_pitch * slices;
    uint8_t *dst = malloc(area);
    struct fake f;

    memset(dst, 0xaa, area);
    s.dst = dst;
    fake_start(&f, &(struct fake_opts){.on_record = answer_copy,
                                       .user = (void *)(row_bytes * rows * slices)});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(copy_out(&s, mode), CUDA_SUCCESS);
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    cr_assert_eq(wrong_bytes(dst, &s), 0);
    if (pitch > row_bytes)
        cr_assert_eq(dst[row_bytes], 0xaa, "between rows nothing is written");
    fake_stop(&f);
    free(dst);
}

Test(data, of_one_row_lands_in_place)
{
    copy_shape(1000003, 1000003, 1, 1, FE_DATA_WAIT);
}

Test(data, of_short_rows_is_spread)
{
    copy_shape(37, 64, 900, 5, FE_DATA_WAIT);
}

Test(data, of_long_rows_is_spread)
{
    copy_shape(5000, 6001, 40, 3, FE_DATA_WAIT);
}

Test(data, that_nobody_waits_for_is_there_before_the_answer_that_proves_it)
{
    copy_shape(200000, 200000, 1, 1, FE_DATA_ASYNC);
}

static void
fail_copy(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    struct wire_gpCopyOut3D_args a;

    if (record->call == WIRE_CALL_gpCopyOut3D) {
        cr_assert(wire_get_gpCopyOut3D_args(args, len, &a));
        fake_data(f, a.data, 0, NULL, 0, WIRE_DATA_LAST | WIRE_DATA_FAILED,
                  CUDA_ERROR_INVALID_VALUE);
    } else {
        fake_answer(f, record, args, len);
    }
}

Test(data, that_fails_is_an_error_now_or_at_the_next_call_that_may_carry_it)
{
    uint8_t dst[64];
    struct fe_data_shape s = {.dst = dst, .row_bytes = 64, .rows = 1, .slices = 1};
    struct fake f;
    CUresult cr;

    fake_start(&f, &(struct fake_opts){.on_record = fail_copy});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(copy_out(&s, FE_DATA_WAIT), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    cr = copy_out(&s, FE_DATA_ASYNC); /* the failure may be back before the call returns */
    cr_assert_eq(cr == CUDA_SUCCESS ? barrier() : cr, CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(barrier(), CUDA_SUCCESS, "once");
    fake_stop(&f);
}

static void
send_too_much(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    static const uint8_t bytes[128];
    struct wire_gpCopyOut3D_args a;

    (void)record;
    cr_assert(wire_get_gpCopyOut3D_args(args, len, &a));
    fake_data(f, a.data, 32, bytes, 64, WIRE_DATA_LAST, 0);
}

Test(data, beyond_the_destination_ends_the_session_and_is_not_written)
{
    uint8_t dst[128] = {0xcc};
    struct fe_data_shape s = {.dst = dst, .row_bytes = 64, .rows = 1, .slices = 1};
    struct fake f;

    memset(dst, 0xcc, sizeof(dst));
    fake_start(&f, &(struct fake_opts){.on_record = send_too_much});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(copy_out(&s, FE_DATA_WAIT), CUDA_ERROR_DEVICE_UNAVAILABLE);
    cr_assert_eq(dst[32], 0xcc);
    cr_assert_eq(dst[64], 0xcc);
    cr_assert_eq(barrier(), CUDA_ERROR_DEVICE_UNAVAILABLE, "and for ever");
    fake_stop(&f);
}

/* What a server may say in packed data: user is one of these. */
struct packed {
    size_t plain, cut; /* bytes that are packed, that are left out at the end */
    int32_t says;      /* how many they were */
    uint64_t offset;
    uint32_t flags;
};

static void
send_packed(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    const struct packed *p = f->opts.user;
    static uint8_t plain[4096], packed[8192];
    struct wire_gpCopyOut3D_args a;
    size_t bytes;

    if (record->call != WIRE_CALL_gpCopyOut3D) {
        fake_answer(f, record, args, len);
        return;
    }
    cr_assert(wire_get_gpCopyOut3D_args(args, len, &a));
    for (size_t i = 0; i < p->plain; i++)
        plain[i] = (uint8_t)(i * 13);
    cr_assert_eq(gp_zstd_compress(plain, p->plain, packed, sizeof(packed), 1, &bytes), GP_OK);
    fake_data(f, a.data, p->offset, packed, bytes - p->cut, p->flags | WIRE_DATA_LAST, p->says);
}

static CUresult
take_packed(const struct packed *p, uint64_t features, uint64_t rows, uint8_t *dst)
{
    struct fe_data_shape s = {.dst = dst,
                              .row_bytes = 2048 / rows,
                              .row_pitch = 2048 / rows + 8,
                              .rows = rows,
                              .slices = 1};
    struct fake f;
    CUresult cr;

    fake_start(&f, &(struct fake_opts){.on_record = send_packed,
                                       .user = (void *)(uintptr_t)p,
                                       .features = features});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr = copy_out(&s, FE_DATA_WAIT);
    if (cr == CUDA_SUCCESS)
        cr_assert_eq(wrong_bytes(dst, &s), 0);
    fake_stop(&f);
    return cr;
}

#define PACKED(name, rows, features, want, ...)                                                    \
    Test(data, name)                                                                               \
    {                                                                                              \
        static uint8_t dst[4096];                                                                  \
        struct packed p = {__VA_ARGS__};                                                           \
                                                                                                   \
        memset(dst, 0xcc, sizeof(dst));                                                            \
        cr_assert_eq(take_packed(&p, features, rows, dst), want);                                  \
        cr_assert_eq(dst[2048 + 8 * (rows)], 0xcc, "beyond the copy");                             \
    }

PACKED(that_is_packed_lands_in_place, 1, WIRE_FEATURE_COMPRESS, CUDA_SUCCESS, .plain = 2048,
       .says = 2048, .flags = WIRE_DATA_PACKED)
PACKED(that_is_packed_is_spread_over_rows, 8, WIRE_FEATURE_COMPRESS, CUDA_SUCCESS, .plain = 2048,
       .says = 2048, .flags = WIRE_DATA_PACKED)
PACKED(packed_without_agreement_ends_the_session, 1, 0, CUDA_ERROR_DEVICE_UNAVAILABLE,
       .plain = 2048, .says = 2048, .flags = WIRE_DATA_PACKED)
PACKED(that_unpacks_to_more_ends_the_session, 1, WIRE_FEATURE_COMPRESS,
       CUDA_ERROR_DEVICE_UNAVAILABLE, .plain = 4096, .says = 2048, .flags = WIRE_DATA_PACKED)
PACKED(that_unpacks_to_less_ends_the_session, 1, WIRE_FEATURE_COMPRESS,
       CUDA_ERROR_DEVICE_UNAVAILABLE, .plain = 1024, .says = 2048, .flags = WIRE_DATA_PACKED)
PACKED(that_says_more_than_the_copy_ends_the_session, 1, WIRE_FEATURE_COMPRESS,
       CUDA_ERROR_DEVICE_UNAVAILABLE, .plain = 4096, .says = 4096, .flags = WIRE_DATA_PACKED)
PACKED(that_is_packed_beyond_the_copy_ends_the_session, 1, WIRE_FEATURE_COMPRESS,
       CUDA_ERROR_DEVICE_UNAVAILABLE, .plain = 2048, .says = 2048, .offset = 8,
       .flags = WIRE_DATA_PACKED)
PACKED(of_a_negative_length_ends_the_session, 1, WIRE_FEATURE_COMPRESS,
       CUDA_ERROR_DEVICE_UNAVAILABLE, .plain = 2048, .says = -2048, .flags = WIRE_DATA_PACKED)
PACKED(packed_and_cut_ends_the_session, 1, WIRE_FEATURE_COMPRESS, CUDA_ERROR_DEVICE_UNAVAILABLE,
       .plain = 2048, .cut = 3, .says = 2048, .flags = WIRE_DATA_PACKED)
PACKED(packed_and_failed_ends_the_session, 1, WIRE_FEATURE_COMPRESS, CUDA_ERROR_DEVICE_UNAVAILABLE,
       .plain = 2048, .says = 2048, .flags = WIRE_DATA_PACKED | WIRE_DATA_FAILED)

/* --- notices ----------------------------------------------------------------------------- */

static void
print_then_answer(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    struct wire_gpNoticePrint_args print = {.text = (const uint8_t *)"hello from afar\n",
                                            .text_len = 16};
    uint8_t row[64];

    wire_put_gpNoticePrint_args(row, &print);
    fake_notice(f, WIRE_CALL_gpNoticePrint, 0, row, wire_size_gpNoticePrint_args(&print));
    fake_answer(f, record, args, len);
}

Test(notices, of_printf_go_to_standard_output_before_the_call_returns, .init = cr_redirect_stdout)
{
    struct fake f;

    fake_start(&f, &(struct fake_opts){.on_record = print_then_answer});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    printf("one\n");
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    printf("two\n");
    fflush(stdout);
    cr_assert_stdout_eq_str("one\nhello from afar\ntwo\n");
    fake_stop(&f);
}

static pthread_t host_thread;
static uint64_t host_number;
static CUresult host_status;

static void
on_host(struct fe_session *s, uint64_t callback, CUresult status)
{
    cr_assert_eq(s, fe_session_get(NULL));
    host_thread = pthread_self();
    host_number = callback;
    host_status = status;
}

static const uint8_t pull_source[100000] = {1, 2, 3, [99999] = 9};

static const void *
on_pull(struct fe_session *s, uint64_t source, uint64_t bytes)
{
    (void)s;
    return source == 4711 && bytes == sizeof(pull_source) ? pull_source : NULL;
}

static uint64_t freed_sum;

static void
on_freed(struct fe_session *s, int device, const uint64_t *addresses, size_t count)
{
    (void)s;
    while (count-- > 0)
        freed_sum += addresses[count] * (uint64_t)(device + 1);
}

static uint64_t
on_lease(struct fe_session *s, int device)
{
    (void)s;
    return device == 1 ? 4096 : 0;
}

static const struct fe_notice_handlers handlers = {
    .host = on_host,
    .pull = on_pull,
    .freed = on_freed,
    .lease = on_lease,
};

/* A barrier is answered with a host notice, a pull and a freed list; flag 1 and 2 tell what came
 * back. Nobody on the client waits meanwhile. */
static void
ask_client(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    static const uint64_t gone[2] = {1000, 2000};
    struct wire_gpNoticeHost_args host = {.callback = 77, .status = CUDA_SUCCESS};
    struct wire_gpNoticePull_args pull = {.source = 4711, .bytes = sizeof(pull_source)};
    struct wire_gpNoticeFreed_args freed = {.device = 1, .addresses = gone, .addresses_len = 2};
    struct wire_gpPulled_args pulled;
    struct wire_gpHostDone_args done;
    uint8_t row[64];

    switch (record->call) {
    case WIRE_CALL_gpBarrier:
        fake_answer(f, record, args, len);
        wire_put_gpNoticeFreed_args(row, &freed);
        fake_notice(f, WIRE_CALL_gpNoticeFreed, 0, row, wire_size_gpNoticeFreed_args(&freed));
        wire_put_gpNoticeHost_args(row, &host);
        fake_notice(f, WIRE_CALL_gpNoticeHost, 5, row, wire_size_gpNoticeHost_args(&host));
        break;
    case WIRE_CALL_gpHostDone:
        cr_assert(wire_get_gpHostDone_args(args, len, &done));
        cr_assert_eq(done.tag, 5);
        wire_put_gpNoticePull_args(row, &pull);
        fake_notice(f, WIRE_CALL_gpNoticePull, 6, row, wire_size_gpNoticePull_args(&pull));
        break;
    case WIRE_CALL_gpPulled:
        cr_assert(wire_get_gpPulled_args(args, len, &pulled));
        cr_assert_eq(pulled.tag, 6);
        cr_assert_leq(pulled.offset + pulled.data_len, sizeof(pull_source));
        cr_assert_eq(memcmp(pulled.data, pull_source + pulled.offset, pulled.data_len), 0);
        if (pulled.offset + pulled.data_len == sizeof(pull_source)) /* it comes in pieces */
            fake_set(f, 1);
        break;
    default:
        cr_assert_fail("unexpected call");
    }
}

Test(notices, run_on_threads_of_their_own_and_are_answered_while_nobody_waits)
{
    struct fake f;

    fe_notice_set_handlers(&handlers);
    fake_start(&f, &(struct fake_opts){.on_record = ask_client});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    fake_await(&f, 1);
    cr_assert_eq(host_number, 77);
    cr_assert_eq(host_status, CUDA_SUCCESS);
    cr_assert_neq(host_thread, pthread_self());
    cr_assert_eq(freed_sum, 6000);
    fake_stop(&f);
}

/* A barrier is answered with wishes for two devices' leases; only one has something to give. */
static void
want_leases(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    struct wire_gpNoticeLease_args wanted = {.device = 0};
    struct wire_gpLeaseReturn_args given;
    uint8_t row[64];

    if (record->call == WIRE_CALL_gpBarrier) {
        fake_answer(f, record, args, len);
        for (; wanted.device < 2; wanted.device++) {
            wire_put_gpNoticeLease_args(row, &wanted);
            fake_notice(f, WIRE_CALL_gpNoticeLease, 0, row, wire_size_gpNoticeLease_args(&wanted));
        }
        return;
    }
    cr_assert_eq(record->call, WIRE_CALL_gpLeaseReturn);
    cr_assert(wire_get_gpLeaseReturn_args(args, len, &given));
    cr_assert_eq(given.device, 1);
    cr_assert_eq(given.bytes, 4096);
    fake_set(f, 1);
}

Test(notices, give_back_what_a_lease_has_unused)
{
    struct fake f;

    fe_notice_set_handlers(&handlers);
    fake_start(&f, &(struct fake_opts){.on_record = want_leases});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    fake_await(&f, 1);
    fake_stop(&f);
}

static void
pull_secret(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    struct wire_gpNoticePull_args pull = {.source = 0x12345000, .bytes = 16};
    uint8_t row[64];

    (void)args;
    (void)len;
    if (record->call == WIRE_CALL_gpPulled)
        f->flag = 99;
    wire_put_gpNoticePull_args(row, &pull);
    fake_notice(f, WIRE_CALL_gpNoticePull, 6, row, wire_size_gpNoticePull_args(&pull));
}

Test(notices, that_ask_for_memory_not_offered_end_the_session)
{
    struct fake f;

    fe_notice_set_handlers(&handlers);
    fake_start(&f, &(struct fake_opts){.on_record = pull_secret});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(barrier(), CUDA_ERROR_DEVICE_UNAVAILABLE);
    fake_stop(&f);
    cr_assert_neq(f.flag, 99);
}
