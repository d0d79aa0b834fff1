/* protocol/image/length.c -- where an image ends that comes without a length */
#include "protocol/image/image_priv.h"

#include <elf.h>

/* Raise *end to offset + bytes; false if that is not within avail. */
static bool
reach(uint64_t *end, uint64_t offset, uint64_t bytes, size_t avail)
{
    if (offset > avail || bytes > avail - offset)
        return false;
    if (offset + bytes > *end)
        *end = offset + bytes;
    return true;
}

static Elf64_Shdr
section_at(const uint8_t *elf, const Elf64_Ehdr *h, uint64_t i)
{
    Elf64_Shdr section;

    memcpy(&section, elf + h->e_shoff + i * h->e_shentsize, sizeof(section));
    return section;
}

static enum gp_status
reach_sections(const uint8_t *elf, const Elf64_Ehdr *h, uint64_t count, size_t avail, uint64_t *end)
{
    uint64_t i;

    if (!reach(end, h->e_shoff, count * h->e_shentsize, avail))
        return GP_ERR_LIMIT;
    for (i = 0; i < count; i++) {
        Elf64_Shdr section = section_at(elf, h, i);

        if (section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL &&
            !reach(end, section.sh_offset, section.sh_size, avail))
            return GP_ERR_LIMIT;
    }
    return GP_OK;
}

static enum gp_status
reach_segments(const uint8_t *elf, const Elf64_Ehdr *h, uint64_t count, size_t avail, uint64_t *end)
{
    uint64_t i;

    if (!reach(end, h->e_phoff, count * h->e_phentsize, avail))
        return GP_ERR_LIMIT;
    for (i = 0; i < count; i++) {
        Elf64_Phdr segment;

        memcpy(&segment, elf + h->e_phoff + i * h->e_phentsize, sizeof(segment));
        if (!reach(end, segment.p_offset, segment.p_filesz, avail))
            return GP_ERR_LIMIT;
    }
    return GP_OK;
}

enum gp_status
gp_image_elf_len(const void *data, size_t avail, size_t *len_p)
{
    const uint8_t *elf = data;
    uint64_t end = sizeof(Elf64_Ehdr), sections, segments;
    enum gp_status status = GP_OK;
    Elf64_Ehdr h;

    if (avail < sizeof(h))
        return GP_ERR_LIMIT;
    memcpy(&h, elf, sizeof(h));
    if (load_u32(elf) != GP_IMAGE_ELF_MAGIC || h.e_ident[EI_CLASS] != ELFCLASS64 ||
        h.e_ident[EI_DATA] != ELFDATA2LSB)
        return GP_ERR_INVALID;
    sections = h.e_shnum;
    segments = h.e_phnum;
    if ((h.e_shoff != 0 && h.e_shentsize < sizeof(Elf64_Shdr)) ||
        (segments != 0 && h.e_phentsize < sizeof(Elf64_Phdr)))
        return GP_ERR_INVALID;

    /* More than 65,279 sections: the real numbers are in section 0. */
    if (h.e_shoff != 0 && (sections == 0 || segments == PN_XNUM)) {
        Elf64_Shdr zero;

        if (!reach(&end, h.e_shoff, sizeof(zero), avail))
            return GP_ERR_LIMIT;
        zero = section_at(elf, &h, 0);
        sections = sections == 0 ? zero.sh_size : sections;
        segments = segments == PN_XNUM ? zero.sh_info : segments;
    }
    if (sections > avail / sizeof(Elf64_Shdr))
        return GP_ERR_LIMIT;

    if (h.e_shoff != 0)
        status = reach_sections(elf, &h, sections, avail, &end);
    if (status == GP_OK && segments != 0)
        status = reach_segments(elf, &h, segments, avail, &end);
    if (status == GP_OK)
        *len_p = end;
    return status;
}

enum gp_status
gp_image_fatbin_len(const void *data, size_t avail, size_t *len_p)
{
    const uint8_t *p = data;
    uint64_t header, payload;

    if (avail < FATBIN_HEADER_BYTES)
        return GP_ERR_LIMIT;
    header = load_u16(p + 6);
    payload = load_u64(p + 8);
    if (load_u32(p) != GP_IMAGE_FATBIN_MAGIC || header < FATBIN_HEADER_BYTES)
        return GP_ERR_INVALID;
    if (header > avail || payload > avail - header)
        return GP_ERR_LIMIT;
    *len_p = header + payload;
    return GP_OK;
}

enum gp_image_kind
gp_image_classify(const void *image)
{
    const uint8_t *p = image;

    if (p == NULL)
        return GP_IMAGE_UNKNOWN;
    /* Byte by byte: an empty text may be one byte long. */
    if (looks_like_ptx(p[0]))
        return GP_IMAGE_PTX;
    if (p[0] == 0xb1 && p[1] == 0x43 && p[2] == 0x62 && p[3] == 0x46)
        return GP_IMAGE_WRAPPER;
    if (p[0] == 0x50 && p[1] == 0xed && p[2] == 0x55 && p[3] == 0xba)
        return GP_IMAGE_FATBIN;
    if (p[0] == 0x7f && p[1] == 'E' && p[2] == 'L' && p[3] == 'F')
        return GP_IMAGE_ELF;
    return GP_IMAGE_UNKNOWN;
}

uint32_t
gp_image_elf_sm(const void *elf, size_t len)
{
    const uint16_t machine_cuda = 190;
    Elf64_Ehdr h;

    if (len < sizeof(h))
        return 0;
    memcpy(&h, elf, sizeof(h));
    if (load_u32(h.e_ident) != GP_IMAGE_ELF_MAGIC || h.e_machine != machine_cuda)
        return 0;
    /* Two ABIs are about; the newer moved the number up by a byte. */
    return h.e_ident[EI_OSABI] == 0x41 ? h.e_flags >> 8 & 0xff : h.e_flags & 0xff;
}
