/* tests/unit/transport/test_rdma_cache.c -- what devices are told of memory, and when it is taken
 * back */
#include "protocol/base/util.h"
#include "transport/rdma/cache.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A device that remembers what it was told, and lies about nothing. */
struct device {
    struct told {
        uint8_t *base;
        size_t bytes;
        bool peer, other;
    } told[1024];
    unsigned count, adds, removes;
    size_t bytes, limit;
};

static void *
device_add(void *user, void *base, size_t bytes, bool peer)
{
    struct device *d = user;
    struct told *t = malloc(sizeof(*t));

    if (d->limit != 0 && d->bytes + bytes > d->limit) {
        free(t);
        errno = ENOMEM;
        return NULL;
    }
    *t = (struct told){base, bytes, peer, false};
    d->bytes += bytes;
    d->adds++;
    return t;
}

static void *
device_add_device(void *user, const struct tp_device_memory *other, void *base, size_t bytes)
{
    struct told *t = other->user != NULL ? device_add(user, base, bytes, true) : NULL;

    if (t == NULL)
        errno = other->user != NULL ? ENOMEM : EFAULT;
    else
        t->other = true;
    return t;
}

static void
device_remove(void *user, void *key)
{
    struct device *d = user;

    d->bytes -= ((struct told *)key)->bytes;
    d->removes++;
    free(key);
}

static const struct tp_cache_ops ops = {
    .add = device_add, .add_device = device_add_device, .remove = device_remove};
static struct device device;
static struct tp_cache cache;

static void
begin(void)
{
    memset(&device, 0, sizeof(device));
    tp_cache_init(&cache, &ops, &device, 1ull << 40);
}

static void
end(void)
{
    tp_cache_fini(&cache);
    cr_assert_eq(device.adds, device.removes);
    cr_assert_eq(device.bytes, 0);
}

TestSuite(cache, .init = begin, .fini = end);

/* Addresses only: nobody looks at what is there. */
static uint8_t *const memory = (uint8_t *)0x600000000000;
#define GRANULE ((size_t)TP_CACHE_GRANULE)

static enum tp_cache_answer
get(const uint8_t *at, size_t bytes, bool peer, struct tp_cache_hold *hold)
{
    *hold = (struct tp_cache_hold){0};
    return tp_cache_get(&cache, at, bytes, peer, hold);
}

Test(cache, memory_that_nobody_keeps_is_not_told)
{
    struct tp_cache_hold hold;

    cr_assert_eq(get(memory, 1 << 20, false, &hold), TP_CACHE_NOT_KEPT);
    tp_memory_keep(memory, 1 << 20, TP_KEPT_OWN);
    cr_assert_eq(get(memory - 1, 1, false, &hold), TP_CACHE_NOT_KEPT);
    cr_assert_eq(get(memory + (1 << 20), 1, false, &hold), TP_CACHE_NOT_KEPT);
    cr_assert_eq(get(memory, 0, false, &hold), TP_CACHE_NOT_KEPT);
    cr_assert_eq(device.adds, 0);
    tp_memory_forget(memory, 1 << 20);
}

Test(cache, own_memory_is_told_once_and_by_granules)
{
    struct tp_cache_hold hold;

    tp_memory_keep(memory, 3 * GRANULE + 100, TP_KEPT_OWN);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(get(memory + 1000, GRANULE, false, &hold), TP_CACHE_HELD);
        cr_assert_eq(hold.bytes, GRANULE - 1000, "to the end of its granule");
        tp_cache_put(&cache, &hold);
        tp_cache_put(&cache, &hold);
    }
    cr_assert_eq(device.adds, 1);
    cr_assert_eq(get(memory + 3 * GRANULE + 50, 200, false, &hold), TP_CACHE_HELD);
    cr_assert_eq(hold.bytes, 50, "to the end of the memory");
    tp_cache_put(&cache, &hold);
    cr_assert_eq(device.bytes, GRANULE + 100);
    tp_memory_forget(memory, 1);
    cr_assert_eq(device.removes, 2);
}

/* What the peer may read it may read once, and nothing beside it. */
Test(cache, a_peer_gets_exactly_what_is_sent)
{
    struct tp_cache_hold hold;

    tp_memory_keep(memory, GRANULE, TP_KEPT_OWN);
    cr_assert_eq(get(memory + 13, 4000, true, &hold), TP_CACHE_HELD);
    cr_assert_eq(hold.entry->base, memory + 13);
    cr_assert_eq(hold.entry->bytes, 4000);
    cr_assert_eq(device.bytes, 4000);
    tp_cache_put(&cache, &hold);
    cr_assert_eq(device.removes, 1);
    tp_memory_forget(memory, GRANULE);
}

/* The program unmaps it, moves it or drops its pages without a word: the next use sees what lies
 * there then. */
Test(cache, lent_memory_is_told_for_each_use)
{
    size_t bytes = 1 << 20;
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct tp_cache_hold hold;

    tp_memory_keep(p, bytes, TP_KEPT_LENT);
    for (unsigned i = 1; i <= 3; i++) {
        cr_assert_eq(get(p, bytes, false, &hold), TP_CACHE_HELD);
        cr_assert_eq(device.adds, i);
        tp_cache_put(&cache, &hold);
        cr_assert_eq(device.bytes, 0, "nothing outlives a use");
        munmap(p, bytes);
        cr_assert_eq(
            mmap(p, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
            p);
    }
    tp_memory_forget(p, bytes);
    munmap(p, bytes);
}

Test(cache, forgotten_memory_is_taken_back_at_once)
{
    struct tp_cache_hold hold;

    tp_memory_keep(memory, 4096, TP_KEPT_OWN);
    tp_memory_keep(memory + 8192, 4096, TP_KEPT_OWN);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(get(memory + i * 8192, 4096, false, &hold), TP_CACHE_HELD);
        tp_cache_put(&cache, &hold);
    }
    tp_memory_forget(memory, 4096);
    cr_assert_eq(device.removes, 1);
    cr_assert_eq(get(memory, 4096, false, &hold), TP_CACHE_NOT_KEPT);
    cr_assert_eq(get(memory + 8192, 4096, false, &hold), TP_CACHE_HELD);
    tp_cache_put(&cache, &hold);
    cr_assert_eq(device.adds, 2);
    /* The same address again is another memory. */
    tp_memory_keep(memory, 4096, TP_KEPT_OWN);
    cr_assert_eq(get(memory, 4096, false, &hold), TP_CACHE_HELD);
    tp_cache_put(&cache, &hold);
    cr_assert_eq(device.adds, 3);
    /* And what is put over others replaces them. */
    tp_memory_keep(memory + 100, 10000, TP_KEPT_OWN);
    cr_assert_eq(device.removes, 3);
    tp_memory_forget(memory + 100, 1);
}

Test(cache, what_is_in_use_goes_with_its_last_use)
{
    struct tp_cache_hold hold, again;

    tp_memory_keep(memory, 4096, TP_KEPT_OWN);
    cr_assert_eq(get(memory, 4096, false, &hold), TP_CACHE_HELD);
    cr_assert_eq(get(memory, 4096, false, &again), TP_CACHE_HELD);
    tp_memory_forget(memory, 4096);
    cr_assert_eq(device.removes, 0);
    tp_cache_put(&cache, &hold);
    cr_assert_eq(device.removes, 0);
    tp_cache_put(&cache, &again);
    cr_assert_eq(device.removes, 1);
}

/* A limit of locked memory: what was not used for longest makes room; what alone is too much is
 * refused with the reason. */
Test(cache, the_oldest_makes_room)
{
    struct tp_cache_hold hold;

    device.limit = 3 * GRANULE;
    tp_memory_keep(memory, 8 * GRANULE, TP_KEPT_OWN);
    for (size_t i = 0; i < 8; i++) {
        cr_assert_eq(get(memory + i * GRANULE, 1, false, &hold), TP_CACHE_HELD);
        tp_cache_put(&cache, &hold);
        cr_assert_eq(get(memory, 1, false, &hold), TP_CACHE_HELD); /* used all the time: stays */
        tp_cache_put(&cache, &hold);
    }
    cr_assert_eq(device.adds, 8);
    device.limit = 1;
    cr_assert_eq(get(memory + 2 * GRANULE, 1, false, &hold), TP_CACHE_REFUSED);
    cr_assert_eq(errno, ENOMEM);
    cr_assert_eq(device.bytes, 0);
    tp_memory_forget(memory, 1);
}

Test(cache, more_memories_than_entries)
{
    struct tp_cache_hold hold;

    for (size_t i = 0; i < 2 * TP_CACHE_ENTRIES; i++) {
        tp_memory_keep(memory + i * 8192, 4096, TP_KEPT_OWN);
        cr_assert_eq(get(memory + i * 8192, 4096, false, &hold), TP_CACHE_HELD);
        tp_cache_put(&cache, &hold);
    }
    cr_assert_eq(device.adds - device.removes, TP_CACHE_ENTRIES);
    tp_memory_forget(memory, 2 * TP_CACHE_ENTRIES * 8192);
    cr_assert_eq(device.adds, device.removes);
}

/* -- another device's memory --------------------------------------------------------------------
 */

static const struct tp_device_memory taken = {.user = &device}, refused = {0};

#define DEVICE_GRANULE ((size_t)TP_CACHE_DEVICE_GRANULE)

/* Told once for reads by both, in granules of its own, until it is unmapped. */
Test(cache, memory_of_a_device_stays_known_for_whoever_asks)
{
    struct tp_cache_hold hold;
    const struct told *t;

    tp_memory_keep_device(memory, DEVICE_GRANULE + 4096, &taken);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(get(memory + 8192, GRANULE, i % 2 == 0, &hold), TP_CACHE_HELD);
        cr_assert_eq(hold.bytes, GRANULE);
        cr_assert(hold.entry->device);
        t = hold.entry->key;
        cr_assert(t->other && t->base == memory && t->bytes == DEVICE_GRANULE);
        tp_cache_put(&cache, &hold);
    }
    cr_assert_eq(device.adds, 1);
    cr_assert_eq(get(memory + DEVICE_GRANULE, 1 << 20, true, &hold), TP_CACHE_HELD);
    cr_assert_eq(hold.bytes, 4096);
    tp_cache_put(&cache, &hold);
    tp_memory_forget(memory, 1);
    cr_assert_eq(device.removes, 2);
    cr_assert_eq(get(memory, 4096, false, &hold), TP_CACHE_NOT_KEPT);
}

/* What a device does not take is no reason to ask it for nothing else. */
Test(cache, memory_of_a_device_that_is_not_taken_is_told_apart)
{
    struct tp_cache_hold hold = {0};

    tp_memory_keep_device(memory, GRANULE, &refused);
    cr_assert_eq(get(memory, 4096, false, &hold), TP_CACHE_APART);
    cr_assert_eq(errno, EFAULT);
    cr_assert_null(hold.entry);
    tp_memory_keep(memory, GRANULE, TP_KEPT_OWN);
    cr_assert_eq(get(memory, 4096, false, &hold), TP_CACHE_HELD);
    tp_cache_put(&cache, &hold);
    tp_memory_forget(memory, GRANULE);
}

/* Where the device has room for so much of it, older pieces make room, and nothing else does. */
Test(cache, memory_of_a_device_makes_room_for_its_own)
{
    struct tp_cache_hold hold;

    tp_memory_keep(memory, GRANULE, TP_KEPT_OWN);
    cr_assert_eq(get(memory, 1, false, &hold), TP_CACHE_HELD);
    tp_cache_put(&cache, &hold);
    device.limit = GRANULE + 2 * DEVICE_GRANULE;
    tp_memory_keep_device(memory + GRANULE, 4 * DEVICE_GRANULE, &taken);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(get(memory + GRANULE + i * DEVICE_GRANULE, 1, false, &hold), TP_CACHE_HELD);
        tp_cache_put(&cache, &hold);
    }
    cr_assert_eq(device.adds, 5);
    cr_assert_eq(device.removes, 2);
    cr_assert_eq(device.bytes, device.limit);
    tp_memory_forget(memory, GRANULE + 4 * DEVICE_GRANULE);
}
