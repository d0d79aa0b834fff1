/* backend/driver/soft/exec/tex_sample.h -- what a texture gives for coordinates, without a machine
 *
 * The rules are those of the CUDA programming guide: texels are at whole numbers plus a half,
 * weights of linear filtering have 8 bits of fraction.
 *
 * Threads: pure but for the memory that fetch reads.
 */
#ifndef SD_TEX_SAMPLE_H
#define SD_TEX_SAMPLE_H

#include "backend/driver/soft/exec/bc.h"
#include "backend/driver/soft/exec/exec.h"
#include "backend/driver/soft/exec/tex.h"

/* Reads the bytes of a texel; NULL if they may not be read. */
struct sd_tex_reader {
    void *opaque;
    const void *(*read)(void *opaque, uint64_t address, uint32_t bytes);
    uint64_t refused;   /* the address that was, for the fault; 0: none */
    uint64_t low, high; /* what may be read without asking; equal: nothing */
};

/* Where to sample: coordinates as the instruction has them, a layer, and a level of detail. */
struct sd_tex_at {
    float x, y, z;
    int32_t ix, iy, iz; /* instead, if whole */
    bool whole;
    uint32_t layer;
    float lod;
};

/* Four channels as the instruction's result registers get them; false: refused. */
bool sd_tex_sample(const struct sd_texture *t, enum sd_tex_geometry geometry,
                   const struct sd_tex_at *at, struct sd_tex_reader *reader, uint32_t out[4]);
/* The component's four texels around a place. */
bool sd_tex_gather(const struct sd_texture *t, enum sd_tex_geometry geometry,
                   const struct sd_tex_at *at, unsigned component, struct sd_tex_reader *reader,
                   uint32_t out[4]);
/* The level of detail of gradients (d/dx, d/dy), in coordinates. */
float sd_tex_lod(const struct sd_texture *t, const float dx[3], const float dy[3]);

/* A weight from the fraction of a coordinate: 8 bits of it. */
static inline float
sd_tex_weight(float fraction)
{
    const float to_whole = 12582912.0f; /* 1.5 * 2^23: the sum has no fraction */

    return (fraction * 256.0f + to_whole - to_whole) / 256.0f;
}

/* One channel of a format: its bytes, 0 if it is no plain number; to the format's bits from a
 * register's. */
unsigned sd_tex_channel_bytes(CUarray_format format);
uint32_t sd_tex_channel_encode(CUarray_format format, uint32_t value);

#endif
