/* backend/cuda/waits.c -- lanes and the threads that serve them */
#include "backend/cuda/waits.h"

#include "backend/cuda/context.h"
#include "protocol/base/log.h"

#include <pthread.h>
#include <stdlib.h>

/* Waits of one stream, in order. It exists while it has waits or a thread. */
struct be_lane {
    const void *key;
    struct be_wait *head, **tail;
    const struct be_context *running; /* context of the wait that a thread has in hand */
    bool owned;                       /* a thread serves it */
    struct be_lane *next;
};

struct be_waits {
    const struct be_driver *driver; /* set once */
    unsigned threads_max;

    pthread_mutex_t lock; /* rank 20 */
    pthread_cond_t wake;  /* threads: a lane is ready, or the end */
    pthread_cond_t idle;  /* drainers: something was finished */

    /* Guarded by lock. */
    struct be_lane *lanes;
    uint64_t submitted;
    unsigned ready; /* lanes with waits and without a thread */
    unsigned threads, asleep;
    bool stop;
    pthread_t *ids;
};

enum gp_status
be_waits_create(const struct be_driver *driver, unsigned threads_max, struct be_waits **waits_p)
{
    struct be_waits *waits = calloc(1, sizeof(*waits));

    if (waits == NULL)
        return GP_ERR_NO_MEMORY;
    waits->ids = calloc(threads_max, sizeof(*waits->ids));
    if (waits->ids == NULL) {
        free(waits);
        return GP_ERR_NO_MEMORY;
    }
    waits->driver = driver;
    waits->threads_max = threads_max;
    pthread_mutex_init(&waits->lock, NULL);
    pthread_cond_init(&waits->wake, NULL);
    pthread_cond_init(&waits->idle, NULL);
    *waits_p = waits;
    return GP_OK;
}

static CUresult
wait_for(const struct be_driver *driver, const struct be_wait *wait)
{
    CUresult cr = CUDA_SUCCESS;

    if (wait->context != NULL)
        cr = driver->table.cuCtxSetCurrent(be_context_handle(wait->context));
    if (cr != CUDA_SUCCESS)
        return cr;
    if (wait->kind == BE_WAIT_EVENT)
        return driver->table.cuEventSynchronize(wait->event);
    if (wait->kind == BE_WAIT_CONTEXT)
        return driver->table.cuCtxSynchronize();
    return CUDA_SUCCESS;
}

/* The one whose first wait is oldest. What a wait needs of the device may be held up by older ones
 * only (jobs.c), so while the oldest always has a thread, all come to their end. */
static struct be_lane *
ready_lane(struct be_waits *waits)
{
    struct be_lane *oldest = NULL;

    for (struct be_lane *lane = waits->lanes; lane != NULL; lane = lane->next)
        if (!lane->owned && lane->head != NULL &&
            (oldest == NULL || lane->head->number < oldest->head->number))
            oldest = lane;
    return oldest;
}

static void
lane_remove(struct be_waits *waits, struct be_lane *lane)
{
    for (struct be_lane **at = &waits->lanes; *at != NULL; at = &(*at)->next) {
        if (*at == lane) {
            *at = lane->next;
            break;
        }
    }
    free(lane);
}

/* One wait of the lane; with the lock held at entry and exit. */
static void
lane_serve(struct be_waits *waits, struct be_lane *lane)
{
    struct be_wait *wait = lane->head;

    lane->owned = true;
    waits->ready--;
    lane->head = wait->next;
    if (lane->head == NULL)
        lane->tail = &lane->head;
    lane->running = wait->context;
    pthread_mutex_unlock(&waits->lock);
    wait->run(wait, wait_for(waits->driver, wait));
    pthread_mutex_lock(&waits->lock);
    lane->running = NULL;
    lane->owned = false;
    if (lane->head == NULL)
        lane_remove(waits, lane);
    else if (waits->ready++ > 0) /* this thread takes one of them, a sleeper another */
        pthread_cond_signal(&waits->wake);
    pthread_cond_broadcast(&waits->idle);
}

static void *
waiter_main(void *arg)
{
    struct be_waits *waits = arg;
    struct be_lane *lane;

    pthread_mutex_lock(&waits->lock);
    for (;;) {
        while ((lane = ready_lane(waits)) == NULL && !waits->stop) {
            waits->asleep++;
            pthread_cond_wait(&waits->wake, &waits->lock);
            waits->asleep--;
        }
        if (lane == NULL)
            break;
        lane_serve(waits, lane);
    }
    pthread_mutex_unlock(&waits->lock);
    return NULL;
}

/* Somebody for a ready lane: a sleeper, or a new thread. */
static void
thread_call(struct be_waits *waits)
{
    if (waits->asleep >= waits->ready) {
        pthread_cond_signal(&waits->wake);
        return;
    }
    if (waits->threads == waits->threads_max)
        return;
    if (pthread_create(&waits->ids[waits->threads], NULL, waiter_main, waits) == 0)
        waits->threads++;
    else if (waits->threads == 0)
        log_error("waits: cannot make a thread: %m");
}

static struct be_lane *
lane_get(struct be_waits *waits, const void *key)
{
    struct be_lane *lane;

    for (lane = waits->lanes; lane != NULL && key != NULL; lane = lane->next)
        if (lane->key == key)
            return lane;
    lane = calloc(1, sizeof(*lane));
    if (lane == NULL)
        return NULL;
    lane->key = key;
    lane->tail = &lane->head;
    lane->next = waits->lanes;
    waits->lanes = lane;
    return lane;
}

void
be_waits_submit(struct be_waits *waits, struct be_wait *wait)
{
    struct be_lane *lane;
    bool was_empty;

    wait->next = NULL;
    pthread_mutex_lock(&waits->lock);
    lane = lane_get(waits, wait->lane);
    if (lane == NULL) { /* no memory for a lane: the caller's thread waits */
        pthread_mutex_unlock(&waits->lock);
        wait->run(wait, wait_for(waits->driver, wait));
        return;
    }
    wait->number = waits->submitted++;
    was_empty = lane->head == NULL && !lane->owned;
    *lane->tail = wait;
    lane->tail = &wait->next;
    if (was_empty) {
        waits->ready++;
        thread_call(waits);
    }
    pthread_mutex_unlock(&waits->lock);
}

void
be_waits_forget_lane(struct be_waits *waits, const void *key)
{
    pthread_mutex_lock(&waits->lock);
    for (struct be_lane *lane = waits->lanes; lane != NULL; lane = lane->next)
        if (lane->key == key)
            lane->key = NULL;
    pthread_mutex_unlock(&waits->lock);
}

static bool
holds_any(const struct be_waits *waits, const struct be_context *context)
{
    for (const struct be_lane *lane = waits->lanes; lane != NULL; lane = lane->next) {
        if (context == NULL)
            return true;
        if (lane->running == context)
            return true;
        for (const struct be_wait *wait = lane->head; wait != NULL; wait = wait->next)
            if (wait->context == context)
                return true;
    }
    return false;
}

void
be_waits_drain(struct be_waits *waits, const struct be_context *context)
{
    pthread_mutex_lock(&waits->lock);
    while (holds_any(waits, context))
        pthread_cond_wait(&waits->idle, &waits->lock);
    pthread_mutex_unlock(&waits->lock);
}

void
be_waits_destroy(struct be_waits *waits)
{
    unsigned threads;

    if (waits == NULL)
        return;
    be_waits_drain(waits, NULL);
    pthread_mutex_lock(&waits->lock);
    waits->stop = true;
    threads = waits->threads;
    pthread_cond_broadcast(&waits->wake);
    pthread_mutex_unlock(&waits->lock);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(waits->ids[i], NULL);
    pthread_cond_destroy(&waits->idle);
    pthread_cond_destroy(&waits->wake);
    pthread_mutex_destroy(&waits->lock);
    free(waits->ids);
    free(waits);
}
