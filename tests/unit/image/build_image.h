/* tests/unit/image/build_image.h -- builds fatbins and ELF files for tests, byte by byte */
#ifndef BUILD_IMAGE_H
#define BUILD_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define BUILT_MAX 65536

/* A fatbin under construction; zero-initialise through built_begin. */
struct built {
    _Alignas(8) uint8_t bytes[BUILT_MAX];
    size_t len;
};

void built_begin(struct built *b);
/* Adds an entry with the payload as given; unpacked_len 0 for raw ones. */
void built_add(struct built *b, uint16_t kind, uint32_t sm, uint64_t flags, const void *payload,
               size_t payload_len, uint64_t unpacked_len);
/* Adds text as PTX, packed as flags say (0x8000 zstd, 0x2000 LZ4, neither). */
void built_add_ptx(struct built *b, uint32_t sm, uint64_t flags, const char *text);
/* An ELF64 file with two sections and one segment; returns its length. */
size_t built_elf(uint8_t *out, uint32_t sm);

void put_u16(uint8_t *p, uint16_t v);
void put_u32(uint8_t *p, uint32_t v);
void put_u64(uint8_t *p, uint64_t v);

#endif
