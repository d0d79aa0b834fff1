/* protocol/cudart/log_callbacks.c -- functions of the program that hear what the library logs
 *
 * Lines are logged with whatever locks are held, and in threads that must not wait, so a thread
 * made for it calls the functions: in the order of lines, each once, without a lock.
 */
#include "protocol/cudart/log_callbacks.h"

#include "cuda_api.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 1024u /* that wait for their callbacks; what comes then is not told */

struct line {
    struct line *next;
    CUlogLevel level;
    char text[];
};

struct CUlogsCallbackEntry_st {
    struct CUlogsCallbackEntry_st *next;
    CUlogsCallback fn;
    void *data;
    uint64_t since; /* the number of the first line that it hears */
    bool gone;      /* is not called any more */
    bool own_hand;  /* left by what it called: freed by the teller */
};

/* A leaf. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* Guarded by lock. */
static struct CUlogsCallbackEntry_st *callbacks;
static struct line *first, **last = &first;
static unsigned waiting;
static uint64_t next_number;
static bool started;
static pthread_t teller;
static const struct CUlogsCallbackEntry_st *telling; /* whose function runs */

void
gp_log_callbacks_hear(CUlogLevel level, const char *text)
{
    size_t bytes = strlen(text) + 1;
    struct line *line;

    pthread_mutex_lock(&lock);
    if (callbacks != NULL && waiting < LINES_MAX &&
        (line = malloc(sizeof(*line) + bytes)) != NULL) {
        line->next = NULL;
        line->level = level;
        memcpy(line->text, text, bytes);
        *last = line;
        last = &line->next;
        waiting++;
        next_number++;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
}

static void
unlink_entry(const struct CUlogsCallbackEntry_st *entry)
{
    struct CUlogsCallbackEntry_st **link = &callbacks;

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
}

/* All functions that were there when the line came. The lock is held, and let go for each; the one
 * that is called stays in the list meanwhile, others may leave it. */
static void
tell_all(struct line *line, uint64_t number)
{
    struct CUlogsCallbackEntry_st *next;

    for (struct CUlogsCallbackEntry_st *c = callbacks; c != NULL; c = next) {
        if (c->since <= number && !c->gone) {
            telling = c;
            pthread_mutex_unlock(&lock);
            c->fn(c->data, line->level, line->text, strlen(line->text));
            pthread_mutex_lock(&lock);
            telling = NULL;
            pthread_cond_broadcast(&changed);
        }
        next = c->next;
        if (c->own_hand) {
            unlink_entry(c);
            free(c);
        }
    }
}

static void *
teller_main(void *arg)
{
    uint64_t number = 0;
    struct line *line;

    (void)arg;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (first == NULL)
            pthread_cond_wait(&changed, &lock);
        line = first;
        first = line->next;
        if (first == NULL)
            last = &first;
        waiting--;
        tell_all(line, number++);
        free(line);
    }
    return NULL;
}

/* The lock is held. */
static bool
start(void)
{
    pthread_attr_t attr;
    sigset_t all, before;

    if (started)
        return true;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    started = pthread_create(&teller, &attr, teller_main, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return started;
}

GP_EXPORT CUresult
cuLogsRegisterCallback(CUlogsCallback callbackFunc, void *userData,
                       CUlogsCallbackHandle *callback_out)
{
    struct CUlogsCallbackEntry_st *entry, **link = &callbacks;

    if (callbackFunc == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    entry->fn = callbackFunc;
    entry->data = userData;
    pthread_mutex_lock(&lock);
    if (!start()) {
        pthread_mutex_unlock(&lock);
        free(entry);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    entry->since = next_number;
    while (*link != NULL)
        link = &(*link)->next;
    *link = entry;
    if (callback_out != NULL)
        *callback_out = entry;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuLogsUnregisterCallback(CUlogsCallbackHandle callback)
{
    struct CUlogsCallbackEntry_st *entry;

    pthread_mutex_lock(&lock);
    for (entry = callbacks; entry != NULL && (entry != callback || entry->gone);)
        entry = entry->next;
    if (entry == NULL) {
        pthread_mutex_unlock(&lock);
        return CUDA_ERROR_INVALID_VALUE;
    }
    entry->gone = true;
    if (telling == entry && pthread_equal(pthread_self(), teller)) {
        entry->own_hand = true;
    } else {
        while (telling == entry)
            pthread_cond_wait(&changed, &lock);
        unlink_entry(entry);
        free(entry);
    }
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}
