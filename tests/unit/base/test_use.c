/* tests/unit/base/test_use.c -- what is retired ends when those who may look at it are out
 *
 * Without Criterion, so that it runs under ThreadSanitizer too.
 */
#include "protocol/base/use.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 3
#define ROUNDS  20000

struct thing {
    struct gp_retired retired; /* first */
    _Atomic int live;          /* the handle's state */
    int value;                 /* plain: who ends it spoils it */
};

static _Atomic(struct thing *) shown;
static atomic_int ended;
static atomic_bool over;
static int failures;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            printf("line %d: %s\n", __LINE__, #cond);                                              \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static void
end(struct gp_retired *what)
{
    struct thing *thing = (struct thing *)what;

    thing->value = -1;
    ended++;
    free(thing);
}

static struct thing *
make(void)
{
    struct thing *thing = calloc(1, sizeof(*thing));

    if (thing == NULL)
        exit(2);
    thing->retired.end = end;
    thing->live = 1;
    thing->value = 7;
    return thing;
}

static void
retire(struct thing *thing)
{
    atomic_exchange(&thing->live, 0);
    gp_retire(&thing->retired);
}

static void
alone(void)
{
    unsigned first, second;

    retire(make());
    CHECK(ended == 1); /* nobody was there */

    first = gp_use_begin();
    retire(make());
    CHECK(ended == 1);
    second = gp_use_begin(); /* too late for it */
    gp_use_end(first);
    retire(make());
    CHECK(ended <= 2);
    gp_use_end(second);
    CHECK(ended == 3);
}

static void *
look(void *wrong)
{
    while (!over) {
        GP_USE();
        struct thing *thing = atomic_load(&shown);

        if (thing != NULL && atomic_load(&thing->live))
            *(int *)wrong += thing->value != 7;
    }
    return NULL;
}

static void
together(void)
{
    pthread_t threads[THREADS];
    int wrong[THREADS] = {0}, before = ended;

    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, look, &wrong[i]);
    for (int i = 0; i < ROUNDS; i++) {
        struct thing *old = atomic_exchange(&shown, make());

        if (old != NULL)
            retire(old);
    }
    retire(atomic_exchange(&shown, NULL));
    over = true;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(wrong[i] == 0);
    }
    CHECK(ended - before == ROUNDS);
}

int
main(void)
{
    alone();
    together();
    return failures != 0;
}
