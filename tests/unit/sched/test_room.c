/* tests/unit/sched/test_room.c -- memory of a device that exists only here, with a clock of its own
 *
 * Sessions work in phases: so long on the device, then so long elsewhere, until their work is done.
 * Time goes in ticks; a tick moves so many bytes in and so many out, at once, and gives the device
 * to those that can run in turns.
 */
#include "backend/sched/room.h"

#include <criterion/criterion.h>

#include <string.h>

#define MS   1000000ull
#define S    1000000000ull
#define MIB  (1ull << 20)
#define TICK (MS / 2)

#define SIMS_MAX 8

struct sim {
    uint32_t class;
    uint64_t need, resident;
    uint64_t busy_ns, pause_ns; /* a phase */
    uint64_t left_ns;           /* of all its work on the device */

    uint64_t phase_ns; /* of this phase, left */
    uint64_t pause_to; /* it pauses until */
    uint64_t idle_ns;
    uint64_t look_ns, ask_ns;
    uint64_t done_ns, served_ns, waited_ns, longest_wait_ns, wait_from, in_bytes;
    bool waiting;
};

static struct {
    struct be_room r;
    struct sim sims[SIMS_MAX];
    unsigned count, turn;
    uint64_t now, rate; /* bytes each tick, each way */
    bool fails;         /* nothing can leave */
} w;

static void
world(uint64_t bytes, uint64_t rate_per_s)
{
    memset(&w, 0, sizeof(w));
    w.now = S;
    w.r.bytes = bytes;
    w.rate = rate_per_s / (S / TICK);
}

static struct sim *
add(uint32_t class, uint64_t need, uint64_t busy_ns, uint64_t pause_ns, uint64_t work_ns)
{
    struct sim *s = &w.sims[w.count];

    *s = (struct sim){.class = class,
                      .need = need,
                      .busy_ns = busy_ns,
                      .pause_ns = pause_ns,
                      .left_ns = work_ns,
                      .phase_ns = busy_ns,
                      .look_ns = UINT64_MAX};
    be_room_attach(&w.r, w.count, class);
    w.count++;
    return s;
}

static void
woken(const struct be_room_wake *wake)
{
    for (unsigned i = 0; i < w.count; i++)
        if (wake->bits[0] >> i & 1)
            w.sims[i].look_ns = w.sims[i].ask_ns = 0;
}

static bool
pauses(const struct sim *s)
{
    return s->left_ns == 0 || w.now < s->pause_to;
}

/* What its worker does in a tick, but for its work. */
static void
attend(unsigned i)
{
    struct be_room_wake wake = {0};
    struct sim *s = &w.sims[i];
    struct be_room_member *m = &w.r.members[i];

    if (m->leave_bytes != 0 && !w.fails) { /* nothing of it runs while it leaves */
        uint64_t out = m->leave_bytes < w.rate ? m->leave_bytes : w.rate;

        uint64_t unused = m->held_bytes - s->resident; /* promised only */

        s->resident -= out > unused ? out - unused : 0;
        be_room_give(&w.r, i, out);
        be_room_moved(&w.r, i, false, out, TICK * out / w.rate);
        if (be_room_first(&w.r) != BE_ROOM_NONE)
            w.sims[be_room_first(&w.r)].ask_ns = 0;
        return;
    }
    if (s->resident < s->need && !pauses(s)) {
        if (!s->waiting)
            s->wait_from = w.now;
        s->waiting = true;
        if (w.now >= s->ask_ns) {
            if (be_room_enter(&w.r, i, s->need, s->resident == s->need, w.now, &wake, &s->ask_ns) &&
                s->resident == s->need)
                s->waiting = false;
            woken(&wake);
        }
        if (m->held_bytes > s->resident) {
            uint64_t in = m->held_bytes - s->resident;

            in = in < w.rate ? in : w.rate;
            s->resident += in;
            s->in_bytes += in;
            be_room_moved(&w.r, i, true, in, TICK * in / w.rate);
            s->ask_ns = 0;
        }
        if (s->resident == s->need &&
            be_room_enter(&w.r, i, s->need, s->resident == s->need, w.now, &wake, &s->ask_ns)) {
            woken(&wake);
            s->waiting = false;
            s->waited_ns += w.now - s->wait_from;
            if (w.now - s->wait_from > s->longest_wait_ns)
                s->longest_wait_ns = w.now - s->wait_from;
        }
        return;
    }
    if (w.now >= s->look_ns) {
        (void)be_room_look(&w.r, i, pauses(s) ? s->idle_ns : 0, w.now, &wake, &s->look_ns);
        woken(&wake);
        if (w.fails && m->leave_bytes != 0) {
            be_room_cannot(&w.r, i, w.now);
            w.sims[be_room_first(&w.r)].ask_ns = 0;
        }
    }
}

static void
work(struct sim *s)
{
    uint64_t ns = s->left_ns < TICK ? s->left_ns : TICK;

    s->left_ns -= ns;
    s->served_ns += ns;
    s->phase_ns -= ns < s->phase_ns ? ns : s->phase_ns;
    if (s->left_ns == 0 || s->phase_ns == 0) {
        s->phase_ns = s->busy_ns;
        s->pause_to = w.now + TICK + s->pause_ns;
        s->idle_ns = w.now + TICK;
        if (s->left_ns == 0 && s->done_ns == 0)
            s->done_ns = s->pause_to;
    }
}

static void
tick(void)
{
    uint64_t held = 0;

    for (unsigned i = 0; i < w.count; i++)
        attend(i);
    for (unsigned k = 0; k < w.count; k++) {
        unsigned i = (w.turn + k) % w.count;
        struct sim *s = &w.sims[i];

        if (pauses(s) || s->resident < s->need || w.r.members[i].leave_bytes != 0 || s->waiting)
            continue;
        work(s);
        w.turn = i + 1;
        break;
    }
    for (unsigned i = 0; i < w.count; i++) {
        held += w.r.members[i].held_bytes;
        cr_assert_leq(w.sims[i].resident, w.r.members[i].held_bytes);
    }
    cr_assert_leq(held, w.r.bytes, "more than there is");
    w.now += TICK;
}

/* Until all work is done; how long it took. */
static uint64_t
run_all(uint64_t most)
{
    uint64_t began = w.now, end = 0;

    for (unsigned i = 0; i < w.count; i++) {
        while (w.sims[i].done_ns == 0) {
            cr_assert_lt(w.now - began, most, "it takes too long");
            tick();
        }
        end = w.sims[i].done_ns > end ? w.sims[i].done_ns : end;
    }
    return end - began;
}

static void
run(uint64_t span)
{
    for (uint64_t until = w.now + span; w.now < until;)
        tick();
}

/* Two of need bytes each with this duty, on a device of 1 GiB that exchanges it in 40 ms. */
static double
two(uint64_t need, uint64_t busy_ns, uint64_t pause_ns, bool eager)
{
    uint64_t alone;

    world(1024 * MIB, 25 * 1024 * MIB);
    (void)add(1, need, busy_ns, pause_ns, 40 * busy_ns);
    alone = run_all(1000 * S);
    world(1024 * MIB, 25 * 1024 * MIB);
    w.r.eager = eager;
    (void)add(1, need, busy_ns, pause_ns, 40 * busy_ns);
    (void)add(1, need, busy_ns, pause_ns, 40 * busy_ns);
    return (double)run_all(10000 * S) / (2.0 * (double)alone);
}

Test(room, halves_interleave)
{
    double ratio = two(973 * MIB, 1000 * MS, 1000 * MS, false);

    cr_assert_leq(ratio, 0.80, "%f", ratio);
}

Test(room, who_hardly_pauses_loses_little)
{
    double ratio = two(973 * MIB, 900 * MS, 100 * MS, false);

    cr_assert_leq(ratio, 1.06, "%f", ratio);
}

Test(room, handing_over_at_every_batch_is_ruinous)
{
    double quiet = two(973 * MIB, 5 * MS, 500000, false);
    double eager = two(973 * MIB, 5 * MS, 500000, true);

    cr_assert_geq(eager / quiet, 4.0, "%f and %f", eager, quiet);
}

Test(room, who_fits_is_never_moved)
{
    double ratio = two(500 * MIB, 900 * MS, 100 * MS, false);

    cr_assert_leq(ratio, 1.00, "%f", ratio);
    cr_assert_eq(w.sims[0].in_bytes, 500 * MIB, "but for the first time");
    cr_assert_eq(w.r.out_bytes, 0);
}

Test(room, only_what_is_needed_leaves)
{
    world(1000 * MIB, 25000 * MIB);
    (void)add(1, 600 * MIB, 10 * MS, 0, 100 * S);
    (void)add(1, 600 * MIB, 10 * MS, 0, 100 * S);
    run(20 * S);
    cr_assert_gt(w.r.exchanges, 10);
    cr_assert_leq(w.r.out_bytes / (w.r.exchanges - 2 + 1), 201 * MIB);
}

/* Exchanges take a twentieth of the time, and nobody waits for longer than the others' turns. */
Test(room, turns_are_long_enough_and_not_longer)
{
    world(1024 * MIB, 25 * 1024 * MIB);
    for (int i = 0; i < 4; i++)
        (void)add(1, 900 * MIB, 10 * MS, 0, 1000 * S);
    run(8 * S); /* until it is known how long an exchange takes, and that all work for long */
    for (int i = 0; i < 4; i++)
        w.sims[i].longest_wait_ns = w.sims[i].served_ns = 0;
    run(60 * S);
    for (int i = 0; i < 4; i++) {
        cr_assert_geq(w.sims[i].served_ns, 60 * S * 92 / 400, "%d: %llu", i,
                      (unsigned long long)w.sims[i].served_ns);
        cr_assert_leq(w.sims[i].longest_wait_ns, 3 * (19 * 37 + 60) * MS + 100 * MS, "%d: %llu", i,
                      (unsigned long long)w.sims[i].longest_wait_ns);
    }
}

/* Who has little to do when his turn comes waits for a shorter one of the others. */
Test(room, who_comes_for_a_moment_waits_for_less)
{
    world(1024 * MIB, 25 * 1024 * MIB);
    (void)add(1, 900 * MIB, 20 * MS, 400 * MS, 1000 * S);
    (void)add(1, 900 * MIB, 10 * MS, 0, 1000 * S);
    run(5 * S);
    w.sims[0].longest_wait_ns = w.sims[0].served_ns = 0;
    run(60 * S);
    cr_assert_leq(w.sims[0].longest_wait_ns, (9 * 37 + 60) * MS, "%llu",
                  (unsigned long long)w.sims[0].longest_wait_ns);
    cr_assert_gt(w.sims[0].served_ns, 60 * S * 20 / 900);
}

Test(room, the_high_class_stays_and_comes_first)
{
    world(1024 * MIB, 25 * 1024 * MIB);
    (void)add(0, 500 * MIB, 5 * MS, 200 * MS, 1000 * S);
    (void)add(2, 500 * MIB, 10 * MS, 0, 1000 * S);
    (void)add(2, 500 * MIB, 10 * MS, 0, 1000 * S);
    run(10 * S);
    cr_assert_eq(w.sims[0].in_bytes, 500 * MIB, "never moved again");
    cr_assert_leq(w.sims[0].longest_wait_ns, 80 * MS);
    cr_assert_gt(w.sims[1].served_ns, 3 * S);
    cr_assert_gt(w.sims[2].served_ns, 3 * S);
}

/* A lower class gives way at once, and comes back when the higher one has nothing to do. */
Test(room, lower_classes_give_way)
{
    world(1024 * MIB, 25 * 1024 * MIB);
    (void)add(1, 900 * MIB, 300 * MS, 700 * MS, 1000 * S);
    (void)add(2, 900 * MIB, 10 * MS, 0, 1000 * S);
    run(20 * S);
    cr_assert_geq(w.sims[0].served_ns, 20 * S * 27 / 100);
    cr_assert_leq(w.sims[0].longest_wait_ns, 60 * MS);
    cr_assert_gt(w.sims[1].served_ns, 8 * S, "%llu", (unsigned long long)w.sims[1].served_ns);
}

Test(room, who_cannot_leave_is_left_alone_for_a_while)
{
    world(1024 * MIB, 25 * 1024 * MIB);
    (void)add(1, 900 * MIB, 10 * MS, 0, 1000 * S);
    run(2 * S);
    (void)add(1, 900 * MIB, 10 * MS, 0, 1000 * S);
    w.fails = true;
    run(3 * S);
    cr_assert_eq(w.sims[1].served_ns, 0);
    cr_assert_gt(w.sims[0].served_ns, 4 * S);
    w.fails = false;
    run(3 * S);
    cr_assert_gt(w.sims[1].served_ns, 1 * S);
}

Test(room, the_dead_leave_room_and_no_traces)
{
    struct be_room_wake wake = {0};
    uint64_t until;

    world(1024 * MIB, 25 * 1024 * MIB);
    (void)add(1, 900 * MIB, 10 * MS, 0, 1000 * S);
    (void)add(1, 900 * MIB, 10 * MS, 0, 1000 * S);
    run(1 * S);
    be_room_detach(&w.r, 0);
    cr_assert(be_room_enter(&w.r, 1, 900 * MIB, true, w.now, &wake, &until));
    be_room_detach(&w.r, 1);
    cr_assert_eq(be_room_free(&w.r), 1024 * MIB);
    cr_assert_eq(w.r.end, 0);
}

/* What cannot leave is not asked for. */
Test(room, what_is_fixed_stays)
{
    struct be_room_wake wake = {0};
    uint64_t until;

    world(1000 * MIB, 25000 * MIB);
    be_room_attach(&w.r, 0, 1);
    be_room_attach(&w.r, 1, 1);
    cr_assert(be_room_grow(&w.r, 0, 800 * MIB, w.now));
    be_room_fix(&w.r, 0, 300 * MIB);
    cr_assert_not(be_room_enter(&w.r, 1, 700 * MIB, true, w.now, &wake, &until));
    cr_assert_eq(w.r.members[1].held_bytes, 200 * MIB);
    cr_assert_eq(be_room_look(&w.r, 0, 0, w.now + 20 * S, &wake, &until), 500 * MIB);
    be_room_give(&w.r, 0, 500 * MIB);
    cr_assert(be_room_enter(&w.r, 1, 700 * MIB, true, w.now + 20 * S, &wake, &until));
    cr_assert_not(be_room_grow(&w.r, 0, 1, w.now + 20 * S));
}

static bool
enter(uint32_t member, uint64_t need, bool there)
{
    struct be_room_wake wake = {0};
    uint64_t until;

    return be_room_enter(&w.r, member, need, there, w.now, &wake, &until);
}

/* 0 waits for what 1 holds; 1 waits too, and cannot leave before it was served. */
static void
two_wait(void)
{
    world(1000 * MIB, 25000 * MIB);
    be_room_attach(&w.r, 0, 1);
    be_room_attach(&w.r, 1, 2);
    cr_assert(be_room_grow(&w.r, 0, 500 * MIB, w.now));
    cr_assert(be_room_grow(&w.r, 1, 400 * MIB, w.now));
    cr_assert_not(enter(0, 900 * MIB, false));
    w.now += MS;
    cr_assert_not(enter(1, 600 * MIB, false));
    cr_assert_eq(be_room_first(&w.r), 0);
    cr_assert_eq(w.r.members[1].leave_bytes, 300 * MIB);
    be_room_cannot(&w.r, 1, w.now);
}

Test(room, who_waits_and_cannot_leave_is_served_first)
{
    two_wait();
    cr_assert_eq(be_room_first(&w.r), 1);
    cr_assert_not(enter(1, 600 * MIB, false));
    cr_assert_eq(w.r.members[0].leave_bytes, 200 * MIB,
                 "of what it holds, though its class is higher");
    be_room_give(&w.r, 0, 200 * MIB);
    cr_assert_not(enter(1, 600 * MIB, false));
    cr_assert_eq(w.r.members[1].held_bytes, 600 * MIB);
    cr_assert(enter(1, 600 * MIB, true));
    cr_assert_eq(be_room_first(&w.r), 0, "it is stuck no more");
    cr_assert_eq(w.r.members[1].stuck_ns, 0);
}

/* Who said last that it cannot goes on, so that the others have to try again; in the end, where
 * nobody can, who was stuck last is told. */
Test(room, where_all_are_stuck_one_has_to_do_without)
{
    uint64_t began;

    two_wait();
    began = w.now;
    w.now += 10 * MS;
    be_room_cannot(&w.r, 0, w.now);
    cr_assert_eq(be_room_first(&w.r), 0);
    w.now += 10 * MS;
    be_room_cannot(&w.r, 1, w.now);
    cr_assert_eq(be_room_first(&w.r), 1);
    w.now = began + BE_ROOM_JAM_NS;
    cr_assert_not(be_room_jammed(&w.r, 0, w.now), "not yet");
    w.now += 10 * MS;
    cr_assert(be_room_jammed(&w.r, 0, w.now));
    cr_assert_not(be_room_jammed(&w.r, 1, w.now), "it was stuck before");
    /* A third one, which works: perhaps it ends. */
    be_room_attach(&w.r, 2, 1);
    cr_assert_not(be_room_grow(&w.r, 2, 50 * MIB, w.now), "others wait");
    w.r.members[2].held_bytes = 50 * MIB;
    cr_assert_not(be_room_jammed(&w.r, 0, w.now));
    be_room_detach(&w.r, 2);
    be_room_leave(&w.r, 0);
    cr_assert_not(be_room_jammed(&w.r, 0, w.now));
    cr_assert_not(be_room_jammed(&w.r, 1, w.now), "the other one may go on now");
}

/* -- who keeps others waiting ------------------------------------------------------------------ */

/* 0, 1 and 2 hold 300 MiB each; 3 waits for 500 since w.now, of which 100 are free. */
static void
three_hold(void)
{
    world(1000 * MIB, 25000 * MIB);
    for (uint32_t i = 0; i < 4; i++)
        be_room_attach(&w.r, i, 1);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert(be_room_grow(&w.r, i, 300 * MIB, w.now));
    w.now += 20 * S; /* nobody has just come */
    cr_assert_not(enter(3, 500 * MIB, false));
}

Test(room, who_keeps_others_waiting_is_overdue_after_its_limit_only)
{
    uint64_t began;

    world(1000 * MIB, 25000 * MIB);
    be_room_attach(&w.r, 0, 1);
    cr_assert(be_room_grow(&w.r, 0, 900 * MIB, w.now));
    began = w.now;
    w.now += 1000 * S;
    cr_assert_eq(be_room_busy(&w.r, 0, began, 10 * S, w.now), 0, "nobody wants it");
    cr_assert_not(be_room_overdue(&w.r, 0, w.now));
    be_room_attach(&w.r, 1, 1);
    cr_assert_not(enter(1, 500 * MIB, false));
    began = w.now;
    w.now += 10 * S - 1;
    cr_assert_eq(be_room_busy(&w.r, 0, 1, 10 * S, w.now), 10 * S - 1, "since it is wanted");
    cr_assert_not(be_room_overdue(&w.r, 0, w.now));
    w.now++;
    cr_assert(be_room_overdue(&w.r, 0, w.now));
    (void)be_room_busy(&w.r, 0, 1, 0, w.now);
    cr_assert_not(be_room_overdue(&w.r, 0, w.now + 1000 * S), "its tenant has no limit");
    (void)be_room_busy(&w.r, 0, 0, 10 * S, w.now);
    cr_assert_not(be_room_overdue(&w.r, 0, w.now + 1000 * S), "its work has ended");
    (void)be_room_busy(&w.r, 0, w.now, 10 * S, w.now);
    cr_assert_not(be_room_overdue(&w.r, 0, w.now + 9 * S), "other work, since then");
    be_room_leave(&w.r, 1);
    cr_assert_not(be_room_overdue(&w.r, 0, w.now + 1000 * S), "nobody waits any more");
}

/* It is not asked again and again only because it gets more meanwhile, or says that it cannot. */
Test(room, nothing_that_it_does_makes_it_less_overdue)
{
    three_hold();
    for (uint32_t i = 0; i < 3; i++)
        (void)be_room_busy(&w.r, i, w.now, i == 0 ? 10 * S : 0, w.now);
    for (int i = 0; i < 10; i++) {
        w.now += S;
        be_room_cannot(&w.r, 0, w.now);
        be_room_give(&w.r, 0, 2 * MIB);
        (void)be_room_grow(&w.r, 0, 2 * MIB, w.now);
        (void)enter(0, 302 * MIB, false);
        be_room_leave(&w.r, 0);
    }
    cr_assert(be_room_overdue(&w.r, 0, w.now));
}

Test(room, of_several_that_keep_others_waiting_one_is_ended_at_a_time)
{
    three_hold();
    (void)be_room_busy(&w.r, 0, w.now + 2, 10 * S, w.now);
    (void)be_room_busy(&w.r, 1, w.now + 1, 10 * S, w.now);
    (void)be_room_busy(&w.r, 2, w.now + 1, 10 * S, w.now);
    w.now += 11 * S;
    cr_assert(be_room_overdue(&w.r, 1, w.now), "for longest, and the first of two");
    cr_assert_not(be_room_overdue(&w.r, 0, w.now));
    cr_assert_not(be_room_overdue(&w.r, 2, w.now));
    be_room_detach(&w.r, 1);
    cr_assert(be_room_overdue(&w.r, 2, w.now), "400 of 500 MiB are there");
    be_room_detach(&w.r, 2);
    cr_assert_not(be_room_overdue(&w.r, 0, w.now), "there is enough now");
}

Test(room, who_leaves_in_time_saves_who_does_not)
{
    three_hold();
    for (uint32_t i = 0; i < 3; i++)
        w.r.members[i].leave_bytes = i < 2 ? 200 * MIB : 0;
    (void)be_room_busy(&w.r, 2, w.now, 10 * S, w.now);
    cr_assert_not(be_room_overdue(&w.r, 2, w.now + 20 * S), "the others are about to");
}

Test(room, the_high_class_keeps_its_memory_from_lower_ones_for_as_long_as_it_works)
{
    world(1000 * MIB, 25000 * MIB);
    be_room_attach(&w.r, 0, 0);
    be_room_attach(&w.r, 1, 1);
    cr_assert(be_room_grow(&w.r, 0, 900 * MIB, w.now));
    cr_assert_not(enter(1, 500 * MIB, false));
    cr_assert_eq(be_room_busy(&w.r, 0, w.now, 10 * S, w.now + 100 * S), 0);
    cr_assert_not(be_room_overdue(&w.r, 0, w.now + 100 * S));
}
