/* tests/unit/sched/test_estimate.c */
#include "backend/sched/estimate.h"

#include <criterion/criterion.h>

static struct be_estimates e;

Test(estimate, what_is_unknown_is_measured_until_it_is_known)
{
    uint64_t key = be_estimate_key(0, "kernel", 6);
    unsigned measured = 0;
    bool measure;

    cr_assert_eq(be_estimate_get(&e, key, 77, &measure), 77);
    cr_assert(measure);
    for (int i = 0; i < 3; i++)
        be_estimate_learn(&e, key, 1000);
    cr_assert_eq(be_estimate_get(&e, key, 77, &measure), 1000);
    cr_assert_not(measure);
    for (int i = 0; i < 10 * BE_ESTIMATE_SAMPLING; i++) {
        (void)be_estimate_get(&e, key, 77, &measure);
        measured += measure;
    }
    cr_assert_eq(measured, 10, "now and then it is looked at again");
    for (int i = 0; i < 30; i++)
        be_estimate_learn(&e, key, 5000);
    cr_assert_gt(be_estimate_get(&e, key, 77, &measure), 4900);
}

Test(estimate, shapes_differ_and_a_full_table_forgets_the_rare)
{
    uint32_t often = UINT32_MAX, shape = 0;
    uint64_t key = be_estimate_key(1, &often, sizeof(often));
    bool measure;

    cr_assert_neq(be_estimate_key(1, &shape, sizeof(shape)), key);
    cr_assert_neq(be_estimate_key(2, &often, sizeof(often)), key);
    be_estimate_learn(&e, key, 1000);
    for (shape = 0; shape < 4 * BE_ESTIMATES; shape++) {
        uint64_t other = be_estimate_key(1, &shape, sizeof(shape));

        be_estimate_learn(&e, other, shape);
        cr_assert_eq(be_estimate_get(&e, other, 1u << 30, &measure), shape);
        (void)be_estimate_get(&e, key, 0, &measure);
    }
    cr_assert_eq(be_estimate_get(&e, key, 0, &measure), 1000);
}
