/* transport/kept.c -- a sorted list, and who wants to know when something goes from it */
#include "transport/kept.h"

#include "protocol/base/log.h"

#include <stdlib.h>
#include <string.h>

pthread_mutex_t tp_kept_lock = PTHREAD_MUTEX_INITIALIZER;

/* Guarded by tp_kept_lock: sorted, never overlapping. */
static struct tp_kept *list;
static size_t count, room;
static struct tp_kept_user *users;

/* Index of the first that ends above at. */
static size_t
lower(const uint8_t *at)
{
    size_t lo = 0, hi = count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (list[mid].base + list[mid].bytes <= at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void
forget_locked(const uint8_t *base, size_t bytes)
{
    size_t first = lower(base), end = first;

    while (end < count && list[end].base < base + bytes)
        end++;
    for (size_t i = first; i < end; i++)
        for (struct tp_kept_user *user = users; user != NULL; user = user->next)
            user->forget(user, list[i].base, list[i].bytes);
    if (end > first)
        memmove(&list[first], &list[end], (count - end) * sizeof(*list));
    count -= end - first;
}

static bool
room_make(void)
{
    size_t more = room == 0 ? 64 : 2 * room;
    struct tp_kept *grown;

    if (count < room)
        return true;
    grown = realloc(list, more * sizeof(*list));
    if (grown == NULL)
        return false;
    list = grown;
    room = more;
    return true;
}

static void
keep(const struct tp_kept *kept)
{
    size_t i;

    if (kept->bytes == 0)
        return;
    pthread_mutex_lock(&tp_kept_lock);
    forget_locked(kept->base, kept->bytes);
    if (room_make()) {
        i = lower(kept->base);
        memmove(&list[i + 1], &list[i], (count++ - i) * sizeof(*list));
        list[i] = *kept;
    } else {
        log_debug("memory: %zu bytes are not listed: no memory", kept->bytes);
    }
    pthread_mutex_unlock(&tp_kept_lock);
}

void
tp_memory_keep(void *base, size_t bytes, enum tp_kept_kind kind)
{
    keep(&(struct tp_kept){.base = base, .bytes = bytes, .kind = kind});
}

void
tp_memory_keep_device(void *base, size_t bytes, const struct tp_device_memory *device)
{
    keep(&(struct tp_kept){.base = base, .bytes = bytes, .kind = TP_KEPT_DEVICE, .device = device});
}

void
tp_memory_forget(const void *base, size_t bytes)
{
    pthread_mutex_lock(&tp_kept_lock);
    if (bytes > 0)
        forget_locked(base, bytes);
    pthread_mutex_unlock(&tp_kept_lock);
}

void
tp_kept_join(struct tp_kept_user *user)
{
    user->next = users;
    user->place = &users;
    if (users != NULL)
        users->place = &user->next;
    users = user;
}

void
tp_kept_leave(struct tp_kept_user *user)
{
    *user->place = user->next;
    if (user->next != NULL)
        user->next->place = user->place;
}

bool
tp_kept_find(const void *at, struct tp_kept *kept_p)
{
    size_t i = lower(at);

    if (i == count || list[i].base > (const uint8_t *)at)
        return false;
    *kept_p = list[i];
    return true;
}
