/* transport/kept.h -- memory whose end its owner tells
 *
 * What a device is told of memory holds for the pages that lie there at that moment: it must be
 * taken back before others may. No library can see all the ways in which a program changes its
 * mappings, so only memory that is listed here, by whoever will say when it ends, is given to a
 * device where it lies. All other memory is copied.
 *
 * Threads: any. One lock, rank of a leaf: nothing but a device's registration happens under it.
 * Fork:    the list is the parent's; a child must not use it.
 */
#ifndef TP_KEPT_H
#define TP_KEPT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tp_kept_kind {
    TP_KEPT_OWN,    /* nobody but who tells maps and unmaps it: a device may be told once */
    TP_KEPT_LENT,   /* a program's own, pinned by its word: a device is told anew for each use */
    TP_KEPT_DEVICE, /* another device's, which no processor may be asked to read or write */
};

/* Memory of a device, as those that others are told of by. */
struct tp_device_memory {
    /* A dma-buf whose bytes from *offset_p on are these, for the caller to close; -1: there is
     * none, so others may be told by the address only. The list's lock is held. */
    int (*dmabuf)(void *user, const void *base, size_t bytes, uint64_t *offset_p);
    void *user;
};

struct tp_kept {
    uint8_t *base;
    size_t bytes;
    enum tp_kept_kind kind;
    const struct tp_device_memory *device; /* TP_KEPT_DEVICE; borrowed */
};

/* It replaces what it overlaps. Where there is no memory for the list nothing is listed. */
void tp_memory_keep(void *base, size_t bytes, enum tp_kept_kind kind);
/* The same with a device's, which stays in its place until it is forgotten; *device too. */
void tp_memory_keep_device(void *base, size_t bytes, const struct tp_device_memory *device);
/* Before any of it is unmapped, freed or protected: everything that overlaps goes from the list,
 * and from all devices. NULL is allowed. */
void tp_memory_forget(const void *base, size_t bytes);

/* -- for those that tell devices; private to transport/ ------------------------------------------
 */

struct tp_kept_user {
    /* The lock is held. */
    void (*forget)(struct tp_kept_user *user, const uint8_t *base, size_t bytes);
    struct tp_kept_user *next, **place;
};

extern pthread_mutex_t tp_kept_lock;
/* All under the lock. */
void tp_kept_join(struct tp_kept_user *user);
void tp_kept_leave(struct tp_kept_user *user);
/* What at lies in. */
bool tp_kept_find(const void *at, struct tp_kept *kept_p);

#endif
