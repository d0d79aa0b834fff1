/* tests/unit/frontend/fake.h -- a pool server inside the test's process
 *
 * Speaks the protocol over a plain loopback socket with its own few lines of framing, so that a
 * test decides what is said, in which order, and after which byte the line is cut. One connection
 * after the other, on one thread.
 */
#ifndef TEST_FAKE_H
#define TEST_FAKE_H

#include "protocol/wire/codec.h"
#include "protocol/wire/control.h"
#include "protocol/wire/frame.h"
#include "wire_calls.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* For code that runs without Criterion too (under ThreadSanitizer). */
#define FAKE_NEED(cond)                                                                            \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct fake;

/* On the server's thread, for each record of a CALLS frame. */
typedef void (*fake_record_fn)(struct fake *f, const struct wire_record *record,
                               const uint8_t *args, size_t len);

struct fake_opts {
    uint64_t features;               /* in its hello */
    fake_record_fn on_record;        /* NULL: fake_answer() */
    void (*on_ping)(struct fake *f); /* before the PONG */
    void *user;
    uint32_t wire_format; /* 0: the right one */
    uint32_t refuse;      /* answer the open with this enum wire_control_code */
    unsigned devices;     /* 0: 2 */
    uint64_t device_base; /* of 1 GiB; 0: 0x551000000000 */
    uint64_t host_bytes;  /* behind it; 0: none */
    uint32_t heartbeat_ms;
    bool silent; /* accept and say nothing */
    bool cut;    /* close the line after so many bytes of ours */
    uint64_t cut_after;
    uint16_t lacks; /* a call the server does not have */
};

struct fake {
    struct fake_opts opts;
    int listener;
    char url[64];
    pthread_t thread;
    _Atomic int fd; /* of the connection in hand, -1: none */
    /* The thread's, readable by its callbacks and after fake_stop(). */
    uint64_t sent;
    unsigned opens;            /* OPEN messages seen */
    uint64_t last_hint;        /* device_base_hint of the last one */
    uint64_t records;          /* since the last open */
    uint32_t deferred_context; /* of what fake_reply() says was deferred */
    uint32_t bye;              /* tag of the client's BYE, UINT32_MAX: none came */
    uint64_t last_seq;
    pthread_mutex_t lock; /* for tests' own use, as are: */
    pthread_cond_t changed;
    unsigned flag;
};

/* Listens, starts the thread, sets GPUPOOL_SERVER and clears what else configures a client. */
void fake_start(struct fake *f, const struct fake_opts *opts);
/* Ends it whatever it is doing, joins. */
void fake_stop(struct fake *f);
/* Wait till the client closed the line, then join. */
void fake_join(struct fake *f);

/* On the server's thread. False once the line is cut. */
bool fake_send(struct fake *f, enum wire_frame_kind kind, uint32_t tag, const void *payload,
               size_t bytes);
/* A reply with result, deferred error and body (bytes a multiple of 8). */
bool fake_reply(struct fake *f, const struct wire_record *record, int result, int deferred,
                const void *body, size_t bytes);
bool fake_data(struct fake *f, uint32_t data, uint64_t offset, const void *bytes, size_t len,
               uint32_t flags, int result);
bool fake_notice(struct fake *f, enum wire_call call, uint32_t tag, const void *args, size_t len);
/* SUCCESS to each sync call, zeros as its reply. */
void fake_answer(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len);

/* flag = value, and wait for it. Any thread. */
void fake_set(struct fake *f, unsigned value);
void fake_await(struct fake *f, unsigned value);

#endif
