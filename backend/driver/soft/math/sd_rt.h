/* backend/driver/soft/math/sd_rt.h -- text of device printf and assert
 *
 * Pure: device memory is read through a callback that checks the address. All input (format,
 * arguments, strings) is hostile: lengths and widths are bounded, %n does nothing.
 * Threads: any; sd_rt_text belongs to its caller.
 */
#ifndef SD_RT_H
#define SD_RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One call's output is cut here; CUDA drops records larger than the FIFO (1 MiB default). */
#define SD_RT_TEXT_MAX (1u << 20)
/* As CUDA documents: at most 32 arguments besides the format; further ones are ignored and
 * their conversions are copied to the output as they are. */
#define SD_RT_ARGS_MAX 32

/* Reads len bytes of device memory (generic address); false if any byte is not readable. */
struct sd_rt_reader {
    void *opaque;
    bool (*read)(void *opaque, uint64_t address, void *dst, size_t len);
};

/* A growing text, NUL-terminated; zero-initialise, sd_rt_text_fini when done. Reusable:
 * set len = 0 to keep the memory. */
struct sd_rt_text {
    char *data;
    size_t len;
    size_t size;
};

void sd_rt_text_fini(struct sd_rt_text *text);

/*
 * What PTX calls as vprintf(format, args): both are generic addresses, args points to the
 * arguments packed with natural alignment (4-byte integers at 4, 64-bit ones at 8; args
 * itself 8-aligned) or is 0 when there are none. Appends to text.
 *
 * Returns the value of the device's printf: the number of arguments parsed, -1 if format
 * is null, -2 if memory is exhausted. *fault_p (if not NULL) is set to the address that
 * could not be read, when one could not: the kernel then faults; otherwise it is untouched.
 */
int sd_rt_printf(const struct sd_rt_reader *reader, uint64_t format, uint64_t args,
                 struct sd_rt_text *text, uint64_t *fault_p);

/*
 * What PTX calls as __assertfail(message, file, line, function, charSize): appends
 * "FILE:LINE: FUNCTION: block: [x,y,z], thread: [x,y,z] Assertion `MESSAGE` failed.\n".
 * Unreadable strings become "?"; false only if memory is exhausted.
 */
bool sd_rt_assert(const struct sd_rt_reader *reader, uint64_t message, uint64_t file, uint32_t line,
                  uint64_t function, const uint32_t block[3], const uint32_t thread[3],
                  struct sd_rt_text *text);

#endif
