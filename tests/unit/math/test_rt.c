/* tests/unit/math/test_rt.c -- device printf and assert */
#include "backend/driver/soft/math/sd_rt.h"

#include "protocol/base/util.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* A device memory of one page at an odd place; nothing else can be read. */
#define BASE 0x7000000f00ull

static struct {
    uint8_t bytes[4096];
    uint64_t strings; /* where the next string goes */
    uint64_t args;    /* bytes of arguments so far; they begin at BASE */
} memory;

static bool
read_memory(void *opaque, uint64_t address, void *dst, size_t len)
{
    (void)opaque;
    if (address < BASE || address - BASE > sizeof(memory.bytes) ||
        len > sizeof(memory.bytes) - (address - BASE))
        return false;
    memcpy(dst, memory.bytes + (address - BASE), len);
    return true;
}

static const struct sd_rt_reader reader = {NULL, read_memory};

static void
reset(void)
{
    memset(&memory, 0x55, sizeof(memory));
    memory.strings = 1024;
    memory.args = 0;
}

static uint64_t
string(const char *s)
{
    uint64_t at = memory.strings;

    memcpy(memory.bytes + at, s, strlen(s) + 1);
    memory.strings += strlen(s) + 1;
    return BASE + at;
}

/* Packs as the compiler does: natural alignment. */
static void
arg(const void *value, size_t len)
{
    memory.args = (memory.args + len - 1) & ~(uint64_t)(len - 1);
    memcpy(memory.bytes + memory.args, value, len);
    memory.args += len;
}

static void
arg_int(int v)
{
    arg(&v, sizeof(v));
}

static void
arg_long(int64_t v)
{
    arg(&v, sizeof(v));
}

static void
arg_double(double v)
{
    arg(&v, sizeof(v));
}

static void
expect(const char *format, int returns, const char *want)
{
    struct sd_rt_text text = {0};
    uint64_t fault = 0;

    cr_assert_eq(sd_rt_printf(&reader, string(format), BASE, &text, &fault), returns);
    cr_assert_eq(fault, 0);
    cr_assert_str_eq(text.data != NULL ? text.data : "", want);
    sd_rt_text_fini(&text);
}

Test(rt, integers_of_every_size_and_flag_print_like_the_host)
{
    char want[256];

    reset();
    arg_int(-5);
    arg_int(-5);
    arg_int(300);
    arg_int(0x1ffff);
    arg_long(-1);
    arg_long(0x7fffffffffffffff);
    arg_int(255);
    arg_int(8);
    snprintf(want, sizeof(want), "%d|%u|%hhd|%hu|%ld|%lld|%#x|%#o", -5, -5, (signed char)300,
             (unsigned short)0x1ffff, -1L, 0x7fffffffffffffffLL, 255, 8);
    expect("%d|%u|%hhd|%hu|%ld|%lld|%#x|%#o", 8, want);

    reset();
    arg_int(42);
    arg_int(42);
    arg_int(42);
    arg_int(42);
    arg_int(42);
    snprintf(want, sizeof(want), "%5d|%-5d|%05d|%+d|% .4d", 42, 42, 42, 42, 42);
    expect("%5d|%-5d|%05d|%+d|% .4d", 5, want);
}

Test(rt, arguments_keep_their_natural_alignment)
{
    reset();
    arg_int('c');
    arg_int(7);
    arg_long(1ll << 40);
    arg_int(1);
    arg_double(2.5);
    arg_int(3);
    expect("%c%d %lld %d %g %d\n", 6, "c7 1099511627776 1 2.5 3\n");
}

Test(rt, doubles_print_in_all_styles)
{
    char want[512];

    reset();
    arg_double(3.14159);
    arg_double(-1e-9);
    arg_double(1e20);
    arg_double(1.0 / 0.0);
    arg_double(0.1);
    arg_double(1e300);
    snprintf(want, sizeof(want), "%.2f|%e|%G|%f|%a|%.0f", 3.14159, -1e-9, 1e20, 1.0 / 0.0, 0.1,
             1e300);
    expect("%.2f|%e|%G|%f|%a|%.0f", 6, want);
}

Test(rt, stars_take_width_and_precision_from_arguments)
{
    reset();
    arg_int(6);
    arg_int(2);
    arg_double(3.14159);
    arg_int(-4);
    arg_int(7);
    arg_int(-1);
    arg_double(0.5);
    expect("[%*.*f][%*d][%.*g]", 7, "[  3.14][7   ][0.5]");
}

Test(rt, strings_pointers_and_characters_print)
{
    char want[128];

    reset();
    arg_long((int64_t)string("device text"));
    arg_long((int64_t)string("cut here"));
    arg_long(0);
    arg_long((int64_t)0xdeadbeef);
    arg_int('x');
    snprintf(want, sizeof(want), "device text|   cut|(null)|%p|x  |100%%", (void *)0xdeadbeef);
    expect("%s|%6.3s|%s|%p|%-3c|100%%", 5, want);
}

Test(rt, string_may_end_at_the_end_of_memory)
{
    struct sd_rt_text text = {0};
    uint64_t at = BASE + sizeof(memory.bytes) - 3, fault = 0;

    reset();
    memcpy(memory.bytes + sizeof(memory.bytes) - 3, "ok", 3);
    arg_long((int64_t)at);
    cr_assert_eq(sd_rt_printf(&reader, string("%s!"), BASE, &text, &fault), 1);
    cr_assert_str_eq(text.data, "ok!");
    sd_rt_text_fini(&text);
}

Test(rt, unreadable_memory_is_a_fault_at_its_address)
{
    struct sd_rt_text text = {0};
    uint64_t fault = 0;

    reset();
    cr_assert_eq(sd_rt_printf(&reader, 0x1234, BASE, &text, &fault), -2);
    cr_assert_eq(fault, 0x1234);

    arg_long(0x4321);
    cr_assert_eq(sd_rt_printf(&reader, string("%s"), BASE, &text, &fault), -2);
    cr_assert_eq(fault, 0x4321);

    cr_assert_eq(sd_rt_printf(&reader, string("%d"), 0x88, &text, &fault), -2);
    cr_assert_eq(fault, 0x88);

    /* A string without an end runs off the memory. */
    memset(memory.bytes + 2048, 'a', 2048);
    memset(memory.bytes, 0, 8);
    memory.args = 0;
    arg_long((int64_t)(BASE + 2048));
    cr_assert_eq(sd_rt_printf(&reader, string("%s"), BASE, &text, &fault), -2);
    cr_assert_eq(fault, BASE + 4096);
    sd_rt_text_fini(&text);
}

Test(rt, arguments_beyond_the_32nd_are_not_parsed)
{
    char format[256] = "", want[256] = "";
    int i;

    reset();
    for (i = 0; i < 40; i++)
        arg_int(i % 10);
    for (i = 0; i < 34; i++) {
        strcat(format, "%d,");
        if (i < 32)
            sprintf(want + strlen(want), "%d,", i % 10);
        else
            strcat(want, "%d,");
    }
    expect(format, 32, want);
}

Test(rt, malformed_and_unknown_conversions_are_copied)
{
    reset();
    arg_int(1);
    expect("%y %q %d %", 1, "%y %q 1 %");
    expect("%5", 0, "%5");
    expect("%.2.3f", 0, "%.2.3f");
    expect("", 0, "");
}

Test(rt, n_consumes_its_pointer_and_writes_nothing)
{
    uint8_t before[64];

    reset();
    arg_long((int64_t)(BASE + 64));
    arg_int(9);
    memcpy(before, memory.bytes + 64, sizeof(before));
    expect("a%nb%d", 2, "ab9");
    cr_assert_arr_eq(before, memory.bytes + 64, sizeof(before));
}

Test(rt, huge_widths_are_cut_and_null_format_is_an_error)
{
    struct sd_rt_text text = {0};

    reset();
    arg_int(1);
    cr_assert_eq(sd_rt_printf(&reader, string("%2000000000d%2000000000d"), BASE, &text, NULL), 1);
    cr_assert_eq(text.len, SD_RT_TEXT_MAX);
    text.len = 0;
    arg_int(0x7fffffff);
    cr_assert_eq(sd_rt_printf(&reader, string("%.99999999999999999999d"), BASE, &text, NULL), 1);
    cr_assert_leq(text.len, SD_RT_TEXT_MAX);
    cr_assert_eq(sd_rt_printf(&reader, 0, BASE, &text, NULL), -1);
    sd_rt_text_fini(&text);
}

Test(rt, assertion_is_worded_as_cuda_words_it)
{
    static const uint32_t block[3] = {1, 2, 3}, thread[3] = {28, 0, 0};
    struct sd_rt_text text = {0};

    reset();
    cr_assert(sd_rt_assert(&reader, string("x == 1"), string("a.cu"), 19, string("void f()"), block,
                           thread, &text));
    cr_assert_str_eq(text.data, "a.cu:19: void f(): block: [1,2,3], thread: [28,0,0] "
                                "Assertion `x == 1` failed.\n");
    text.len = 0;
    cr_assert(sd_rt_assert(&reader, 5, string("a.cu"), 1, 0, block, thread, &text));
    cr_assert_str_eq(text.data, "a.cu:1: ?: block: [1,2,3], thread: [28,0,0] "
                                "Assertion `?` failed.\n");
    sd_rt_text_fini(&text);
}
