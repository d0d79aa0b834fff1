/* transport/shm/flow.c */
#include "transport/shm/flow.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define LINE  64u
#define AHEAD 4096u

struct line {
    __m128i part[4];
};

static inline struct line
line_load(const uint8_t *from)
{
    const __m128i *at = (const __m128i *)(const void *)from;

    return (struct line){{_mm_loadu_si128(at), _mm_loadu_si128(at + 1), _mm_loadu_si128(at + 2),
                          _mm_loadu_si128(at + 3)}};
}

void
tp_flow_in(void *ring, const void *from, size_t bytes)
{
    const uint8_t *f = from;
    uint8_t *t = ring;

    for (; bytes >= LINE; bytes -= LINE, f += LINE, t += LINE) {
        struct line line;

        _mm_prefetch((const char *)f + AHEAD, _MM_HINT_T0); /* beyond the end is no fault */
        line = line_load(f);
        for (int i = 0; i < 4; i++)
            _mm_storeu_si128((__m128i *)(void *)t + i, line.part[i]);
    }
    memcpy(t, f, bytes);
}

void
tp_flow_out(void *to, const void *ring, size_t bytes)
{
    const uint8_t *f = ring;
    uint8_t *t = to;
    size_t head = -(uintptr_t)t % LINE;

    if (head > bytes)
        head = bytes;
    memcpy(t, f, head);
    t += head;
    f += head;
    for (bytes -= head; bytes >= LINE; bytes -= LINE, f += LINE, t += LINE) {
        struct line line = line_load(f);

        for (int i = 0; i < 4; i++)
            _mm_stream_si128((__m128i *)(void *)t + i, line.part[i]);
    }
    _mm_sfence(); /* what is told of them comes later */
    memcpy(t, f, bytes);
}

#else

void
tp_flow_in(void *ring, const void *from, size_t bytes)
{
    memcpy(ring, from, bytes);
}

void
tp_flow_out(void *to, const void *ring, size_t bytes)
{
    memcpy(to, ring, bytes);
}

#endif
