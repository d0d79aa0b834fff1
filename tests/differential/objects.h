/* tests/differential/objects.h -- what a random program has made so far
 *
 * Names ("stream3") follow from the order of making alone, so they are the same on any device.
 * One thread at a time.
 */
#ifndef OBJECTS_H
#define OBJECTS_H

#include "random_program.h"

#include <stdbool.h>
#include <stdint.h>

struct object {
    enum object_kind kind;
    unsigned number; /* its name's, from 1 */
    uint64_t value;  /* handle or address */
    uint64_t bytes;  /* of memory that can be used through it; 0: none or unknown */
    int owner;       /* number of the context it was made in, 0: none */
    int parent;      /* number of the module or library it comes from, or 0 */
    int node;        /* number of the one that a graph is inside of, or 0 */
    bool alive;
    bool broken;        /* a context that had a fault */
    bool legacy_breaks; /* a context: a capture that its legacy stream must not be touched in */
    unsigned captures;  /* a stream: it does; a context: the threads whose own one does, by bit */
    bool reserved;      /* addresses that the program maps itself */
    bool team;          /* physical memory of several devices */
    bool usable;        /* memory that kernels can certainly reach */
    unsigned made_then; /* objects of its kind made when it died */
};

/* Random numbers that depend on the seed alone. */
void random_seed(uint64_t seed);
uint64_t random_below(uint64_t n);
static inline bool
random_percent(unsigned percent)
{
    return random_below(100) < percent;
}

/* A living one by chance, NULL if there is none. */
struct object *object_pick(enum object_kind kind);
/* One that died since which none of its kind was made (its value cannot mean another), or NULL. */
struct object *object_pick_dead(enum object_kind kind);
struct object *object_pick_reserved(void);
/* Physical memory, of several devices or not. */
struct object *object_pick_team(bool team);
struct object *object_find(enum object_kind kind, uint64_t value);
/* The living ones in the order of their making: the first for NULL, NULL at the end. */
struct object *object_next(enum object_kind kind, const struct object *before);
/* NULL when there are too many. */
struct object *object_add(enum object_kind kind, uint64_t value);
void object_die(struct object *object);
/* All that a context or, by parent, a module or library takes with it. */
void objects_die_with_context(int context);
void objects_die_with_parent(enum object_kind kind, int parent);
/* What is inside of it. */
void objects_die_with_graph(int graph);
/* The graphs inside of it. */
void objects_die_with_node(int node);
const char *object_kind_name(enum object_kind kind);

#endif
