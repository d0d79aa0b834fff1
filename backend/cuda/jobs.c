/* backend/cuda/jobs.c -- device-to-host copies: queued, sent once, before any proof */
#include "backend/cuda/jobs.h"

#include "backend/cuda/array.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/data.h"

#include <stdlib.h>
#include <string.h>

/* More than this is not copied ahead into pinned memory, but in the background. */
#define BE_JOB_STAGED_MAX (32ull << 20)
#define BE_JOB_PIECES_MAX 1024
#define BE_BIG_DEPTH      4
#define BE_PIECE_BYTES    BE_STAGING_BLOCK_MAX

enum be_job_state {
    BE_JOB_QUEUED,
    BE_JOB_SENDING,
    BE_JOB_SENT,
};

struct be_piece {
    struct be_block *block;
    uint64_t offset; /* in the packed data */
    uint32_t bytes;
    CUevent event; /* NULL: the next piece's will do */
};

struct be_job {
    struct be_wait wait;
    struct be_call call; /* tag != 0: answer when all is sent */
    uint64_t number;
    uint32_t data;
    struct be_staging *staging;
    uint32_t piece_count;
    struct be_piece *pieces;
    /* Guarded by jobs_lock. */
    enum be_job_state state;
    struct be_job *next;
};

/* -- sending ------------------------------------------------------------------------------------
 */

static void
send_failed(struct be_session *session, uint32_t data, CUresult cr)
{
    struct wire_data head = {.flags = WIRE_DATA_LAST | WIRE_DATA_FAILED, .result = (int32_t)cr};

    (void)be_data_send(session, data, &head, NULL, 0);
}

/* The caller has the job; its first pieces are there, the others are waited for. */
static CUresult
job_send(struct be_job *job)
{
    struct be_session *session = job->call.session;
    CUresult cr = CUDA_SUCCESS;

    for (uint32_t i = 0; i < job->piece_count; i++) {
        struct be_piece *piece = &job->pieces[i];
        struct wire_data head = {.offset = piece->offset};

        if (piece->event != NULL)
            cr = session->driver->table.cuEventSynchronize(piece->event);
        if (cr != CUDA_SUCCESS) {
            send_failed(session, job->data, cr);
            break;
        }
        if (i + 1 == job->piece_count)
            head.flags = WIRE_DATA_LAST;
        if (!be_data_send(session, job->data, &head, piece->block->data, piece->bytes))
            break;
    }
    return cr;
}

static void
job_free(struct be_job *job)
{
    for (uint32_t i = 0; i < job->piece_count; i++) {
        be_staging_put(job->staging, job->pieces[i].block);
        be_context_event_put(job->wait.context, job->pieces[i].event);
    }
    be_pending_put(job->call.session);
    free(job->pieces);
    free(job);
}

static void
job_unlink_locked(struct be_session *session, struct be_job *job)
{
    struct be_job **at = &session->jobs;

    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (session->jobs_tail == &job->next)
        session->jobs_tail = at;
}

/* Claim, send, and mark; false if somebody else has it or had it. */
static bool
job_claim_and_send(struct be_session *session, struct be_job *job, CUresult *cr_p)
{
    pthread_mutex_lock(&session->jobs_lock);
    if (job->state != BE_JOB_QUEUED) {
        pthread_mutex_unlock(&session->jobs_lock);
        return false;
    }
    job->state = BE_JOB_SENDING;
    pthread_mutex_unlock(&session->jobs_lock);
    *cr_p = job_send(job);
    pthread_mutex_lock(&session->jobs_lock);
    job->state = BE_JOB_SENT;
    pthread_cond_broadcast(&session->jobs_sent);
    pthread_mutex_unlock(&session->jobs_lock);
    return true;
}

/* The job's own wait came to its end: its owner, the only one that frees it. */
static void
job_run(struct be_wait *wait, CUresult cr)
{
    struct be_job *job = GP_CONTAINER_OF(wait, struct be_job, wait);
    struct be_session *session = job->call.session;

    (void)job_claim_and_send(session, job, &cr);
    pthread_mutex_lock(&session->jobs_lock);
    while (job->state != BE_JOB_SENT)
        pthread_cond_wait(&session->jobs_sent, &session->jobs_lock);
    job_unlink_locked(session, job);
    pthread_mutex_unlock(&session->jobs_lock);
    if (job->call.tag != 0) {
        be_prove(session, job->number);
        be_reply_plain(&job->call, cr);
    } else {
        be_flush(session);
    }
    job_free(job);
}

/* The first job before a number that is proven but not sent, claimed; NULL if there is none.
 * Jobs that another thread is sending are waited for: the proof must not overtake them. */
static struct be_job *
proven_next(struct be_session *session, uint64_t before)
{
    struct be_job *job;

    pthread_mutex_lock(&session->jobs_lock);
again:
    for (job = session->jobs; job != NULL && job->number < before; job = job->next) {
        if (job->state == BE_JOB_SENT)
            continue;
        /* Does not wait, so the lock may be held. */
        if (session->driver->table.cuEventQuery(job->wait.done) == CUDA_ERROR_NOT_READY)
            continue;
        if (job->state == BE_JOB_SENDING) {
            pthread_cond_wait(&session->jobs_sent, &session->jobs_lock);
            goto again;
        }
        job->state = BE_JOB_SENDING;
        break;
    }
    if (job != NULL && job->number >= before)
        job = NULL;
    pthread_mutex_unlock(&session->jobs_lock);
    return job;
}

void
be_prove(struct be_session *session, uint64_t before)
{
    struct be_job *job;

    while ((job = proven_next(session, before)) != NULL) {
        (void)job_send(job);
        pthread_mutex_lock(&session->jobs_lock);
        job->state = BE_JOB_SENT;
        pthread_cond_broadcast(&session->jobs_sent);
        pthread_mutex_unlock(&session->jobs_lock);
    }
    be_print_drain(session);
}

/* -- cutting a region into pieces ----------------------------------------------------------------
 */

struct be_cut {
    uint64_t x, y, z;
    uint64_t bytes, rows; /* of a row, rows */
};

static uint64_t
region_bytes(const struct be_region *r)
{
    return r->width * r->height * r->depth;
}

/* The piece that begins at cut's place: part of a row, or whole rows of one slice; a slice that
 * lies packed goes as one long row. */
static void
cut_here(const struct be_region *r, struct be_cut *cut)
{
    if (r->width > BE_PIECE_BYTES || cut->x != 0) {
        cut->bytes = gp_min_u64(r->width - cut->x, BE_PIECE_BYTES);
        cut->rows = 1;
        return;
    }
    cut->bytes = r->width;
    cut->rows = gp_min_u64(r->height - cut->y, BE_PIECE_BYTES / r->width);
}

static void
cut_next(const struct be_region *r, struct be_cut *cut)
{
    cut->x += cut->bytes;
    if (cut->x < r->width)
        return;
    cut->x = 0;
    cut->y += cut->rows;
    if (cut->y < r->height)
        return;
    cut->y = 0;
    cut->z++;
}

static uint64_t
cut_offset(const struct be_region *r, const struct be_cut *cut)
{
    return (cut->z * r->height + cut->y) * r->width + cut->x;
}

static CUresult
cut_copy(const struct be_driver_table *t, const struct be_region *r, const struct be_cut *cut,
         void *to, CUstream stream)
{
    CUdeviceptr from = r->base + cut->z * r->slice + cut->y * r->pitch + cut->x;
    CUDA_MEMCPY3D copy;

    if (r->array == NULL && (cut->rows == 1 || r->pitch == r->width))
        return t->cuMemcpyDtoHAsync_v2(to, from, cut->bytes * cut->rows, stream);
    memset(&copy, 0, sizeof(copy));
    be_region_source(r, cut->x, cut->y, cut->z, &copy);
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = to;
    copy.dstPitch = cut->bytes;
    copy.dstHeight = cut->rows;
    copy.WidthInBytes = cut->bytes;
    copy.Height = copy.srcHeight = cut->rows; /* one slice, however high they are */
    copy.Depth = 1;
    return t->cuMemcpy3DAsync_v2(&copy, stream);
}

void
be_region_source(const struct be_region *region, uint64_t x, uint64_t y, uint64_t z,
                 CUDA_MEMCPY3D *copy)
{
    if (region->array != NULL) {
        copy->srcMemoryType = CU_MEMORYTYPE_ARRAY;
        copy->srcArray = region->array->array;
        copy->srcXInBytes = region->x + x;
        copy->srcY = region->y + y;
        copy->srcZ = region->z + z;
        return;
    }
    copy->srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy->srcDevice = region->base + z * region->slice + y * region->pitch + x;
    copy->srcPitch = region->pitch;
    copy->srcHeight = region->slice / region->pitch;
}

void
be_region_target(const struct be_region *region, uint64_t x, uint64_t y, uint64_t z,
                 CUDA_MEMCPY3D *copy)
{
    if (region->array != NULL) {
        copy->dstMemoryType = CU_MEMORYTYPE_ARRAY;
        copy->dstArray = region->array->array;
        copy->dstXInBytes = region->x + x;
        copy->dstY = region->y + y;
        copy->dstZ = region->z + z;
        return;
    }
    copy->dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy->dstDevice = region->base + z * region->slice + y * region->pitch + x;
    copy->dstPitch = region->pitch;
    copy->dstHeight = region->slice / region->pitch;
}

static uint64_t
cut_count(const struct be_region *r)
{
    uint64_t per_row, rows_a_piece;

    if (r->width > BE_PIECE_BYTES) {
        per_row = (r->width + BE_PIECE_BYTES - 1) / BE_PIECE_BYTES;
        return per_row * r->height * r->depth;
    }
    rows_a_piece = BE_PIECE_BYTES / r->width;
    return (r->height + rows_a_piece - 1) / rows_a_piece * r->depth;
}

/* -- jobs that fit into pinned memory
 * --------------------------------------------------------------- */

static CUresult
job_stage(struct be_job *job, const struct be_region *from, CUstream stream)
{
    const struct be_driver_table *t = job->call.driver;
    struct be_cut cut = {0};
    CUresult cr;

    for (uint64_t left = cut_count(from); left > 0; left--) {
        struct be_piece *piece = &job->pieces[job->piece_count];

        cut_here(from, &cut);
        cr = be_staging_get(job->staging, cut.bytes * cut.rows, false, &piece->block);
        if (cr != CUDA_SUCCESS)
            return cr;
        piece->offset = cut_offset(from, &cut);
        piece->bytes = (uint32_t)(cut.bytes * cut.rows);
        job->piece_count++;
        cut_next(from, &cut);
    }
    memset(&cut, 0, sizeof(cut));
    for (uint32_t i = 0; i < job->piece_count; i++) {
        cut_here(from, &cut);
        cr = cut_copy(t, from, &cut, job->pieces[i].block->data, stream);
        if (cr == CUDA_SUCCESS)
            cr = be_context_mark(job->call.context, stream, &job->pieces[i].event);
        if (cr != CUDA_SUCCESS)
            return cr;
        cut_next(from, &cut);
    }
    return CUDA_SUCCESS;
}

/* Give up after an error: copies that were queued may still write into the pieces. */
static void
job_abandon(struct be_job *job)
{
    for (uint32_t i = 0; i < job->piece_count; i++)
        if (job->pieces[i].event != NULL)
            (void)job->call.driver->cuEventSynchronize(job->pieces[i].event);
    job_free(job);
}

static void
job_queue(struct be_session *session, struct be_job *job)
{
    pthread_mutex_lock(&session->jobs_lock);
    job->number = session->next_job++;
    *session->jobs_tail = job;
    session->jobs_tail = &job->next;
    pthread_mutex_unlock(&session->jobs_lock);
    be_park(session, &job->wait);
}

static CUresult
job_start(struct be_call *call, const struct be_region *from, uint32_t data, CUstream stream)
{
    struct be_job *job = NULL;
    CUresult cr;

    if (be_pending_take(call->session)) {
        job = calloc(1, sizeof(*job));
        if (job == NULL)
            be_pending_put(call->session);
    }
    if (job == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    job->call = *call;
    job->data = data;
    job->wait.kind = BE_WAIT_EVENT;
    job->wait.context = call->context;
    job->wait.lane = be_lane_key(call->context, stream);
    job->wait.run = job_run;
    job->pieces = calloc(cut_count(from), sizeof(*job->pieces));
    cr = job->pieces != NULL ? be_context_staging(call->context, &job->staging)
                             : CUDA_ERROR_OUT_OF_MEMORY;
    if (cr == CUDA_SUCCESS)
        cr = job_stage(job, from, stream);
    if (cr != CUDA_SUCCESS) {
        job_abandon(job);
        return cr;
    }
    job->wait.event = job->pieces[0].event;
    job->wait.done = job->pieces[job->piece_count - 1].event;
    job_queue(call->session, job);
    return call->tag != 0 ? BE_PARKED : CUDA_SUCCESS;
}

/* -- jobs that do not
 * ------------------------------------------------------------------------------ */

/* The copy runs on a stream of ours. Where the client does not wait for it, its stream is held by
 * a host function until all is copied. */
struct be_big {
    struct be_wait wait;
    struct be_call call;
    struct be_region from;
    uint32_t data;
    uint64_t number;
    CUstream copier;
    struct be_staging *staging;
    bool holds;

    pthread_mutex_t lock; /* rank 45 */
    pthread_cond_t copied_cond;
    /* Guarded by lock. */
    bool copied, released;
};

struct be_big_slot {
    struct be_block *block;
    struct be_cut cut;
    CUevent event;
};

static void
big_free(struct be_big *big)
{
    pthread_cond_destroy(&big->copied_cond);
    pthread_mutex_destroy(&big->lock);
    be_array_put(big->from.array);
    be_pending_put(big->call.session);
    free(big);
}

/* CUhostFn, in the client's stream. */
static void
big_hold(void *arg)
{
    struct be_big *big = arg;

    pthread_mutex_lock(&big->lock);
    while (!big->copied)
        pthread_cond_wait(&big->copied_cond, &big->lock);
    big->released = true;
    pthread_cond_broadcast(&big->copied_cond);
    pthread_mutex_unlock(&big->lock);
}

static CUresult
big_issue(struct be_big *big, struct be_cut *cut, struct be_big_slot *slot)
{
    CUresult cr = CUDA_SUCCESS;

    cut_here(&big->from, cut);
    slot->cut = *cut;
    if (slot->block == NULL)
        cr = be_staging_get(big->staging, BE_PIECE_BYTES, true, &slot->block);
    if (cr == CUDA_SUCCESS)
        cr = cut_copy(big->call.driver, &big->from, cut, slot->block->data, big->copier);
    if (cr == CUDA_SUCCESS)
        cr = be_context_mark(big->wait.context, big->copier, &slot->event);
    cut_next(&big->from, cut);
    return cr;
}

static CUresult
big_copy(struct be_big *big)
{
    struct be_session *session = big->call.session;
    struct be_big_slot slots[BE_BIG_DEPTH] = {{0}};
    uint64_t count = cut_count(&big->from), issued = 0;
    struct be_cut cut = {0};
    CUresult cr = CUDA_SUCCESS;

    for (uint64_t i = 0; i < count && cr == CUDA_SUCCESS; i++) {
        struct be_big_slot *slot = &slots[i % BE_BIG_DEPTH];
        struct wire_data head = {.flags = i + 1 == count ? WIRE_DATA_LAST : 0};

        while (issued < count && issued < i + BE_BIG_DEPTH && cr == CUDA_SUCCESS)
            cr = big_issue(big, &cut, &slots[issued++ % BE_BIG_DEPTH]);
        if (cr == CUDA_SUCCESS)
            cr = session->driver->table.cuEventSynchronize(slot->event);
        be_context_event_put(big->wait.context, slot->event);
        slot->event = NULL;
        head.offset = cut_offset(&big->from, &slot->cut);
        if (cr == CUDA_SUCCESS && !be_data_send(session, big->data, &head, slot->block->data,
                                                slot->cut.bytes * slot->cut.rows))
            break;
    }
    (void)session->driver->table.cuStreamSynchronize(big->copier);
    for (int i = 0; i < BE_BIG_DEPTH; i++) {
        if (slots[i].block != NULL)
            be_staging_put(big->staging, slots[i].block);
        be_context_event_put(big->wait.context, slots[i].event);
    }
    return cr;
}

static void
big_run(struct be_wait *wait, CUresult cr)
{
    struct be_big *big = GP_CONTAINER_OF(wait, struct be_big, wait);
    struct be_session *session = big->call.session;

    if (cr == CUDA_SUCCESS)
        cr = big_copy(big);
    if (cr != CUDA_SUCCESS)
        send_failed(session, big->data, cr);
    be_context_event_put(wait->context, wait->event);
    if (big->call.tag != 0) {
        be_prove(session, big->number);
        be_reply_plain(&big->call, cr);
    } else {
        be_flush(session);
    }
    pthread_mutex_lock(&big->lock);
    big->copied = true;
    pthread_cond_broadcast(&big->copied_cond);
    /* A broken context runs no host function any more; then nobody comes. */
    while (big->holds && !big->released && cr == CUDA_SUCCESS)
        pthread_cond_wait(&big->copied_cond, &big->lock);
    pthread_mutex_unlock(&big->lock);
    if (cr == CUDA_SUCCESS || !big->holds)
        big_free(big);
}

static CUresult
big_start(struct be_call *call, const struct be_region *from, uint32_t data, CUstream stream)
{
    struct be_big *big = NULL;
    CUresult cr;

    if (be_pending_take(call->session)) {
        big = calloc(1, sizeof(*big));
        if (big == NULL)
            be_pending_put(call->session);
    }
    if (big == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    big->call = *call;
    big->from = *from;
    if (from->array != NULL)
        (void)be_array_get(from->array);
    big->data = data;
    big->number = call->session->next_job++;
    big->holds = call->tag == 0;
    big->wait.kind = BE_WAIT_EVENT;
    big->wait.context = call->context;
    big->wait.run = big_run;
    pthread_mutex_init(&big->lock, NULL);
    pthread_cond_init(&big->copied_cond, NULL);
    cr = be_context_staging(call->context, &big->staging);
    if (cr == CUDA_SUCCESS)
        cr = be_context_copier(call->context, &big->copier);
    if (cr == CUDA_SUCCESS)
        cr = be_context_mark(call->context, stream, &big->wait.event);
    if (cr == CUDA_SUCCESS && big->holds) {
        cr = call->driver->cuLaunchHostFunc(stream, big_hold, big);
        if (cr != CUDA_SUCCESS)
            be_context_event_put(call->context, big->wait.event);
    }
    if (cr != CUDA_SUCCESS) {
        big_free(big);
        return cr;
    }
    /* Not left to the executor: sending takes long. */
    be_waits_submit(call->session->waits, &big->wait);
    return call->tag != 0 ? BE_PARKED : CUDA_SUCCESS;
}

/* -- the way in
 * -------------------------------------------------------------------------------------- */

/* Rows and slices without gaps are one long row: fewer pieces. */
static struct be_region
region_joined(const struct be_region *from)
{
    struct be_region r = *from;

    if (r.array != NULL)
        return r;
    if (r.depth == 1 || r.slice == r.pitch * r.height) {
        r.height *= r.depth;
        r.depth = 1;
    }
    if (r.depth == 1 && (r.height == 1 || r.pitch == r.width)) {
        r.width *= r.height;
        r.height = 1;
    }
    return r;
}

CUresult
be_copy_out(struct be_call *call, const struct be_region *region, uint32_t data, CUstream stream)
{
    struct wire_data head = {.flags = WIRE_DATA_LAST};
    struct be_region joined = region_joined(region);
    const struct be_region *from = &joined;
    CUresult cr = CUDA_ERROR_NOT_READY;

    if (region_bytes(from) == 0) {
        (void)be_data_send(call->session, data, &head, NULL, 0);
        return CUDA_SUCCESS;
    }
    if (region_bytes(from) <= BE_JOB_STAGED_MAX && cut_count(from) <= BE_JOB_PIECES_MAX)
        cr = job_start(call, from, data, stream);
    if (cr == CUDA_ERROR_NOT_READY)
        cr = big_start(call, from, data, stream);
    /* Who waits for the data must hear of it too; a reply says it by itself. */
    if (cr != CUDA_SUCCESS && cr != BE_PARKED)
        send_failed(call->session, data, cr);
    return cr;
}

void
be_copy_refuse(struct be_call *call, uint32_t data, CUresult cr)
{
    send_failed(call->session, data, cr);
}

void
be_jobs_destroy(struct be_session *session)
{
    /* Waiters free their jobs, so after they are gone the list is empty. */
    session->jobs = NULL;
    session->jobs_tail = &session->jobs;
}
