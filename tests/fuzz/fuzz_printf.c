/* tests/fuzz/fuzz_printf.c -- device printf and assert with hostile formats, arguments, strings */
#include "backend/driver/soft/math/sd_rt.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Device memory is the input itself, at an address of its own; the format is its start. */
static const uint64_t base = 0x10000;

struct input {
    const uint8_t *data;
    size_t size;
};

static bool
read_input(void *opaque, uint64_t address, void *dst, size_t len)
{
    const struct input *in = opaque;

    if (address < base || address - base > in->size || len > in->size - (address - base))
        return false;
    memcpy(dst, in->data + (address - base), len);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t where[3] = {1, 2, 3};
    struct input in = {data, size};
    const struct sd_rt_reader reader = {&in, read_input};
    struct sd_rt_text text = {0};
    uint64_t fault = 0;
    int count;

    /* The first byte says where the arguments begin; integers there may point into the input. */
    if (size == 0)
        return 0;
    count = sd_rt_printf(&reader, base + 1, base + (data[0] & ~7u), &text, &fault);
    if (count > SD_RT_ARGS_MAX || text.len > SD_RT_TEXT_MAX ||
        (text.data != NULL && text.data[text.len] != '\0'))
        abort();
    text.len = 0;
    (void)sd_rt_assert(&reader, base + data[0], base + 1, data[0], base + size / 2, where, where,
                       &text);
    sd_rt_text_fini(&text);
    return 0;
}
