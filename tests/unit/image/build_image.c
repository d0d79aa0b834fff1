/* tests/unit/image/build_image.c */
#include "tests/unit/image/build_image.h"

#include "protocol/base/compress.h"

#include <assert.h>
#include <elf.h>
#include <string.h>

void
put_u16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof(v));
}

void
put_u32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

void
put_u64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof(v));
}

void
built_begin(struct built *b)
{
    memset(b, 0, sizeof(*b));
    put_u32(b->bytes, 0xba55ed50u);
    put_u16(b->bytes + 4, 1);
    put_u16(b->bytes + 6, 16);
    b->len = 16;
}

void
built_add(struct built *b, uint16_t kind, uint32_t sm, uint64_t flags, const void *payload,
          size_t payload_len, uint64_t unpacked_len)
{
    uint8_t *e = b->bytes + b->len;
    size_t padded = (payload_len + 7) & ~(size_t)7;

    assert(b->len + 64 + padded <= BUILT_MAX);
    put_u16(e, kind);
    put_u16(e + 2, 0x0101);
    put_u32(e + 4, 64);
    put_u64(e + 8, padded);
    if (unpacked_len != 0)
        put_u32(e + 0x10, (uint32_t)payload_len);
    put_u16(e + 0x1a, kind == 1 ? 9 : 1);
    put_u32(e + 0x1c, sm);
    put_u64(e + 0x28, flags | 0x11);
    put_u64(e + 0x38, unpacked_len);
    memcpy(e + 64, payload, payload_len);
    b->len += 64 + padded;
    put_u64(b->bytes + 8, b->len - 16);
}

void
built_add_ptx(struct built *b, uint32_t sm, uint64_t flags, const char *text)
{
    uint8_t packed[4096];
    size_t len = strlen(text) + 1, packed_len;
    enum gp_status status;

    if ((flags & 0xa000) == 0) {
        built_add(b, 1, sm, flags, text, len, 0);
        return;
    }
    if ((flags & 0x8000) != 0)
        status = gp_zstd_compress(text, len, packed, sizeof(packed), 3, &packed_len);
    else
        status = gp_lz4_compress(text, len, packed, sizeof(packed), &packed_len);
    assert(status == GP_OK);
    built_add(b, 1, sm, flags, packed, packed_len, len);
}

size_t
built_elf(uint8_t *out, uint32_t sm)
{
    Elf64_Ehdr h = {.e_machine = 190, .e_type = ET_EXEC, .e_version = 1, .e_ehsize = sizeof(h)};
    Elf64_Shdr sections[3] = {{0}};
    Elf64_Phdr segment = {.p_type = PT_LOAD};
    size_t len = 400;

    memset(out, 0, len);
    memcpy(h.e_ident, "\177ELF\002\001\001\x41\010", 9);
    h.e_flags = 0x06000004u | sm << 8;
    h.e_shoff = sizeof(h);
    h.e_shentsize = sizeof(Elf64_Shdr);
    h.e_shnum = 3;
    h.e_phoff = sizeof(h) + sizeof(sections);
    h.e_phentsize = sizeof(segment);
    h.e_phnum = 1;
    sections[1] = (Elf64_Shdr){.sh_type = SHT_PROGBITS, .sh_offset = 320, .sh_size = 80};
    /* .bss claims a gigabyte that is not in the file. */
    sections[2] = (Elf64_Shdr){.sh_type = SHT_NOBITS, .sh_offset = 400, .sh_size = 1u << 30};
    segment.p_offset = 320;
    segment.p_filesz = 64;
    memcpy(out, &h, sizeof(h));
    memcpy(out + h.e_shoff, sections, sizeof(sections));
    memcpy(out + h.e_phoff, &segment, sizeof(segment));
    return len;
}
