/* tests/unit/backend/test_handles.c -- ids that the client mints */
#include "backend/cuda/handles.h"

#include <criterion/criterion.h>

#define ID(generation, index) ((uint64_t)(generation) << 32 | (index))

static int objects[4];

Test(handles, names_an_object_until_it_is_removed)
{
    struct be_handles h;

    be_handles_init(&h);
    cr_assert_null(be_handles_find(&h, 3, ID(1, 1)));
    cr_assert_eq(be_handles_add(&h, 3, ID(1, 1), &objects[0], 7), GP_OK);
    cr_assert_eq(be_handles_find(&h, 3, ID(1, 1))->object, &objects[0]);
    cr_assert_eq(be_handles_find(&h, 3, ID(1, 1))->context, 7);
    cr_assert_null(be_handles_find(&h, 4, ID(1, 1)), "another kind");
    be_handles_remove(be_handles_find(&h, 3, ID(1, 1)));
    cr_assert_null(be_handles_find(&h, 3, ID(1, 1)));
    cr_assert_null(be_handles_at(&h, 3, 1));
    be_handles_fini(&h);
}

Test(handles, a_stale_id_never_names_a_later_object)
{
    struct be_handles h;

    be_handles_init(&h);
    cr_assert_eq(be_handles_add(&h, 1, ID(1, 5), &objects[0], 0), GP_OK);
    cr_assert_eq(be_handles_add(&h, 1, ID(2, 5), &objects[1], 0), GP_ERR_INVALID, "alive");
    be_handles_remove(be_handles_find(&h, 1, ID(1, 5)));
    cr_assert_eq(be_handles_add(&h, 1, ID(1, 5), &objects[1], 0), GP_ERR_INVALID, "reused");
    cr_assert_eq(be_handles_add(&h, 1, ID(3, 5), &objects[1], 0), GP_OK);
    cr_assert_null(be_handles_find(&h, 1, ID(1, 5)));
    cr_assert_null(be_handles_find(&h, 1, ID(2, 5)));
    cr_assert_eq(be_handles_find(&h, 1, ID(3, 5))->object, &objects[1]);
    be_handles_fini(&h);
}

Test(handles, refuses_ids_that_cannot_be)
{
    struct be_handles h;

    be_handles_init(&h);
    cr_assert_eq(be_handles_add(&h, 1, ID(1, 0), &objects[0], 0), GP_ERR_INVALID);
    cr_assert_eq(be_handles_add(&h, 1, ID(0, 1), &objects[0], 0), GP_ERR_INVALID);
    cr_assert_eq(be_handles_add(&h, 1, ID(1, BE_HANDLE_INDEX_MAX), &objects[0], 0), GP_ERR_INVALID);
    cr_assert_eq(be_handles_add(&h, 1, UINT64_MAX, &objects[0], 0), GP_ERR_INVALID);
    cr_assert_eq(be_handles_add(&h, BE_HANDLE_KINDS, ID(1, 1), &objects[0], 0), GP_ERR_INVALID);
    cr_assert_eq(be_handles_add(&h, 1, ID(1, 1), NULL, 0), GP_ERR_INVALID);
    cr_assert_null(be_handles_find(&h, 99, UINT64_MAX));
    cr_assert_eq(be_handles_add(&h, 1, ID(UINT32_MAX, BE_HANDLE_INDEX_MAX - 1), &objects[0], 0),
                 GP_OK);
    cr_assert_eq(be_handles_highest(&h, 1), BE_HANDLE_INDEX_MAX - 1);
    be_handles_fini(&h);
}
