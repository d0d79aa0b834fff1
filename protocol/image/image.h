/* protocol/image/image.h -- CUDA module images: kinds, lengths, entries, one flat form
 *
 * A program hands the driver a pointer without a length. Four things may be behind it: a
 * wrapper struct (nvcc's registration code), a fatbin, an ELF file (cubin), PTX text.
 *
 *   client:  gp_image_gather() finds the bytes; they travel in the flat form.
 *   server:  gp_image_open() checks the flat form and rebuilds what the driver expects.
 *   device:  gp_image_open(), then entries, gp_image_best_ptx(), gp_image_unpack().
 *
 * Flat form: fatbin, ELF and PTX as they are (PTX with its NUL). A wrapper becomes
 *   u32 magic GP_IMAGE_FLAT_MAGIC, u32 wrapper version, u32 count, u32 0, u64 length[count],
 *   then count fatbins, each at the next multiple of 8 from the start; zero padding.
 * The first is the wrapper's own; of version 2 the others are the pre-link relocatable ones.
 *
 * Threads: pure functions; a struct gp_image is read-only after gp_image_open().
 * Hostile input: everything but gp_image_classify() and gp_image_gather(), whose pointer
 * comes from the program itself, as it would go to the real driver.
 */
#ifndef GP_IMAGE_H
#define GP_IMAGE_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define GP_IMAGE_WRAPPER_MAGIC 0x466243b1u
#define GP_IMAGE_FATBIN_MAGIC  0xba55ed50u
#define GP_IMAGE_FLAT_MAGIC    0x31495047u
#define GP_IMAGE_ELF_MAGIC     0x464c457fu

/* Most fatbins in one wrapper: one per object file that was linked with -rdc=true. */
#define GP_IMAGE_PARTS_MAX 65536u

enum gp_image_kind {
    GP_IMAGE_UNKNOWN,
    GP_IMAGE_WRAPPER, /* in memory, or flattened */
    GP_IMAGE_FATBIN,
    GP_IMAGE_ELF,
    GP_IMAGE_PTX,
};

/* nvcc's struct; prelinked (version 2) ends with NULL and points to fatbins or wrappers. */
struct gp_image_wrapper {
    uint32_t magic;
    uint32_t version;
    const void *data;
    const void *const *prelinked; /* version 1: a file name or NULL */
};

/* A few bytes decide; text counts as PTX when it begins like PTX (space, '/', '.'). */
enum gp_image_kind gp_image_classify(const void *image);

/* What lies behind a pointer, without copying: pieces[] together are the flat form. */
struct gp_image_gather {
    enum gp_image_kind kind;
    struct iovec *pieces; /* borrowed bytes of the program; the head of a wrapper is ours */
    int count;
    size_t len; /* sum of the pieces */
    uint8_t *head;
};

/*
 * Find the bytes of the image at a pointer of the program.
 *
 * Ownership: the pieces point into the program's memory, valid as long as that is; the
 *            arrays belong to g until gp_image_gather_fini(). Untouched on failure.
 * Units:     limit in bytes, the largest flat form accepted (GP_ERR_LIMIT above).
 * Errors:    GP_ERR_INVALID if nothing known is there (not logged); GP_ERR_NO_MEMORY.
 */
GP_CHECK enum gp_status gp_image_gather(const void *image, size_t limit, struct gp_image_gather *g);
void gp_image_gather_fini(struct gp_image_gather *g);
/* The same as one malloc'ed string. */
GP_CHECK enum gp_status gp_image_flatten(const void *image, size_t limit, uint8_t **flat_p,
                                         size_t *len_p);

/* Bytes [data, data + len) of one fatbin, ELF file or PTX text. */
struct gp_image_part {
    const uint8_t *data;
    size_t len;
};

struct gp_image {
    enum gp_image_kind kind;
    uint32_t wrapper_version; /* 0 unless kind is GP_IMAGE_WRAPPER */
    /* fatbins (a wrapper's own first), or the one ELF file or text without its NUL */
    struct gp_image_part *parts;
    size_t nparts; /* >= 1 */
    /* What the driver takes instead of the program's pointer. */
    const void *driver_image;
    void *memory; /* behind parts and driver_image; private */
};

/*
 * Check a flat form completely and rebuild the image.
 *
 * Ownership: flat is borrowed and must stay as it is until gp_image_close(). It must be
 *            aligned to 8 bytes, as malloc and mmap give (GP_ERR_INVALID otherwise).
 * Errors:    GP_ERR_PROTOCOL if anything in it is out of bounds, of the wrong length, or of
 *            no known kind (not logged); GP_ERR_NO_MEMORY.
 */
GP_CHECK enum gp_status gp_image_open(const void *flat, size_t len, struct gp_image *image);
void gp_image_close(struct gp_image *image);

/* -- inside a fatbin ------------------------------------------------------------------ */

enum gp_image_entry_kind {
    GP_IMAGE_ENTRY_PTX = 1,
    GP_IMAGE_ENTRY_ELF = 2,
    GP_IMAGE_ENTRY_LTO = 8,
};

enum gp_image_entry_flags {
    GP_IMAGE_FLAG_64BIT = 0x1,
    GP_IMAGE_FLAG_DEBUG = 0x2,
    GP_IMAGE_FLAG_LINUX = 0x10,
    GP_IMAGE_FLAG_LZ4 = 0x2000,
    GP_IMAGE_FLAG_ZSTD = 0x8000,
    GP_IMAGE_FLAG_LTO = 0x10000,
    GP_IMAGE_FLAG_ARCH_ONLY = 0x100000, /* sm_90a: for this sm alone */
    GP_IMAGE_FLAG_FAMILY = 0x200000,    /* sm_100f: same major, this minor or higher */
};

struct gp_image_entry {
    uint16_t kind;  /* enum gp_image_entry_kind, or one not known here */
    uint16_t major; /* PTX 9.0, ELF 1.8 */
    uint16_t minor;
    uint32_t sm; /* 75, 90, 121 */
    uint64_t flags;
    bool relocatable; /* compiled with -rdc=true, for PTX only */
    const char *name; /* not terminated */
    size_t name_len;
    const uint8_t *payload; /* as stored, with padding cut where its length is known */
    size_t payload_len;
    uint64_t unpacked_len; /* 0 if stored raw */
};

struct gp_image_walk {
    const uint8_t *at;
    const uint8_t *end;
};

/* Begin with the part of a fatbin. GP_ERR_PROTOCOL if its header is wrong. */
GP_CHECK enum gp_status gp_image_walk_begin(const struct gp_image_part *fatbin,
                                            struct gp_image_walk *walk);
/* GP_ERR_NOT_FOUND after the last entry, GP_ERR_PROTOCOL if the chain is damaged. */
GP_CHECK enum gp_status gp_image_walk_next(struct gp_image_walk *walk,
                                           struct gp_image_entry *entry);

/*
 * The payload, decompressed: *data_p is malloc'ed, owned by the caller, and has a NUL after
 * its *len_p bytes. PTX ends at its first NUL.
 * Errors: GP_ERR_LIMIT if it would be larger than limit; GP_ERR_PROTOCOL if damaged;
 *         GP_ERR_NOT_SUPPORTED for LTO IR, whose bytes are scrambled.
 */
GP_CHECK enum gp_status gp_image_unpack(const struct gp_image_entry *entry, size_t limit,
                                        uint8_t **data_p, size_t *len_p);

/*
 * The PTX with the highest sm that a device of compute capability cc (121 for 12.1) may run;
 * of several equal ones the first. GP_ERR_NOT_FOUND if there is none.
 */
GP_CHECK enum gp_status gp_image_best_ptx(const struct gp_image_part *fatbin, uint32_t cc,
                                          struct gp_image_entry *entry);

/* The sm of a cubin, 0 if it is not one (LTO objects, other machines). */
uint32_t gp_image_elf_sm(const void *elf, size_t len);

/* "fatbin: elf sm_75, ptx sm_75 zstd"; for a log line. Cut to size, always terminated. */
void gp_image_describe(const struct gp_image *image, char *text, size_t size);

/* -- lengths ------------------------------------------------------------------------------ */

/*
 * The length of one ELF64 file, fatbin or text that begins at data, by its own headers; avail
 * is how far may be read. GP_ERR_LIMIT if it does not end within avail, GP_ERR_INVALID if the
 * headers make no sense.
 */
GP_CHECK enum gp_status gp_image_elf_len(const void *data, size_t avail, size_t *len_p);
GP_CHECK enum gp_status gp_image_fatbin_len(const void *data, size_t avail, size_t *len_p);

#endif
