/* backend/driver/soft/dev/thread.c -- thread-local state */
#include "backend/driver/soft/dev/thread.h"

#include "backend/driver/soft/dev/capture.h"
#include "backend/driver/soft/dev/sched.h"

#include <string.h>

/* A per-thread default stream; ids tell a context or stream that has gone from a new one. */
struct thread_stream {
    struct thread_stream *next;
    CUcontext ctx;
    unsigned long long ctx_id;
    CUstream stream;
    unsigned long long stream_id;
};

struct place {
    CUcontext ctx;
    CUgreenCtx green;
};

struct thread_state {
    struct place *stack;
    size_t depth;
    size_t size;
    CUstream default_stream; /* NULL: the legacy stream */
    int host_functions;
    CUstreamCaptureMode capture_mode;
    struct thread_stream *streams;
    bool registered;
};

static __thread struct thread_state self;
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static void
thread_end(void *arg)
{
    struct thread_state *state = arg;

    while (state->streams != NULL) {
        struct thread_stream *ts = state->streams;

        state->streams = ts->next;
        if (sd_ctx_check(ts->ctx) != CUDA_ERROR_CONTEXT_IS_DESTROYED &&
            sd_ctx_id(ts->ctx) == ts->ctx_id && sd_object_is(ts->stream, SD_STREAM) &&
            ts->stream->id == ts->stream_id) {
            sd_capture_stream_gone(ts->stream);
            sd_stream_destroy(ts->stream);
        }
        free(ts);
    }
    free(state->stack);
    state->stack = NULL;
    state->depth = 0;
    state->size = 0;
    state->registered = false;
}

static void
thread_key_create(void)
{
    if (pthread_key_create(&thread_key, thread_end) != 0)
        log_error("software device: no thread key left; threads will leak their streams");
}

static void
thread_register(void)
{
    if (self.registered)
        return;
    pthread_once(&thread_once, thread_key_create);
    self.registered = pthread_setspecific(thread_key, &self) == 0;
}

CUstream
sd_default_stream(void)
{
    return self.default_stream != NULL ? self.default_stream : CU_STREAM_LEGACY;
}

CUstream
sd_default_stream_swap(CUstream stream)
{
    CUstream before = sd_default_stream();

    self.default_stream = stream;
    return before;
}

CUcontext
sd_ctx_current(void)
{
    return self.depth != 0 ? self.stack[self.depth - 1].ctx : NULL;
}

CUgreenCtx
sd_green_current(void)
{
    return self.depth != 0 ? self.stack[self.depth - 1].green : NULL;
}

static CUcontext
handle_of(const struct place *p)
{
    return p->green != NULL ? (CUcontext)p->green : p->ctx;
}

CUcontext
sd_thread_handle(void)
{
    return self.depth != 0 ? handle_of(&self.stack[self.depth - 1]) : NULL;
}

bool
sd_thread_push(CUcontext ctx, CUgreenCtx green)
{
    thread_register();
    if (self.depth == self.size) {
        size_t size = self.size != 0 ? 2 * self.size : 8;
        struct place *stack = realloc(self.stack, size * sizeof(*stack));

        if (stack == NULL)
            return false;
        self.stack = stack;
        self.size = size;
    }
    self.stack[self.depth++] = (struct place){ctx, green};
    return true;
}

CUcontext
sd_thread_pop(void)
{
    return self.depth != 0 ? handle_of(&self.stack[--self.depth]) : NULL;
}

bool
sd_thread_set(CUcontext ctx, CUgreenCtx green)
{
    if (ctx == NULL) {
        (void)sd_thread_pop();
        return true;
    }
    if (self.depth == 0)
        return sd_thread_push(ctx, green);
    self.stack[self.depth - 1] = (struct place){ctx, green};
    return true;
}

void
sd_thread_pop_if_top(CUcontext ctx)
{
    if (sd_thread_handle() == ctx)
        (void)sd_thread_pop();
}

void
sd_thread_pop_green(CUgreenCtx green)
{
    if (sd_green_current() == green)
        (void)sd_thread_pop();
}

CUresult
sd_thread_stream(CUcontext ctx, CUstream *stream_p)
{
    unsigned long long id = sd_ctx_id(ctx);
    struct thread_stream *ts;
    CUresult cr;

    for (ts = self.streams; ts != NULL; ts = ts->next) {
        if (ts->ctx == ctx && ts->ctx_id == id) {
            *stream_p = ts->stream;
            return CUDA_SUCCESS;
        }
    }
    thread_register();
    ts = malloc(sizeof(*ts));
    if (ts == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = sd_stream_create(ctx, CU_STREAM_DEFAULT, 0, &ts->stream);
    if (cr != CUDA_SUCCESS) {
        free(ts);
        return cr;
    }
    ts->stream->per_thread = true;
    ts->ctx = ctx;
    ts->ctx_id = id;
    ts->stream_id = ts->stream->id;
    ts->next = self.streams;
    self.streams = ts;
    *stream_p = ts->stream;
    return CUDA_SUCCESS;
}

bool
sd_thread_start(void *(*body)(void *))
{
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &attr, body, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        log_error("software device: start a thread: %s", strerror(rc));
    return rc == 0;
}

void
sd_thread_host_function(int change)
{
    self.host_functions += change;
}

bool
sd_in_host_function(void)
{
    return self.host_functions != 0;
}

CUstreamCaptureMode
sd_thread_capture_mode(void)
{
    return self.capture_mode;
}

CUstreamCaptureMode
sd_thread_capture_mode_swap(CUstreamCaptureMode mode)
{
    CUstreamCaptureMode before = self.capture_mode;

    self.capture_mode = mode;
    return before;
}
