/* tests/unit/frontend_cuda/test_pages.c -- states of pages, runs of them, and how much a touch brings
 */
#include "frontend/cuda/pages.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Counts pages of each state by walking the runs; each page at most once. */
static void
count(const struct fe_pages *p, uint64_t by_state[4])
{
    uint8_t *seen = calloc(p->count, 1);
    struct fe_stretch at = {0};
    uint64_t first, n;
    enum fe_page state;

    memset(by_state, 0, 4 * sizeof(*by_state));
    while (fe_pages_next(p, &at, &first, &n, &state)) {
        cr_assert_neq(state, FE_PAGE_STALE);
        for (uint64_t i = first; i < first + n; i++) {
            cr_assert_eq(fe_pages_state(p, i), state);
            cr_assert_not(seen[i]);
            seen[i] = 1;
            by_state[state]++;
        }
    }
    free(seen);
}

Test(pages, all_are_stale_at_first)
{
    uint64_t by_state[4];
    struct fe_pages p;

    cr_assert(fe_pages_init(&p, 1000));
    cr_assert_eq(fe_pages_state(&p, 0), FE_PAGE_STALE);
    cr_assert_eq(fe_pages_state(&p, 999), FE_PAGE_STALE);
    count(&p, by_state);
    cr_assert_eq(by_state[FE_PAGE_CLEAN] + by_state[FE_PAGE_DIRTY] + by_state[FE_PAGE_TWIN], 0);
    fe_pages_fini(&p);
}

Test(pages, states_change_and_are_forgotten_at_once)
{
    uint64_t by_state[4];
    struct fe_pages p;

    cr_assert(fe_pages_init(&p, 100));
    fe_pages_set(&p, 10, 20, FE_PAGE_CLEAN);
    fe_pages_set(&p, 30, 5, FE_PAGE_CLEAN);
    fe_pages_set(&p, 12, 3, FE_PAGE_TWIN);
    fe_pages_set(&p, 33, 1, FE_PAGE_DIRTY);
    cr_assert_eq(p.dirty, 4);
    count(&p, by_state);
    cr_assert_eq(by_state[FE_PAGE_CLEAN], 21);
    cr_assert_eq(by_state[FE_PAGE_TWIN], 3);
    cr_assert_eq(by_state[FE_PAGE_DIRTY], 1);
    fe_pages_set(&p, 12, 3, FE_PAGE_CLEAN);
    cr_assert_eq(p.dirty, 1);
    fe_pages_forget(&p);
    cr_assert_eq(p.dirty, 0);
    cr_assert_eq(fe_pages_state(&p, 12), FE_PAGE_STALE);
    count(&p, by_state);
    cr_assert_eq(by_state[FE_PAGE_CLEAN] + by_state[FE_PAGE_DIRTY], 0);
    fe_pages_fini(&p);
}

/* As many runs as there may be, and more: none is lost, none counted twice. */
Test(pages, many_scattered_pages_are_all_found)
{
    enum { PAGES = 20000 };
    uint64_t by_state[4], clean = 0, dirty = 0;
    struct fe_pages p;

    cr_assert(fe_pages_init(&p, PAGES));
    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t page = i * 7919 % PAGES;

        if (page % 3 != 0)
            continue;
        fe_pages_set(&p, page, 1, FE_PAGE_CLEAN);
        if (page % 2 == 0) {
            fe_pages_set(&p, page, 1, FE_PAGE_TWIN);
            dirty++;
        } else {
            clean++;
        }
    }
    count(&p, by_state);
    cr_assert_eq(by_state[FE_PAGE_CLEAN], clean);
    cr_assert_eq(by_state[FE_PAGE_TWIN], dirty);
    cr_assert_eq(p.dirty, dirty);
    fe_pages_fini(&p);
}

Test(pages, states_may_change_while_they_are_walked)
{
    struct fe_stretch at = {0};
    uint64_t first, n, walked = 0;
    enum fe_page state;
    struct fe_pages p;

    cr_assert(fe_pages_init(&p, 64));
    fe_pages_set(&p, 0, 64, FE_PAGE_CLEAN);
    for (uint64_t i = 0; i < 64; i += 4)
        fe_pages_set(&p, i, 2, FE_PAGE_TWIN);
    while (fe_pages_next(&p, &at, &first, &n, &state)) {
        walked += n;
        fe_pages_set(&p, first, n, FE_PAGE_CLEAN);
    }
    cr_assert_eq(walked, 64);
    cr_assert_eq(p.dirty, 0);
    fe_pages_fini(&p);
}

/* Straight on: few touches, and little in vain wherever it stops. */
Test(pages, a_streak_brings_more_and_more)
{
    enum { PAGES = 16384 };
    uint64_t touches = 0, page = 0;
    struct fe_pages p;

    cr_assert(fe_pages_init(&p, PAGES));
    while (page < PAGES) {
        uint64_t n = fe_pages_ahead(&p, &p.fetched, page, 1024);

        cr_assert_geq(n, 1);
        cr_assert_leq(n, 1024);
        cr_assert_leq(n - 1, page / 5, "%lu pages at page %lu", (unsigned long)n,
                      (unsigned long)page);
        fe_pages_set(&p, page, n, FE_PAGE_CLEAN);
        page += n;
        touches++;
    }
    cr_assert_eq(page, PAGES);
    cr_assert_leq(touches, 100);
    fe_pages_fini(&p);
}

Test(pages, touches_at_random_bring_one_page_each)
{
    struct fe_pages p;

    cr_assert(fe_pages_init(&p, 100000));
    for (uint64_t i = 1; i < 1000; i++) {
        uint64_t page = i * 7919 % 100000;

        cr_assert_eq(fe_pages_ahead(&p, &p.fetched, page, 1024), 1);
        fe_pages_set(&p, page, 1, FE_PAGE_CLEAN);
    }
    fe_pages_fini(&p);
}

Test(pages, what_is_brought_ends_at_another_state_and_at_the_end)
{
    uint64_t page = 0, n = 0;
    struct fe_pages p;

    cr_assert(fe_pages_init(&p, 300));
    for (; page < 200; page += n) {
        n = fe_pages_ahead(&p, &p.fetched, page, 1024);
        fe_pages_set(&p, page, n, FE_PAGE_CLEAN);
    }
    fe_pages_set(&p, page + 3, 2, FE_PAGE_CLEAN);
    cr_assert_eq(fe_pages_ahead(&p, &p.fetched, page, 1024), 3);
    fe_pages_set(&p, page, 3, FE_PAGE_CLEAN);
    page += 5;
    for (; page < 300; page += n) {
        n = fe_pages_ahead(&p, &p.fetched, page, 1024);
        cr_assert_leq(page + n, 300);
        fe_pages_set(&p, page, n, FE_PAGE_CLEAN);
    }
    fe_pages_fini(&p);
}

Test(pages, changed_bytes_are_found_one_by_one)
{
    uint8_t before[64], now[64], mask[8], out[64];

    for (int i = 0; i < 64; i++)
        before[i] = now[i] = (uint8_t)i;
    cr_assert_eq(fe_bytes_changed(now, before, 64, mask, out), 0);
    now[0] = 100;
    now[9] = 101;
    now[10] = 102;
    now[63] = 103;
    cr_assert_eq(fe_bytes_changed(now, before, 64, mask, out), 4);
    cr_assert_eq(memcmp(out, "defg", 4), 0);
    cr_assert_eq(mask[0], 1);
    cr_assert_eq(mask[1], 6);
    cr_assert_eq(mask[7], 0x80);
}
