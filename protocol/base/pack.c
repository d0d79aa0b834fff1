/* protocol/base/pack.c */
#include "protocol/base/pack.h"

#include "protocol/base/clock.h"
#include "protocol/base/compress.h"
#include "protocol/base/util.h"

#include <string.h>

#define TAKE_BYTES   (16u << 20) /* fewer fit into the buffers on the way and say little */
#define SAMPLES      4u
#define SAMPLE_BYTES (16u << 10)
#define UNPROBED     (16u << 20)  /* after a probe that did not shrink */
#define FAST         (2ull << 30) /* no compressor is as fast as such a line */

void
gp_pack_sent(struct gp_pack *pack, uint64_t bytes, uint64_t ns)
{
    pack->bytes += bytes;
    pack->ns += ns;
    if (pack->bytes < TAKE_BYTES)
        return;
    pack->line_rate = pack->bytes * GP_NS_PER_S / gp_max_u64(pack->ns, 1);
    pack->bytes = pack->ns = 0;
}

bool
gp_pack_pays(const struct gp_pack *pack, uint64_t plain, uint64_t packed)
{
    if (pack->line_rate == 0 || plain == 0 || packed * GP_PACK_RATIO > plain)
        return false;
    return (double)pack->line_rate <
           (double)pack->compressor_rate * (1.0 - (double)packed / (double)plain);
}

/* What it makes of a processor's time, whoever else wants that; forgotten by and by. */
static void
compressed(struct gp_pack *pack, uint64_t bytes, uint64_t ns)
{
    uint64_t rate = bytes * GP_NS_PER_S / gp_max_u64(ns, 1);

    pack->compressor_rate = gp_max_u64(rate, pack->compressor_rate / 16 * 15);
}

bool
gp_pack_slow(const struct gp_pack *pack)
{
    return pack->line_rate != 0 && pack->line_rate < FAST;
}

bool
gp_pack_probe(struct gp_pack *pack, const void *data, size_t bytes)
{
    GP_AUTO_FREE uint8_t *room = NULL;
    size_t bound = gp_zstd_bound(SAMPLES * SAMPLE_BYTES), packed = 0;
    uint8_t *sample;
    uint64_t begin;

    if (!gp_pack_slow(pack) || bytes < SAMPLES * SAMPLE_BYTES)
        return false;
    if (pack->unprobed > bytes) {
        pack->unprobed -= bytes;
        return false;
    }
    room = malloc(SAMPLES * SAMPLE_BYTES + bound);
    if (room == NULL)
        return false;
    sample = room + bound;
    for (size_t i = 0; i < SAMPLES; i++)
        memcpy(sample + i * SAMPLE_BYTES,
               (const uint8_t *)data + (bytes - SAMPLE_BYTES) / (SAMPLES - 1) * i, SAMPLE_BYTES);
    begin = gp_thread_cpu_ns();
    if (gp_zstd_compress(sample, SAMPLES * SAMPLE_BYTES, room, bound, GP_PACK_LEVEL, &packed) !=
        GP_OK)
        return false;
    compressed(pack, SAMPLES * SAMPLE_BYTES, gp_thread_cpu_ns() - begin);
    pack->unprobed = packed * GP_PACK_RATIO > SAMPLES * SAMPLE_BYTES ? UNPROBED : 0;
    return gp_pack_pays(pack, SAMPLES * SAMPLE_BYTES, packed);
}

enum gp_status
gp_pack_piece(struct gp_pack *pack, const void *data, size_t bytes, void *room, size_t room_bytes,
              size_t *packed_p)
{
    size_t most = gp_min_u64(bytes / 3 * 2, room_bytes); /* GP_PACK_RATIO */
    uint64_t begin = gp_thread_cpu_ns();
    enum gp_status status = gp_zstd_compress(data, bytes, room, most, GP_PACK_LEVEL, packed_p);

    if (status == GP_OK)
        compressed(pack, bytes, gp_thread_cpu_ns() - begin);
    else
        pack->unprobed = UNPROBED;
    return status;
}
