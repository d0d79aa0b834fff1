/* tests/differential/random_program.c -- a random program over the CUDA driver API
 *
 * usage: random_program FIRST-SEED LAST-SEED CALLS
 *
 * For each seed a process of its own makes CALLS calls, drawn from the descriptions, by three
 * threads in turn, and prints each with its result and outputs. All that is printed follows from
 * the seed and from what CUDA promises: the same seed prints the same on any device. After each
 * call the context is synchronised, and the first failure of the two is the call's: a remote device
 * may tell of an asynchronous call's failure then.
 */
#include "random_program.h"

#include "arguments.h"

#include "cuda_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 3

static const struct call calls[] = {
#include "random_calls.inc.h"
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

typedef uint64_t word;
/* Whole words in registers and on the stack: right for every argument that the table has. */
typedef CUresult (*any_call)(word, word, word, word, word, word, word, word, word, word, word,
                             word);

static any_call functions[CALLS];
static CUresult (*init)(unsigned);
static CUresult (*ctx_synchronize)(void);
static CUresult (*ctx_get_current)(CUcontext *);
static CUresult (*ctx_set_current)(CUcontext);

/* Guarded by the baton: one thread runs at a time. */
static struct made made;
static unsigned long call_number;
static int current_context[THREADS]; /* number of it */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int turn; /* -1: end */
    bool done;
} baton = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, -2, false};

static void
load(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW);

    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    for (size_t i = 0; i < CALLS; i++)
        *(void **)&functions[i] = dlsym(library, calls[i].name);
    *(void **)&ctx_synchronize = dlsym(library, "cuCtxSynchronize");
    *(void **)&ctx_get_current = dlsym(library, "cuCtxGetCurrent");
    *(void **)&ctx_set_current = dlsym(library, "cuCtxSetCurrent");
    *(void **)&init = dlsym(library, "cuInit");
}

/* --- outputs --------------------------------------------------------------------------------- */

static uint64_t
memory_bytes(const struct call *call)
{
    for (int i = 0; i < call->count; i++)
        if (call->args[i] == ARG_OUT_64 && strstr(call->name, "Pitch") == NULL)
            return made.room[i].u64[0];
    if (strstr(call->name, "Pitch") != NULL)
        return made.value[2] * (made.value[3] > 0 ? made.value[3] : 1);
    for (int i = 0; i < call->count; i++)
        if (call->args[i] == ARG_BYTES)
            return made.value[i];
    return 0;
}

static int
parent_of(const struct call *call)
{
    for (int i = 0; i < call->count; i++)
        if ((call->args[i] == ARG_IN_MODULE || call->args[i] == ARG_IN_LIBRARY) &&
            made.object[i] != NULL)
            return (int)made.object[i]->number;
    return 0;
}

static void
output_object(const struct call *call, int thread, int at, enum object_kind kind)
{
    uint64_t value = made.room[at].u64[0];
    struct object *o = object_find(kind, value);

    if (value == 0) {
        printf(" none");
        return;
    }
    if (o == NULL && kind == KIND_ADDRESS && strstr(call->name, "AddressRange") != NULL) {
        printf(" base"); /* of something that has another name */
        return;
    }
    if (o == NULL) {
        o = object_add(kind, value);
        if (o == NULL)
            return;
        o->owner = current_context[thread];
        o->parent = parent_of(call);
        if (kind == KIND_ADDRESS || kind == KIND_HOST)
            o->bytes = memory_bytes(call);
        o->usable = strstr(call->name, "Alloc") != NULL || strstr(call->name, "Global") != NULL;
    }
    printf(" %s%u", object_kind_name(kind), o->number);
}

static void
outputs(const struct call *call, int thread)
{
    for (int i = 0; i < call->count; i++) {
        int arg = call->args[i];

        if (made.value[i] == 0)
            continue;
        if (arg > ARG_OUT(0) && arg < ARG_OUT_END)
            output_object(call, thread, i, (enum object_kind)(arg - ARG_OUT(0)));
        else if (call->flags & CALL_RESULT_ONLY)
            continue;
        else if (arg == ARG_OUT_32)
            printf(" %d", (int)made.room[i].u32[0]);
        else if (arg == ARG_OUT_64)
            printf(" %llu", (unsigned long long)made.room[i].u64[0]);
    }
}

static void
destroyed(struct object *o)
{
    if (o == NULL || !o->alive)
        return;
    object_die(o);
    if (o->kind == KIND_CTX)
        objects_die_with_context((int)o->number);
    if (o->kind == KIND_MODULE) {
        objects_die_with_parent(KIND_FUNCTION, (int)o->number);
        objects_die_with_parent(KIND_ADDRESS, (int)o->number);
    }
    if (o->kind == KIND_LIBRARY) {
        objects_die_with_parent(KIND_KERNEL, (int)o->number);
        objects_die_with_parent(KIND_FUNCTION, (int)o->number);
        objects_die_with_parent(KIND_MODULE, (int)o->number);
        objects_die_with_parent(KIND_ADDRESS, (int)o->number);
    }
}

/* --- a call --------------------------------------------------------------------------------- */

static unsigned
sum_of(const unsigned char *bytes, size_t count)
{
    unsigned sum = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < count; i++)
        sum = (sum ^ bytes[i]) * 16777619u;
    return sum;
}

static bool
has_arg(const struct call *call, int arg)
{
    for (int i = 0; i < call->count; i++)
        if (call->args[i] == arg)
            return true;
    return false;
}

/* The ends of contexts under objects in use, and what needs weeding out for the state it leaves. */
static bool
too_seldom(const struct call *call)
{
    if (strstr(call->name, "cuCtxDestroy") || strstr(call->name, "PrimaryCtxRelease"))
        return !random_percent(3);
    if (strstr(call->name, "cuDevicePrimaryCtxSetFlags") || strstr(call->name, "cuCtxCreate"))
        return !random_percent(20);
    if (strstr(call->name, "Unload"))
        return !random_percent(15);
    if (call->flags & CALL_DESTROYS)
        return !random_percent(50);
    return false;
}

static const struct call *
named(const char *name)
{
    for (size_t i = 0; i < CALLS; i++)
        if (strcmp(calls[i].name, name) == 0)
            return &calls[i];
    return NULL;
}

/* What is made first, so that there is something to draw. */
static const struct call *
first_call(unsigned long number)
{
    static const char *const begin[] = {"cuDevicePrimaryCtxRetain",
                                        "cuCtxSetCurrent",
                                        "cuCtxCreate_v2",
                                        "cuModuleLoadData",
                                        "cuModuleGetFunction",
                                        "cuMemAlloc_v2",
                                        "cuMemAlloc_v2",
                                        "cuStreamCreate",
                                        "cuEventCreate",
                                        "cuMemHostAlloc",
                                        "cuStreamCreateWithPriority",
                                        "cuMemAllocPitch_v2",
                                        "cuModuleGetFunction",
                                        "cuModuleGetGlobal_v2"};

    return number < sizeof(begin) / sizeof(begin[0]) ? named(begin[number]) : NULL;
}

static const struct call *
draw(unsigned long number, int thread)
{
    const struct call *call = first_call(number);

    /* A thread mostly has a context: without one there is little to see. */
    if (call == NULL && current_context[thread] == 0 && !random_percent(10))
        call = named(random_percent(70) ? "cuCtxSetCurrent" : "cuCtxPushCurrent_v2");

    while (call == NULL) {
        call = &calls[random_below(CALLS)];
        if (functions[call - calls] == NULL || too_seldom(call))
            call = NULL;
    }
    return call;
}

static void
note_current(int thread)
{
    CUcontext context = NULL;
    struct object *o;

    (void)ctx_get_current(&context);
    o = object_find(KIND_CTX, (uintptr_t)context);
    current_context[thread] = o != NULL ? (int)o->number : 0;
}

static CUresult
synchronize(CUresult cr)
{
    CUresult later = ctx_synchronize();

    return cr == CUDA_SUCCESS && later != CUDA_ERROR_INVALID_CONTEXT ? later : cr;
}

static void
one_call(int thread)
{
    const struct call *call = draw(call_number, thread);
    word v[ARGS_MAX];
    CUresult cr;

    make_arguments(call, &made);
    memcpy(v, made.value, sizeof(v));
    printf("%lu t%d %s(%s) ->", call_number, thread, call->name, made.text);
    fflush(stdout); /* so that a crash shows where */
    cr = functions[call - calls](v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10],
                                 v[11]);
    cr = synchronize(cr);
    printf(" %d", (int)cr);
    if (cr == CUDA_SUCCESS) {
        note_current(thread);
        outputs(call, thread);
        if (call->flags & CALL_DESTROYS)
            destroyed(made.object[0]);
    }
    if (has_arg(call, ARG_HOST) || has_arg(call, ARG_COPY2D) || has_arg(call, ARG_COPY3D))
        printf(" buffer %08x", sum_of(host_buffer, HOST_BYTES));
    printf("\n");
    note_current(thread);
    call_number++;
}

/* --- threads in turn -------------------------------------------------------------------------- */

static void *
thread_main(void *arg)
{
    int me = (int)(intptr_t)arg;

    pthread_mutex_lock(&baton.lock);
    for (;;) {
        while (baton.turn != me && baton.turn != -1)
            pthread_cond_wait(&baton.moved, &baton.lock);
        if (baton.turn == -1)
            break;
        one_call(me);
        baton.turn = -2;
        baton.done = true;
        pthread_cond_broadcast(&baton.moved);
    }
    pthread_mutex_unlock(&baton.lock);
    return NULL;
}

static void
hand_over(int turn)
{
    baton.turn = turn;
    baton.done = false;
    pthread_cond_broadcast(&baton.moved);
    while (turn >= 0 && !baton.done)
        pthread_cond_wait(&baton.moved, &baton.lock);
}

/* Everything that was queued is done, in whatever context. */
static void
finish(void)
{
    struct object *o;

    while ((o = object_pick(KIND_CTX)) != NULL) {
        if (ctx_set_current((CUcontext)(uintptr_t)o->value) == CUDA_SUCCESS)
            (void)ctx_synchronize();
        object_die(o);
    }
    printf("host functions %u\n", host_calls);
}

static void
program(uint64_t seed, unsigned long count)
{
    pthread_t threads[THREADS];
    int who = 0;

    load();
    random_seed(seed);
    for (size_t i = 0; i < HOST_BYTES; i++)
        host_buffer[i] = (unsigned char)(i * 7 + i / 251);
    printf("init %d\n", (int)init(0));
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, thread_main, (void *)i);
    pthread_mutex_lock(&baton.lock);
    while (call_number < count) {
        if (call_number > 14 && random_percent(15))
            who = (int)random_below(THREADS);
        hand_over(who);
    }
    hand_over(-1);
    pthread_mutex_unlock(&baton.lock);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    finish();
}

int
main(int argc, char **argv)
{
    uint64_t first, last;

    if (argc != 4) {
        fprintf(stderr, "usage: random_program FIRST-SEED LAST-SEED CALLS\n");
        return 2;
    }
    first = strtoull(argv[1], NULL, 10);
    last = strtoull(argv[2], NULL, 10);
    for (uint64_t seed = first; seed <= last; seed++) {
        pid_t pid;
        int status;

        printf("seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            alarm(60);
            program(seed, strtoul(argv[3], NULL, 10));
            fflush(stdout);
            exit(0);
        }
        waitpid(pid, &status, 0);
        if (WIFSIGNALED(status))
            printf("\nsignal %d\n", WTERMSIG(status));
        else if (WEXITSTATUS(status) != 0)
            printf("\nexit %d\n", WEXITSTATUS(status));
    }
    return 0;
}
