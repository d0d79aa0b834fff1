/* tests/unit/frontend/test_object.c -- handles, and CUDA_VISIBLE_DEVICES */
#include "frontend/core/object.h"
#include "frontend/core/visible.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

struct thing {
    struct fe_object object;
    uint64_t value[5];
};

Test(object, is_found_by_its_handle_only)
{
    struct thing *thing = NULL;

    cr_assert_null(fe_object_get(WIRE_HANDLE_EVENT, &thing), "before there is a slab");
    fe_slab_define(WIRE_HANDLE_EVENT, sizeof(*thing), 1000);
    thing = fe_object_create(WIRE_HANDLE_EVENT, NULL);
    cr_assert_eq(fe_object_get(WIRE_HANDLE_EVENT, thing), thing);
    cr_assert_null(fe_object_get(WIRE_HANDLE_EVENT, NULL));
    cr_assert_null(fe_object_get(WIRE_HANDLE_EVENT, (char *)thing + 8));
    cr_assert_null(fe_object_get(WIRE_HANDLE_EVENT, (char *)thing - 128));
    cr_assert_null(fe_object_get(WIRE_HANDLE_EVENT, (char *)thing + 128));
    cr_assert_null(fe_object_get(WIRE_HANDLE_EVENT, (void *)~0ull));
    cr_assert_null(fe_object_get(WIRE_HANDLE_STREAM, thing), "another kind");
    fe_object_set_state(thing, FE_OBJECT_DORMANT);
    cr_assert_eq(fe_object_get(WIRE_HANDLE_EVENT, thing), thing);
    fe_object_destroy(thing);
    cr_assert_null(fe_object_get(WIRE_HANDLE_EVENT, thing));
    fe_object_destroy(thing);
    fe_object_destroy(NULL);
}

Test(object, rests_before_its_place_is_used_again_under_a_new_id)
{
    struct thing *first, *next;
    uint64_t wire;
    int i;

    fe_slab_define(WIRE_HANDLE_EVENT, sizeof(*first), 1000);
    first = fe_object_create(WIRE_HANDLE_EVENT, NULL);
    wire = first->object.wire;
    cr_assert_eq(wire, 1ull << 32 | 1);
    first->value[4] = 99;
    fe_object_destroy(first);
    for (i = 0;; i++) {
        next = fe_object_create(WIRE_HANDLE_EVENT, NULL);
        if (next == first)
            break;
        fe_object_destroy(next);
        cr_assert_lt(i, 500, "it is used again some time");
    }
    cr_assert_geq(i, 64);
    cr_assert_eq(next->object.wire, wire + (1ull << 32));
    cr_assert_eq(next->value[4], 0);
}

Test(object, creation_ends_with_the_slab_and_goes_on_after_a_destroy)
{
    struct thing *all[10];
    int i;

    fe_slab_define(WIRE_HANDLE_EVENT, sizeof(*all[0]), 10);
    for (i = 0; i < 10; i++)
        cr_assert_not_null(all[i] = fe_object_create(WIRE_HANDLE_EVENT, NULL));
    cr_assert_null(fe_object_create(WIRE_HANDLE_EVENT, NULL));
    fe_object_destroy(all[3]);
    cr_assert_eq(fe_object_create(WIRE_HANDLE_EVENT, NULL), (void *)all[3]);
}

static void *
churn(void *unused)
{
    struct thing *mine[50];
    int round, i;

    (void)unused;
    for (round = 0; round < 200; round++) {
        for (i = 0; i < 50; i++) {
            mine[i] = fe_object_create(WIRE_HANDLE_EVENT, NULL);
            mine[i]->value[0] = (uintptr_t)&mine[i];
        }
        for (i = 0; i < 50; i++) {
            cr_assert_eq(mine[i]->value[0], (uintptr_t)&mine[i], "nobody else has it");
            fe_object_destroy(mine[i]);
        }
    }
    return NULL;
}

static bool
count_one(void *object, void *user)
{
    (void)object;
    return ++*(int *)user < 3;
}

Test(object, belongs_to_one_of_many_threads)
{
    pthread_t threads[4];
    int i, count = 0;

    fe_slab_define(WIRE_HANDLE_EVENT, sizeof(struct thing), 4096);
    for (i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, churn, NULL);
    for (i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    fe_object_each(WIRE_HANDLE_EVENT, count_one, &count);
    cr_assert_eq(count, 0);
    for (i = 0; i < 5; i++)
        (void)fe_object_create(WIRE_HANDLE_EVENT, NULL);
    fe_object_each(WIRE_HANDLE_EVENT, count_one, &count);
    cr_assert_eq(count, 3, "the visit ends when it is told to");
}

Test(visible, devices_follow_the_variable_like_the_drivers)
{
    static struct wire_device devices[4];
    static const struct {
        const char *text, *order;
    } rows[] = {
        {NULL, "0123"},    {"", ""},
        {"2", "2"},        {"3,1", "31"},
        {" 1 , 0 ", "10"}, {"0,7,1", "0"},
        {"0,-1,1", "0"},   {"0,,1", "0"},
        {"1,1", ""},       {"abc", ""},
        {"0x1", ""},       {"GPU-", ""},
        {"GPU-3030", ""}, /* devices 0 and 3 begin with it */
        {"GPU-31", "1"},   {"gpu-31,GPU-32323232-3232", "12"},
        {"MIG-4141", "1"}, {"GPU-31,1", ""},
        {"GPU-ff,1", ""},  {"1 0", "1"},
    };
    unsigned order[WIRE_DEVICES_MAX], n, i, k;

    for (i = 0; i < 4; i++) {
        memset(devices[i].uuid, (int)(0x30 + i), WIRE_UUID_BYTES);
        memset(devices[i].uuid_v2, (int)(0x40 + i), WIRE_UUID_BYTES);
    }
    memset(devices[3].uuid, 0x30, 8);
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        n = fe_visible(rows[i].text, NULL, devices, 4, order);
        cr_assert_eq(n, strlen(rows[i].order), "%s: %u devices", rows[i].text, n);
        for (k = 0; k < n; k++)
            cr_assert_eq(order[k], (unsigned)(rows[i].order[k] - '0'), "%s", rows[i].text);
    }
}

Test(visible, devices_are_counted_as_cuda_device_order_says)
{
    static struct wire_device devices[5] = {
        {.pci_bus_id = "0000:C1:00.0"}, {.pci_bus_id = "0000:3b:00.0"}, {.pci_bus_id = "none"},
        {.pci_bus_id = "0001:01:00.0"}, {.pci_bus_id = "0000:3B:00.0"},
    };
    static const struct {
        const char *text, *wish, *order;
    } rows[] = {
        {NULL, "PCI_BUS_ID", "14032"}, {NULL, "FASTEST_FIRST", "01234"},
        {NULL, "pci_bus_id", "01234"}, {NULL, "", "01234"},
        {"0,2", "PCI_BUS_ID", "10"},   {"4", "PCI_BUS_ID", "2"},
        {"5", "PCI_BUS_ID", ""},       {"0,2", "FASTEST_FIRST", "02"},
    };
    unsigned order[WIRE_DEVICES_MAX], n, i, k;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        n = fe_visible(rows[i].text, rows[i].wish, devices, 5, order);
        cr_assert_eq(n, strlen(rows[i].order), "row %u: %u devices", i, n);
        for (k = 0; k < n; k++)
            cr_assert_eq(order[k], (unsigned)(rows[i].order[k] - '0'), "row %u", i);
    }
}
