/* tests/unit/soft/test_forms.c -- every form of the texture and surface instructions
 *
 * tex: geometry, type of what comes, type of the coordinates, with a level or without.
 * suld.b, sust.b: geometry, width, vector, what happens outside. A kernel is made for each.
 */
#include "tests/unit/soft/soft_test.h"

#include "backend/driver/soft/exec/tex.h"

#include <stdio.h>
#include <string.h>

#define W     4u
#define H     4u
#define D     6u /* slices, layers, or faces */
#define ROW   (W * 16)
#define SLICE (ROW * H)

static const struct geometry {
    const char *name, *list; /* of %c0 (layer), %c1, %c2, %c3 */
    enum sd_tex_geometry geometry;
    unsigned axes;
    bool layered, cube;
} geometries[] = {
    {"1d", "%c1", SD_TEX_1D, 1, false, false},
    {"2d", "%c1, %c2", SD_TEX_2D, 2, false, false},
    {"3d", "%c1, %c2, %c3, %c3", SD_TEX_3D, 3, false, false},
    {"a1d", "%l, %c1", SD_TEX_A1D, 1, true, false},
    {"a2d", "%l, %c1, %c2, %c2", SD_TEX_A2D, 2, true, false},
    {"cube", "%c1, %c2, %c3, %c3", SD_TEX_CUBE, 3, false, true},
    {"acube", "%l, %c1, %c2, %c3", SD_TEX_ACUBE, 3, true, true},
};

static struct sd_texture shown; /* behind handle 1 */

static const struct sd_texture *
find(void *opaque, uint64_t handle)
{
    (void)opaque;
    return handle == 1 ? &shown : NULL;
}

/* What the geometry makes of D slices of H rows of W texels of 16 bytes. */
static void
show(const struct geometry *g, const void *memory, CUarray_format format, bool surface)
{
    shown = (struct sd_texture){
        .format = format,
        .channels = 4,
        .nlevels = 1,
        .layers = !g->layered ? 0
                  : g->cube   ? D / 6
                              : D,
        .cube = g->cube,
        .surface = surface,
        .address = {CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP},
        .levels = {{.base = SOFT_PTR(memory),
                    .pitch = ROW,
                    .slice = SLICE,
                    .width = W,
                    .height = g->axes > 1 ? H : 1,
                    .depth = g->geometry == SD_TEX_3D ? D : 1}},
    };
    shown.as_integer = format != CU_AD_FORMAT_FLOAT;
}

/* in: for each lane a layer and three coordinates. */
#define FORM_HEAD                                                                                  \
    PTX_HEAD ".visible .entry form(.param .u64 in, .param .u64 out, .param .u64 obj) {\n"          \
             "  .reg .b64 %%rd<9>; .reg .b32 %%r<5>; .reg .b32 %%l; .reg .%s %%c<4>; .reg .%s "    \
             "%%v<4>;\n"                                                                           \
             "  ld.param.u64 %%rd1, [in]; ld.param.u64 %%rd2, [out]; ld.param.u64 %%rd3, [obj];\n" \
             "  mov.u32 %%r1, %%tid.x; mul.wide.u32 %%rd4, %%r1, 16; add.u64 %%rd1, %%rd1, "       \
             "%%rd4; mul.wide.u32 %%rd4, %%r1, 32; add.u64 %%rd2, %%rd2, %%rd4;\n"                 \
             "  ld.global.b32 %%l, [%%rd1]; ld.global.b32 %%c1, [%%rd1+4];\n"                      \
             "  ld.global.b32 %%c2, [%%rd1+8]; ld.global.b32 %%c3, [%%rd1+12];\n"

/* -- textures ------------------------------------------------------------------------------- */

/* The direction of a texel's middle on a face, as the CUDA guide and graphics have faces. */
static void
direction(unsigned face, unsigned x, unsigned y, float d[3])
{
    float u = (2 * (float)x + 1) / W - 1, v = (2 * (float)y + 1) / H - 1;
    const float all[6][3] = {{1, -v, -u}, {-1, -v, u}, {u, 1, v},
                             {u, -1, -v}, {u, -v, 1},  {-u, -v, -1}};

    memcpy(d, all[face], sizeof(all[face]));
}

/* The lane's coordinates and the number of the texel that they are of. */
static unsigned
place(const struct geometry *g, unsigned lane, bool whole, uint32_t to[4])
{
    unsigned x = lane % W, y = g->axes > 1 ? lane / W % H : 0;
    unsigned z = g->layered || g->axes > 2 ? lane % D : 0;
    float c[3] = {(float)x + 0.5f, (float)y + 0.5f, (float)z + 0.5f};

    if (g->cube)
        direction(z, x, y, c);
    to[0] = g->cube ? 0 : z;
    memcpy(to + 1, c, sizeof(c));
    if (whole) {
        to[1] = x;
        to[2] = y;
        to[3] = z;
    }
    return (z * H + y) * W + x;
}

static void
try_texture(const struct geometry *g, const char *type, bool whole, bool level)
{
    bool real = strcmp(type, "f32") == 0;
    char text[2048];
    unsigned number[32];
    uint32_t(*in)[4], (*out)[8], *memory;
    struct soft *s;

    snprintf(text, sizeof(text),
             FORM_HEAD "  tex%s.%s.v4.%s.%s {%%v0, %%v1, %%v2, %%v3}, [%%rd3, {%s}]%s;\n"
                       "  st.global.v4.b32 [%%rd2], {%%v0, %%v1, %%v2, %%v3}; ret;\n}\n",
             whole ? "b32" : "f32", real ? "f32" : "b32", level ? ".level" : "", g->name, type,
             whole ? "s32" : "f32", g->list,
             !level  ? ""
             : whole ? ", 0"
                     : ", 0f00000000");
    s = soft_open(text, 1);
    s->env.texture = find;
    in = soft_alloc(s, 32 * 16);
    out = soft_alloc(s, 32 * 32);
    memory = soft_alloc(s, SLICE * D);
    show(g, memory,
         real             ? CU_AD_FORMAT_FLOAT
         : type[0] == 's' ? CU_AD_FORMAT_SIGNED_INT32
                          : CU_AD_FORMAT_UNSIGNED_INT32,
         false);
    for (unsigned i = 0; i < W * H * D * 4; i++) {
        float f = (float)i + 0.5f;

        memory[i] = i - 50;
        if (real)
            memcpy(&memory[i], &f, sizeof(f));
    }
    for (unsigned lane = 0; lane < 32; lane++)
        number[lane] = place(g, lane, whole, in[lane]);
    cr_assert_eq(soft_launch(s, "form", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(in), SOFT_PTR(out), 1)),
                 CUDA_SUCCESS, "%s: %s", text, s->fault.what);
    for (unsigned lane = 0; lane < 32; lane++)
        cr_expect_arr_eq(out[lane], memory + (size_t)number[lane] * 4, 16, "lane %u of %s", lane,
                         text);
    soft_close(s);
}

Test(soft_forms, of_tex_read_the_texel_that_they_name)
{
    static const char *const types[] = {"u32", "s32", "f32"};

    for (size_t i = 0; i < GP_ARRAY_LEN(geometries); i++) {
        for (size_t t = 0; t < GP_ARRAY_LEN(types); t++) {
            for (unsigned form = 0; form < 4; form++) {
                bool whole = (form & 1) != 0, level = (form & 2) != 0;

                if (!whole || !geometries[i].cube)
                    try_texture(&geometries[i], types[t], whole, level);
            }
        }
    }
}

/* -- surfaces ------------------------------------------------------------------------------- */

struct surface_form {
    const struct geometry *g;
    unsigned bits, n;
    const char *outside;
    bool store;
};

static void
write_surface_form(char *text, size_t size, const struct surface_form *f)
{
    static const char *const vectors[] = {"", "", ".v2", "", ".v4"};
    static const char *const lists[] = {"", "{%v0}", "{%v0, %v1}", "", "{%v0, %v1, %v2, %v3}"};
    unsigned reg = f->bits < 16 ? 16 : f->bits;
    char name[16];
    size_t at;

    snprintf(name, sizeof(name), "b%u", reg);
    at = (size_t)snprintf(text, size, FORM_HEAD, "b32", name);
    for (unsigned k = 0; f->store && k < f->n; k++)
        at += (size_t)snprintf(text + at, size - at, "  ld.global.b%u %%v%u, [%%rd2+%u];\n",
                               f->bits, k, k * f->bits / 8);
    if (f->store)
        at += (size_t)snprintf(text + at, size - at, "  sust.b.%s%s.b%u.%s [%%rd3, {%s}], %s;\n",
                               f->g->name, vectors[f->n], f->bits, f->outside, f->g->list,
                               lists[f->n]);
    else
        at += (size_t)snprintf(text + at, size - at, "  suld.b.%s%s.b%u.%s %s, [%%rd3, {%s}];\n",
                               f->g->name, vectors[f->n], f->bits, f->outside, lists[f->n],
                               f->g->list);
    for (unsigned k = 0; !f->store && k < f->n; k++)
        at += (size_t)snprintf(text + at, size - at, "  st.global.b%u [%%rd2+%u], %%v%u;\n",
                               f->bits, k * f->bits / 8, k);
    snprintf(text + at, size - at, "  ret;\n}\n");
}

/* Where the lane reads or writes, as an offset in memory; false: outside, and what is done then is
 * nothing. Every eighth lane's x lies beyond its row. */
static bool
surface_place(const struct surface_form *f, unsigned lane, uint32_t to[4], unsigned *offset_p)
{
    unsigned bytes = f->bits / 8 * f->n, places = ROW / bytes;
    unsigned x = lane % places, y = f->g->axes > 1 ? lane / 8 % H : 0;
    unsigned z = f->g->layered || f->g->axes > 2 ? lane % D : 0;
    bool beyond = strcmp(f->outside, "trap") != 0 && lane % 8 == 7;

    to[0] = to[3] = z;
    to[1] = beyond ? ROW + 16 : x * bytes;
    to[2] = y;
    if (beyond)
        x = places - 1;
    *offset_p = z * SLICE + y * ROW + x * bytes;
    return !beyond || strcmp(f->outside, "clamp") == 0;
}

static void
try_surface(const struct surface_form *f)
{
    uint8_t want[SLICE * D], *memory, (*data)[32], expected[16];
    unsigned bytes = f->bits / 8 * f->n;
    char text[4096];
    uint32_t(*in)[4];
    struct soft *s;

    write_surface_form(text, sizeof(text), f);
    s = soft_open(text, 1);
    s->env.texture = find;
    in = soft_alloc(s, 32 * 16);
    data = soft_alloc(s, 32 * 32);
    memory = soft_alloc(s, SLICE * D);
    show(f->g, memory, CU_AD_FORMAT_UNSIGNED_INT32, true);
    for (unsigned i = 0; i < sizeof(want); i++)
        want[i] = memory[i] = (uint8_t)(i * 7 + i / 251);
    for (unsigned i = 0; f->store && i < 32 * 32; i++)
        data[i / 32][i % 32] = (uint8_t)(i * 13 + 5);
    for (unsigned lane = 0; lane < 32; lane++) {
        unsigned offset;

        if (surface_place(f, lane, in[lane], &offset) && f->store)
            memcpy(want + offset, data[lane], bytes);
    }
    cr_assert_eq(soft_launch(s, "form", (struct soft_shape){.grid = 1, .block = 32},
                             SOFT_ARGS(SOFT_PTR(in), SOFT_PTR(data), 1)),
                 CUDA_SUCCESS, "%s: %s", text, s->fault.what);
    cr_expect_arr_eq(memory, want, sizeof(want), "memory after %s", text);
    for (unsigned lane = 0; !f->store && lane < 32; lane++) {
        unsigned offset;

        memset(expected, 0, sizeof(expected));
        if (surface_place(f, lane, in[lane], &offset))
            memcpy(expected, want + offset, bytes);
        cr_expect_arr_eq(data[lane], expected, bytes, "lane %u of %s", lane, text);
    }
    soft_close(s);
}

Test(soft_forms, of_suld_and_sust_reach_what_they_name)
{
    static const char *const outsides[] = {"trap", "clamp", "zero"};

    for (size_t i = 0; i < 5; i++) {
        for (unsigned bits = 8; bits <= 64; bits *= 2) {
            for (unsigned n = 1; n <= 4 && n * bits <= 128; n *= 2) {
                for (unsigned form = 0; form < 6; form++) {
                    struct surface_form f = {&geometries[i], bits, n, outsides[form % 3],
                                             form >= 3};

                    try_surface(&f);
                }
            }
        }
    }
}

Test(soft_forms, that_trap_outside_end_the_kernel)
{
    for (unsigned store = 0; store < 2; store++) {
        struct surface_form f = {&geometries[1], 32, 1, "trap", store != 0};
        char text[4096];
        struct soft *s;
        void *memory;
        uint32_t *in;

        write_surface_form(text, sizeof(text), &f);
        s = soft_open(text, 1);
        s->env.texture = find;
        in = soft_alloc(s, 32 * 16);
        memory = soft_alloc(s, SLICE * D);
        show(f.g, memory, CU_AD_FORMAT_UNSIGNED_INT32, true);
        in[1] = ROW;
        cr_expect_eq(soft_launch(s, "form", (struct soft_shape){.grid = 1, .block = 1},
                                 SOFT_ARGS(SOFT_PTR(in), SOFT_PTR(memory), 1)),
                     CUDA_ERROR_LAUNCH_FAILED);
        soft_close(s);
    }
}
