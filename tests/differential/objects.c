/* tests/differential/objects.c */
#include "objects.h"

#include <stddef.h>

#define OBJECTS_MAX 1024

static struct object objects[OBJECTS_MAX];
static unsigned object_count;
static unsigned made[KIND_COUNT];
static uint64_t state;

void
random_seed(uint64_t seed)
{
    state = seed * 2 + 1;
    for (int i = 0; i < 8; i++)
        random_below(2);
}

/* xorshift64*, Vigna 2014 */
uint64_t
random_below(uint64_t n)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 2685821657736338717ull >> 16) % n;
}

static struct object *
pick(enum object_kind kind, bool (*is)(const struct object *))
{
    unsigned found = 0, want;

    for (unsigned i = 0; i < object_count; i++)
        found += objects[i].kind == kind && is(&objects[i]);
    if (found == 0)
        return NULL;
    want = (unsigned)random_below(found);
    for (unsigned i = 0;; i++)
        if (objects[i].kind == kind && is(&objects[i]) && want-- == 0)
            return &objects[i];
}

static bool
is_alive(const struct object *o)
{
    return o->alive;
}

static bool
is_known_dead(const struct object *o)
{
    return !o->alive && o->made_then == made[o->kind];
}

struct object *
object_pick(enum object_kind kind)
{
    return pick(kind, is_alive);
}

static bool
is_team(const struct object *o)
{
    return o->alive && o->team;
}

static bool
is_no_team(const struct object *o)
{
    return o->alive && !o->team;
}

static bool
is_reserved(const struct object *o)
{
    return o->alive && o->reserved;
}

struct object *
object_pick_reserved(void)
{
    return pick(KIND_ADDRESS, is_reserved);
}

struct object *
object_pick_team(bool team)
{
    return pick(KIND_PHYS, team ? is_team : is_no_team);
}

struct object *
object_pick_dead(enum object_kind kind)
{
    return pick(kind, is_known_dead);
}

struct object *
object_find(enum object_kind kind, uint64_t value)
{
    for (unsigned i = 0; i < object_count; i++)
        if (objects[i].kind == kind && objects[i].alive && objects[i].value == value)
            return &objects[i];
    return NULL;
}

struct object *
object_add(enum object_kind kind, uint64_t value)
{
    struct object *o;

    if (object_count == OBJECTS_MAX)
        return NULL;
    o = &objects[object_count++];
    *o = (struct object){.kind = kind, .number = ++made[kind], .value = value, .alive = true};
    return o;
}

struct object *
object_next(enum object_kind kind, const struct object *before)
{
    unsigned i = before != NULL ? (unsigned)(before - objects) + 1 : 0;

    while (i < object_count && !(objects[i].kind == kind && objects[i].alive))
        i++;
    return i < object_count ? &objects[i] : NULL;
}

void
object_die(struct object *o)
{
    o->alive = false;
    o->made_then = made[o->kind];
}

void
objects_die_with_context(int context)
{
    for (unsigned i = 0; i < object_count; i++) {
        struct object *o = &objects[i];

        if (o->alive && o->owner == context && o->kind != KIND_CTX) {
            object_die(o);
            o->made_then = UINT32_MAX; /* dangling in CUDA's eyes: not to be used */
        }
    }
}

void
objects_die_with_parent(enum object_kind kind, int parent)
{
    for (unsigned i = 0; i < object_count; i++) {
        if (objects[i].alive && objects[i].kind == kind && objects[i].parent == parent) {
            object_die(&objects[i]);
            objects[i].made_then = UINT32_MAX;
            if (kind == KIND_GRAPH)
                objects_die_with_graph((int)objects[i].number);
        }
    }
}

void
objects_die_with_graph(int graph)
{
    objects_die_with_parent(KIND_NODE, graph);
    objects_die_with_parent(KIND_COND, graph);
    objects_die_with_parent(KIND_GRAPH_MEMORY, graph);
    objects_die_with_parent(KIND_GRAPH, graph); /* those inside of it */
}

void
objects_die_with_node(int node)
{
    for (unsigned i = 0; i < object_count; i++) {
        if (objects[i].alive && objects[i].kind == KIND_GRAPH && objects[i].node == node) {
            object_die(&objects[i]);
            objects[i].made_then = UINT32_MAX;
            objects_die_with_graph((int)objects[i].number);
        }
    }
}

const char *
object_kind_name(enum object_kind kind)
{
    static const char *const names[KIND_COUNT] = {
        "none",  "ctx",  "stream", "event",    "module", "function", "kernel", "library",
        "graph", "node", "exec",   "array",    "mipmap", "pool",     "phys",   "user",
        "tex",   "surf", "ref",    "link",     "green",  "desc",     "res",    "cond",
        "gmem",  "fd",   "ipcmem", "ipcevent", "export", "mem",      "host",
    };

    return names[kind];
}
