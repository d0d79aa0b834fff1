/* tests/corpus/ptx.c -- the module around a case's line */
#include "tests/corpus/corpus.h"

#include <stdio.h>

static const struct {
    const char *reg; /* register type */
    const char *mem; /* type of ld and st */
} types[CORPUS_CLASSES] = {
    [I8] = {"b16", "u8"},   [I16] = {"b16", "u16"},    [I32] = {"b32", "u32"},
    [I64] = {"b64", "u64"}, [H16] = {"b16", "u16"},    [BF16] = {"b16", "u16"},
    [H32] = {"b32", "u32"}, [BH32] = {"b32", "u32"},   [F32] = {"f32", "f32"},
    [F64] = {"f64", "f64"}, [AMOUNT] = {"b32", "u32"}, [ANGLE] = {"f32", "f32"},
    [POW] = {"f32", "f32"},
};

static void
put_operand(FILE *out, char name, enum corpus_class class)
{
    if (class != NO)
        fprintf(out, "\tld.global.%s %c, [p%c];\n", types[class].mem, name, name);
}

/* The line itself, or a branch around it for the lanes that are not in the mask. */
static void
put_line(FILE *out, const struct corpus_case *c, bool split)
{
    if (!split) {
        fprintf(out, "\t%s\n", c->text);
        return;
    }
    fprintf(out, "\t.reg .pred stays;\n\t.reg .b32 lanes;\n\tld.param.u32 lanes, [kmask];\n");
    if (types[c->d].reg[1] == '1')
        fprintf(out, "\tmov.b16 d, %u;\n", (unsigned)(uint16_t)CORPUS_KEPT);
    else if (types[c->d].reg[1] == '3')
        fprintf(out, "\tmov.b32 d, 0x%x;\n", (unsigned)CORPUS_KEPT);
    else
        fprintf(out, "\tmov.b64 d, 0x%llx;\n", CORPUS_KEPT);
    fprintf(out,
            "\tmov.u32 z32, %%laneid;\n\tshr.u32 lanes, lanes, z32;\n"
            "\tand.b32 lanes, lanes, 1;\n\tsetp.eq.u32 stays, lanes, 0;\n"
            "\t@stays bra behind;\n\t{\n\t%s\n\t}\nbehind:\n",
            c->text);
}

/* Every operand lies in an 8-byte slot of its own array. */
char *
corpus_ptx(const struct corpus_case *c, bool split)
{
    const struct {
        char name;
        enum corpus_class class;
    } regs[] = {{'a', c->a}, {'b', c->b}, {'c', c->c}, {'d', c->d}};
    char *text = NULL;
    size_t len, i;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return NULL;
    fprintf(out, ".version %s\n.target sm_%u\n.address_size 64\n\n", c->sm >= 100 ? "8.8" : "8.3",
            c->sm);
    fprintf(out, "%s\n", c->before != NULL ? c->before : "");
    fprintf(out, ".visible .entry k(.param .u64 ka, .param .u64 kb, .param .u64 kc, "
                 ".param .u64 kd, .param .u32 kmask)\n{\n");
    fprintf(out, "\t.reg .pred p, q;\n\t.reg .b16 x16, y16, z16;\n\t.reg .b32 x32, y32, z32;\n");
    fprintf(out, "\t.reg .b64 x64, y64, slot, pa, pb, pc, pd;\n");
    for (i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
        if (regs[i].class != NO)
            fprintf(out, "\t.reg .%s %c;\n", types[regs[i].class].reg, regs[i].name);
    fprintf(out, "\t.reg .%s t, u, v;\n", types[c->d].reg);
    fprintf(out, "\tmov.u32 x32, %%ctaid.x;\n\tmov.u32 y32, %%ntid.x;\n\tmov.u32 z32, %%tid.x;\n"
                 "\tmad.lo.u32 x32, x32, y32, z32;\n\tmul.wide.u32 slot, x32, 8;\n");
    for (i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
        fprintf(out,
                "\tld.param.u64 p%c, [k%c];\n\tcvta.to.global.u64 p%c, p%c;\n"
                "\tadd.s64 p%c, p%c, slot;\n",
                regs[i].name, regs[i].name, regs[i].name, regs[i].name, regs[i].name, regs[i].name);
    for (i = 0; i < 3; i++)
        put_operand(out, regs[i].name, regs[i].class);
    put_line(out, c, split);
    fprintf(out, "\tst.global.%s [pd], d;\n\tret;\n}\n", types[c->d].mem);
    if (fclose(out) != 0)
        return NULL;
    return text;
}
