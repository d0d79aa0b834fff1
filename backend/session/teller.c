/* backend/session/teller.c */
#include "backend/session/teller.h"

#include "backend/tenant/ledger.h"
#include "protocol/base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct words {
    bool any;
    bool lease[BE_LEDGER_DEVICES], over[BE_LEDGER_DEVICES];
    uint64_t over_bytes[BE_LEDGER_DEVICES];
    char text[256];
};

struct be_teller {
    struct be_session *session;
    pthread_t thread; /* the agent's */
    bool there;

    pthread_mutex_t lock;
    pthread_cond_t came;
    /* Guarded by lock. */
    struct words words;
    bool stop;
};

static void
say(struct be_session *session, const struct words *words)
{
    for (int32_t d = 0; d < BE_LEDGER_DEVICES; d++) {
        struct wire_gpNoticeLease_args lease = {.device = d};
        struct wire_gpNoticeOver_args over = {.device = d, .bytes = words->over_bytes[d]};

        if (words->lease[d])
            BE_NOTICE(session, gpNoticeLease, 0, &lease);
        if (words->over[d])
            BE_NOTICE(session, gpNoticeOver, 0, &over);
    }
    if (words->text[0] != '\0')
        be_client_tell(session, words->text);
}

static void *
teller_main(void *arg)
{
    struct be_teller *teller = arg;
    struct words words;

    pthread_mutex_lock(&teller->lock);
    while (!teller->stop) {
        if (!teller->words.any) {
            pthread_cond_wait(&teller->came, &teller->lock);
            continue;
        }
        words = teller->words;
        teller->words = (struct words){0};
        pthread_mutex_unlock(&teller->lock);
        say(teller->session, &words);
        pthread_mutex_lock(&teller->lock);
    }
    pthread_mutex_unlock(&teller->lock);
    return NULL;
}

enum gp_status
be_teller_create(struct be_session *session, struct be_teller **teller_p)
{
    struct be_teller *teller = calloc(1, sizeof(*teller));

    if (teller == NULL)
        return GP_ERR_NO_MEMORY;
    teller->session = session;
    pthread_mutex_init(&teller->lock, NULL);
    pthread_cond_init(&teller->came, NULL);
    *teller_p = teller;
    return GP_OK;
}

void
be_teller_destroy(struct be_teller *teller)
{
    if (teller == NULL)
        return;
    pthread_mutex_lock(&teller->lock);
    teller->stop = true;
    pthread_cond_signal(&teller->came);
    pthread_mutex_unlock(&teller->lock);
    if (teller->there)
        pthread_join(teller->thread, NULL);
    pthread_cond_destroy(&teller->came);
    pthread_mutex_destroy(&teller->lock);
    free(teller);
}

/* The lock is held, and given up. */
static void
words_came(struct be_teller *teller)
{
    teller->words.any = true;
    pthread_cond_signal(&teller->came);
    pthread_mutex_unlock(&teller->lock);
    if (teller->there)
        return;
    teller->there = pthread_create(&teller->thread, NULL, teller_main, teller) == 0;
    if (!teller->there)
        log_error("session: cannot make a thread: %m");
}

void
be_teller_lease(struct be_teller *teller, int32_t device)
{
    pthread_mutex_lock(&teller->lock);
    teller->words.lease[device] = true;
    words_came(teller);
}

void
be_teller_over(struct be_teller *teller, int32_t device, uint64_t bytes)
{
    pthread_mutex_lock(&teller->lock);
    teller->words.over[device] = true;
    teller->words.over_bytes[device] = bytes;
    words_came(teller);
}

void
be_teller_text(struct be_teller *teller, const char *text)
{
    pthread_mutex_lock(&teller->lock);
    snprintf(teller->words.text, sizeof(teller->words.text), "%s", text);
    words_came(teller);
}
