/* tests/fuzz/served.h -- a session of the server without a line, for fuzzers
 *
 * One thread.
 */
#ifndef FUZZ_SERVED_H
#define FUZZ_SERVED_H

#include "backend/session/session.h"
#include "protocol/base/buf.h"
#include "protocol/wire/codec.h"

#include <stdlib.h>

/* Opens the software device: named by GPUPOOL_TEST_DRIVER, or found beside the build. Exits with
 * 77, skipped, where there is none. */
void fuzz_driver_open(void);

/* A session with the usual limits, small ones, and its end. */
struct be_session *fuzz_session_begin(void);
void fuzz_session_end(struct be_session *session);

/* Append a call to the row. */
void fuzz_record_add(struct gp_buf *row, uint16_t call, uint32_t context, const void *args,
                     size_t bytes);
#define ADD(row, context, name, ...)                                                               \
    do {                                                                                           \
        struct wire_##name##_args add_args = {__VA_ARGS__};                                        \
        size_t add_size = wire_size_##name##_args(&add_args);                                      \
        uint8_t *add_bytes = malloc(add_size + 8);                                                 \
                                                                                                   \
        wire_put_##name##_args(add_bytes, &add_args);                                              \
        fuzz_record_add(row, WIRE_CALL_##name, context, add_bytes, add_size);                      \
        free(add_bytes);                                                                           \
    } while (0)

#endif
