/* backend/cuda/jobs.c -- device-to-host copies: queued, sent once, before any proof */
#include "backend/cuda/jobs.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/data.h"

#include <stdlib.h>
#include <string.h>

/* More than this is not copied ahead into pinned memory, but in the background. */
#define BE_JOB_STAGED_MAX (32ull << 20)
/* The same where the background needs no pinned memory. */
#define BE_JOB_FILLED_MAX (2ull << 20)
#define BE_JOB_PIECES_MAX 1024

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
    struct be_job_lane *lane; /* until sent */
    struct be_job *next;
};

/* Jobs of one stream that are not sent, by number: where the first has not happened, none has. It
 * exists while it has some. */
struct be_job_lane {
    const void *key;
    struct be_job *head, **tail;
    struct be_job_lane *next;
};

void
be_jobs_init(struct be_session *session)
{
    pthread_mutex_init(&session->jobs_lock, NULL);
    pthread_cond_init(&session->jobs_sent, NULL);
}

void
be_jobs_destroy(struct be_session *session)
{
    pthread_cond_destroy(&session->jobs_sent);
    pthread_mutex_destroy(&session->jobs_lock);
}

/* -- sending ------------------------------------------------------------------------------------
 */

void
be_copy_refuse(struct be_call *call, uint32_t data, CUresult cr)
{
    struct wire_data head = {.flags = WIRE_DATA_LAST | WIRE_DATA_FAILED, .result = (int32_t)cr};

    (void)be_data_send(call->session, data, &head, NULL, 0);
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
            be_copy_refuse(&job->call, job->data, cr);
            break;
        }
        if (i + 1 == job->piece_count)
            head.flags = WIRE_DATA_LAST;
        if (!be_data_send_lent(session, job->data, &head, piece->block->data, piece->bytes))
            break;
    }
    return cr;
}

static void
job_free(struct be_job *job)
{
    for (uint32_t i = 0; i < job->piece_count; i++) {
        be_data_settle(job->call.session, job->pieces[i].block->data, job->pieces[i].bytes);
        be_staging_put(job->staging, job->pieces[i].block);
        be_context_event_put(job->wait.context, job->pieces[i].event);
    }
    be_pending_put(job->call.session);
    free(job->pieces);
    free(job);
}

/* -- who sends, and when ------------------------------------------------------------------------
 */

/* False: no memory. */
static bool
job_link_locked(struct be_session *session, struct be_job *job)
{
    struct be_job_lane *lane = session->job_lanes;

    while (lane != NULL && lane->key != job->wait.lane)
        lane = lane->next;
    if (lane == NULL) {
        lane = calloc(1, sizeof(*lane));
        if (lane == NULL)
            return false;
        lane->key = job->wait.lane;
        lane->tail = &lane->head;
        lane->next = session->job_lanes;
        session->job_lanes = lane;
    }
    job->lane = lane;
    *lane->tail = job;
    lane->tail = &job->next;
    return true;
}

void
be_jobs_forget_stream(struct be_session *session, CUstream stream)
{
    pthread_mutex_lock(&session->jobs_lock);
    for (struct be_job_lane *lane = session->job_lanes; lane != NULL; lane = lane->next)
        if (lane->key == stream)
            lane->key = NULL;
    pthread_mutex_unlock(&session->jobs_lock);
}

static void
job_unlink_locked(struct be_session *session, struct be_job *job)
{
    struct be_job_lane *lane = job->lane;
    struct be_job **at = &lane->head;

    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (lane->tail == &job->next)
        lane->tail = at;
    if (lane->head == NULL) {
        struct be_job_lane **link = &session->job_lanes;

        while (*link != lane)
            link = &(*link)->next;
        *link = lane->next;
        free(lane);
    }
}

/* Who claimed the job sends it. */
static CUresult
job_finish(struct be_session *session, struct be_job *job)
{
    CUresult cr = job_send(job);

    pthread_mutex_lock(&session->jobs_lock);
    job_unlink_locked(session, job);
    job->state = BE_JOB_SENT; /* from here on its owner may free it */
    pthread_cond_broadcast(&session->jobs_sent);
    pthread_mutex_unlock(&session->jobs_lock);
    return cr;
}

/* A job before a number that has happened and is not sent. */
static struct be_job *
happened_locked(const struct be_session *session, uint64_t before)
{
    for (const struct be_job_lane *lane = session->job_lanes; lane != NULL; lane = lane->next) {
        struct be_job *job = lane->head;

        /* The query does not wait, so the lock may be held. */
        if (job->number < before &&
            session->driver->table.cuEventQuery(job->wait.done) != CUDA_ERROR_NOT_READY)
            return job;
    }
    return NULL;
}

/* The oldest that has happened, claimed; NULL if there is none. What a job follows on the device is
 * older and happened before it: so after a find there may be one more, but only an older one. Jobs
 * that another thread is sending are waited for: nothing may overtake them. */
static struct be_job *
happened_next(struct be_session *session, uint64_t before)
{
    struct be_job *job, *older;

    pthread_mutex_lock(&session->jobs_lock);
    while ((job = happened_locked(session, before)) != NULL) {
        while ((older = happened_locked(session, job->number)) != NULL)
            job = older;
        if (job->state == BE_JOB_QUEUED)
            break;
        pthread_cond_wait(&session->jobs_sent, &session->jobs_lock);
    }
    if (job != NULL)
        job->state = BE_JOB_SENDING;
    pthread_mutex_unlock(&session->jobs_lock);
    return job;
}

void
be_copies_send(struct be_session *session, uint64_t before)
{
    struct be_job *job;

    while ((job = happened_next(session, before)) != NULL)
        (void)job_finish(session, job);
}

void
be_prove(struct be_session *session, uint64_t before)
{
    be_copies_send(session, before);
    be_print_drain(session);
}

/* Claim and send, or wait until who has it has sent it. */
static void
job_complete(struct be_session *session, struct be_job *job, CUresult *cr_p)
{
    bool claimed;

    pthread_mutex_lock(&session->jobs_lock);
    while (job->state == BE_JOB_SENDING)
        pthread_cond_wait(&session->jobs_sent, &session->jobs_lock);
    claimed = job->state == BE_JOB_QUEUED;
    if (claimed)
        job->state = BE_JOB_SENDING;
    pthread_mutex_unlock(&session->jobs_lock);
    if (claimed)
        *cr_p = job_finish(session, job);
}

/* The job's own wait came to its end: its owner, the only one that frees it. */
static void
job_run(struct be_wait *wait, CUresult cr)
{
    struct be_job *job = GP_CONTAINER_OF(wait, struct be_job, wait);
    struct be_session *session = job->call.session;

    /* An older copy may have the same destination. */
    be_copies_send(session, job->number);
    job_complete(session, job, &cr);
    if (job->call.tag != 0) {
        be_print_drain(session);
        be_reply_plain(&job->call, cr);
    } else {
        be_flush(session);
    }
    job_free(job);
}

/* -- jobs that fit into pinned memory
 * --------------------------------------------------------------- */

static CUresult
job_stage(struct be_job *job, const struct be_region *from, CUstream stream)
{
    const struct be_driver_table *t = job->call.driver;
    struct be_cut cut = {0};
    CUresult cr;

    for (uint64_t left = be_cut_count(from); left > 0; left--) {
        struct be_piece *piece = &job->pieces[job->piece_count];

        be_cut_here(from, &cut);
        cr = be_staging_get(job->staging, cut.bytes * cut.rows, false, &piece->block);
        if (cr != CUDA_SUCCESS)
            return cr;
        piece->offset = be_cut_offset(from, &cut);
        piece->bytes = (uint32_t)(cut.bytes * cut.rows);
        job->piece_count++;
        be_cut_next(from, &cut);
    }
    memset(&cut, 0, sizeof(cut));
    for (uint32_t i = 0; i < job->piece_count; i++) {
        be_cut_here(from, &cut);
        cr = be_cut_copy(t, from, &cut, job->pieces[i].block->data, stream);
        if (cr == CUDA_SUCCESS)
            cr = be_context_mark(job->call.context, stream, &job->pieces[i].event);
        if (cr != CUDA_SUCCESS)
            return cr;
        be_cut_next(from, &cut);
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

/* False: no memory. */
static bool
job_queue(struct be_session *session, struct be_job *job)
{
    bool linked;

    pthread_mutex_lock(&session->jobs_lock);
    job->number = session->next_job++;
    linked = job_link_locked(session, job);
    pthread_mutex_unlock(&session->jobs_lock);
    if (linked)
        be_park(session, &job->wait);
    return linked;
}

static CUresult
job_start(struct be_call *call, const struct be_region *from, uint32_t data, CUstream stream)
{
    struct be_job *job = be_pending_new(call->session, sizeof(*job));
    CUresult cr;

    if (job == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    job->call = *call;
    job->data = data;
    job->wait.kind = BE_WAIT_EVENT;
    job->wait.context = call->context;
    job->wait.lane = be_lane_key(call->context, stream);
    job->wait.run = job_run;
    job->pieces = calloc(be_cut_count(from), sizeof(*job->pieces));
    cr = job->pieces != NULL ? be_context_staging(call->context, &job->staging)
                             : CUDA_ERROR_OUT_OF_MEMORY;
    if (cr == CUDA_SUCCESS)
        cr = job_stage(job, from, stream);
    if (cr == CUDA_SUCCESS) {
        job->wait.event = job->pieces[0].event;
        job->wait.done = job->pieces[job->piece_count - 1].event;
        if (!job_queue(call->session, job))
            cr = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (cr != CUDA_SUCCESS) {
        job_abandon(job);
        return cr;
    }
    return call->tag != 0 ? BE_PARKED : CUDA_SUCCESS;
}

/* -- the way in
 * -------------------------------------------------------------------------------------- */

/* Short enough for pinned memory. */
static bool
is_job(struct be_session *session, const struct be_region *from)
{
    uint64_t bytes = be_region_bytes(from);

    if (bytes > BE_JOB_STAGED_MAX || be_cut_count(from) > BE_JOB_PIECES_MAX)
        return false;
    return bytes <= BE_JOB_FILLED_MAX ||
           (!be_big_near(session, from) && !be_big_fills(session, from) &&
            !be_big_direct(session, from));
}

CUresult
be_copy_out(struct be_call *call, const struct be_region *region, uint32_t data, CUstream stream)
{
    struct wire_data head = {.flags = WIRE_DATA_LAST};
    struct be_region joined = be_region_joined(region);
    const struct be_region *from = &joined;
    CUresult cr = CUDA_ERROR_NOT_READY;

    if (be_region_bytes(from) == 0) {
        (void)be_data_send(call->session, data, &head, NULL, 0);
        return CUDA_SUCCESS;
    }
    if (is_job(call->session, from))
        cr = job_start(call, from, data, stream);
    if (cr == CUDA_ERROR_NOT_READY)
        cr = be_big_start(call, from, data, stream);
    /* Who waits for the data must hear of it too; a reply says it by itself. */
    if (cr != CUDA_SUCCESS && cr != BE_PARKED)
        be_copy_refuse(call, data, cr);
    return cr;
}
