/* protocol/base/later.c */
#include "protocol/base/later.h"

#include <stddef.h>

bool
gp_later_serve(struct gp_later_queue *queue, bool (*start)(void))
{
    bool served;

    pthread_mutex_lock(&queue->lock);
    served = queue->served = queue->served || start();
    pthread_mutex_unlock(&queue->lock);
    return served;
}

void
gp_later_add(struct gp_later_queue *queue, struct gp_later *entry)
{
    entry->next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->first == NULL)
        queue->first = entry;
    else
        queue->last->next = entry;
    queue->last = entry;
    pthread_cond_signal(&queue->came);
    pthread_mutex_unlock(&queue->lock);
}

void *
gp_later_next(struct gp_later_queue *queue)
{
    struct gp_later *entry;

    pthread_mutex_lock(&queue->lock);
    while (queue->first == NULL)
        pthread_cond_wait(&queue->came, &queue->lock);
    entry = queue->first;
    queue->first = entry->next;
    pthread_mutex_unlock(&queue->lock);
    return entry->object;
}
