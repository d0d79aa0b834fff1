/* backend/driver/soft/ptx/support.c -- arena, symbols, types, opcodes taken apart */
#include "backend/driver/soft/ptx/module.h"

#include "protocol/base/util.h"

#include <stdio.h>
#include <string.h>

struct ptx_chunk {
    struct ptx_chunk *next;
    size_t size; /* of the data, which is 16-byte aligned behind this */
};

/* The first chunk's bytes, and those that it doubles to: bodies have small arenas of their own. */
#define ARENA_FIRST (1u << 10)
#define ARENA_CHUNK (64u << 10)

void *
ptx_alloc(struct ptx_arena *a, size_t bytes)
{
    struct ptx_chunk *c;
    size_t size;
    void *p;

    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if ((size_t)(a->end - a->p) < bytes) {
        size = a->chunks == NULL ? ARENA_FIRST : a->chunks->size * 2;
        size = size < ARENA_CHUNK ? size : ARENA_CHUNK;
        size = bytes > size ? bytes : size;
        c = calloc(1, sizeof(*c) + size);
        if (c == NULL)
            return NULL;
        c->next = a->chunks;
        c->size = size;
        a->chunks = c;
        a->p = (char *)(c + 1);
        a->end = a->p + size;
    }
    p = a->p;
    a->p += bytes;
    return p;
}

void
ptx_arena_free(struct ptx_arena *a)
{
    while (a->chunks != NULL) {
        struct ptx_chunk *next = a->chunks->next;

        free(a->chunks);
        a->chunks = next;
    }
    a->p = a->end = NULL;
}

char *
ptx_strdup(struct ptx_arena *a, struct ptx_name n)
{
    char *s = ptx_alloc(a, (size_t)n.len + 1);

    if (s != NULL)
        memcpy(s, n.text, n.len);
    return s;
}

uint32_t
ptx_hash(const char *text, size_t len)
{
    uint64_t h = 0x9e3779b97f4a7c15ull ^ len;
    uint64_t w;

    while (len >= 8) {
        memcpy(&w, text, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
        text += 8;
        len -= 8;
    }
    w = 0;
    memcpy(&w, text, len);
    h = (h ^ w) * 0xff51afd7ed558ccdull;
    return (uint32_t)(h ^ h >> 32);
}

struct ptx_sym *
ptx_sym_find(const struct ptx_symtab *t, struct ptx_name name)
{
    struct ptx_sym *s;
    uint32_t hash;

    if (t->nbuckets == 0)
        return NULL;
    hash = ptx_hash(name.text, name.len);
    for (s = t->buckets[hash & (t->nbuckets - 1)]; s != NULL; s = s->next)
        if (s->hash == hash && ptx_name_eq(s->name, name))
            return s;
    return NULL;
}

static bool
symtab_grow(struct ptx_symtab *t)
{
    uint32_t n = t->nbuckets == 0 ? 64 : t->nbuckets * 2;
    struct ptx_sym **buckets = calloc(n, sizeof(struct ptx_sym *));
    uint32_t i;

    if (buckets == NULL)
        return false;
    /* Newer symbols hide older ones: keep each chain's order. */
    for (i = 0; i < t->nbuckets; i++) {
        struct ptx_sym *s = t->buckets[i];
        struct ptx_sym **tail[2] = {&buckets[i], &buckets[i + t->nbuckets]};

        for (; s != NULL; s = s->next) {
            unsigned half = (s->hash & t->nbuckets) != 0;

            *tail[half] = s;
            tail[half] = &s->next;
        }
        *tail[0] = NULL;
        *tail[1] = NULL;
    }
    free(t->buckets);
    t->buckets = buckets;
    t->nbuckets = n;
    return true;
}

struct ptx_sym *
ptx_sym_add(struct ptx_arena *a, struct ptx_symtab *t, struct ptx_name name,
            enum ptx_sym_kind kind, void *object)
{
    struct ptx_sym *s;

    if (t->nsyms >= t->nbuckets && !symtab_grow(t))
        return NULL;
    s = ptx_alloc(a, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->name = name;
    s->hash = ptx_hash(name.text, name.len);
    s->kind = kind;
    s->object = object;
    s->next = t->buckets[s->hash & (t->nbuckets - 1)];
    t->buckets[s->hash & (t->nbuckets - 1)] = s;
    t->nsyms++;
    return s;
}

bool
ptx_grow(void *array_p, uint32_t count, uint32_t *cap_p, size_t element)
{
    void **array = array_p;
    uint32_t cap;
    void *p;

    if (count < *cap_p)
        return true;
    if (count > UINT32_MAX / 4)
        return false;
    cap = *cap_p == 0 ? 16 : *cap_p * 2;
    p = realloc(*array, (size_t)cap * element);
    if (p == NULL)
        return false;
    *array = p;
    *cap_p = cap;
    return true;
}

void
sd_text_add(struct sd_text *log_p, const char *fmt, ...)
{
    char line[512];
    va_list va;
    int n;

    if (log_p == NULL)
        return;
    va_start(va, fmt);
    n = vsnprintf(line, sizeof(line), fmt, va);
    va_end(va);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof(line))
        n = sizeof(line) - 1;
    if (log_p->size - log_p->len < (size_t)n + 1) {
        size_t size = (log_p->len + (size_t)n + 1) * 2;
        char *p = realloc(log_p->data, size);

        if (p == NULL)
            return;
        log_p->data = p;
        log_p->size = size;
    }
    memcpy(log_p->data + log_p->len, line, (size_t)n);
    log_p->len += (size_t)n;
    log_p->data[log_p->len] = '\0';
}

/* ---- names after linking ---- */

struct ptx_module *
ptx_root(struct ptx_module *m)
{
    return m->root != NULL ? m->root : m;
}

const struct ptx_var *
ptx_var_final(const struct ptx_var *v)
{
    while (v->alias_of != NULL)
        v = v->alias_of;
    return v;
}

struct ptx_func *
ptx_func_final(struct ptx_func *f)
{
    while (f->alias_of != NULL)
        f = f->alias_of;
    return f;
}

/* ---- types ---- */

static const struct {
    const char *text;
    uint8_t bytes;
    bool is_signed;
} types[PT_COUNT] = {
    [PT_NONE] = {"", 0, false},
    [PT_PRED] = {"pred", 0, false},
    [PT_B8] = {"b8", 1, false},       [PT_U8] = {"u8", 1, false},
    [PT_S8] = {"s8", 1, true},        [PT_B16] = {"b16", 2, false},
    [PT_U16] = {"u16", 2, false},     [PT_S16] = {"s16", 2, true},
    [PT_F16] = {"f16", 2, false},     [PT_BF16] = {"bf16", 2, false},
    [PT_B32] = {"b32", 4, false},     [PT_U32] = {"u32", 4, false},
    [PT_S32] = {"s32", 4, true},      [PT_F32] = {"f32", 4, false},
    [PT_F16X2] = {"f16x2", 4, false}, [PT_BF16X2] = {"bf16x2", 4, false},
    [PT_TF32] = {"tf32", 4, false},   [PT_B64] = {"b64", 8, false},
    [PT_U64] = {"u64", 8, false},     [PT_S64] = {"s64", 8, true},
    [PT_F64] = {"f64", 8, false},     [PT_F32X2] = {"f32x2", 8, false}, [PT_B128] = {"b128", 16, false},
    [PT_E4M3] = {"e4m3", 1, false},   [PT_E5M2] = {"e5m2", 1, false},
    [PT_E4M3X2] = {"e4m3x2", 2, false}, [PT_E5M2X2] = {"e5m2x2", 2, false},
    [PT_UE8M0X2] = {"ue8m0x2", 2, false},
    [PT_U16X2] = {"u16x2", 4, false}, [PT_S16X2] = {"s16x2", 4, true},
    [PT_U4] = {"u4", 0, false},       [PT_S4] = {"s4", 0, true},
    [PT_B1] = {"b1", 0, false},
    [PT_TEXREF] = {"texref", 8, false},
    [PT_SAMPLERREF] = {"samplerref", 8, false},
    [PT_SURFREF] = {"surfref", 8, false},
};

unsigned
ptx_type_bytes(enum ptx_type t)
{
    return types[t].bytes;
}

const char *
ptx_type_text(enum ptx_type t)
{
    return types[t].text;
}

bool
ptx_type_signed(enum ptx_type t)
{
    return types[t].is_signed;
}

enum ptx_type
ptx_type_find(const char *text, size_t len)
{
    unsigned i;

    for (i = 1; i < PT_COUNT; i++)
        if (text[0] == types[i].text[0] && strlen(types[i].text) == len &&
            memcmp(types[i].text, text, len) == 0)
            return (enum ptx_type)i;
    return PT_NONE;
}

/* ---- opcodes ---- */

static const char *const words[W_COUNT] = {
#define W(id, text) [W_##id] = text,
#include "backend/driver/soft/ptx/words.def"
#undef W
};

static enum ptx_word
word_find(const char *text, size_t len)
{
    unsigned i;

    for (i = 1; i < W_COUNT; i++)
        if (words[i][0] == text[0] && strlen(words[i]) == len && memcmp(words[i], text, len) == 0)
            return (enum ptx_word)i;
    return W_NONE;
}

static void
opcode_add_part(struct ptx_opcode *op, const char *part, size_t len)
{
    enum ptx_type t = ptx_type_find(part, len);
    enum ptx_word w;

    /* vset and friends write the byte selectors like types; b1 as a selector is a type here. */
    if (t != PT_NONE) {
        if (op->ntypes < PTX_OP_TYPES_MAX)
            op->types[op->ntypes++] = (uint8_t)t;
        else
            op->unknown = 1;
        return;
    }
    w = word_find(part, len);
    if (w == W_NONE || op->nwords == GP_ARRAY_LEN(op->words)) {
        op->unknown = 1;
        return;
    }
    op->words[op->nwords++] = (uint8_t)w;
    op->set[w / 64] |= 1ull << (w % 64);
}

static void
opcode_split(struct ptx_opcode *op)
{
    const char *p = op->text.text;
    const char *end = p + op->text.len;
    const char *dot = memchr(p, '.', op->text.len);

    op->root.text = p;
    op->root.len = dot == NULL ? op->text.len : (uint32_t)(dot - p);
    while (dot != NULL) {
        p = dot + 1;
        dot = memchr(p, '.', (size_t)(end - p));
        opcode_add_part(op, p, (size_t)((dot == NULL ? end : dot) - p));
    }
}

static bool
opcodes_grow(struct ptx_module *m)
{
    uint32_t size = m->opcodes_size == 0 ? 128 : m->opcodes_size * 2;
    struct ptx_opcode **table = calloc(size, sizeof(struct ptx_opcode *));
    uint32_t i;

    if (table == NULL)
        return false;
    for (i = 0; i < m->opcodes_size; i++) {
        struct ptx_opcode *op = m->opcodes[i];
        uint32_t h;

        if (op == NULL)
            continue;
        h = ptx_hash(op->text.text, op->text.len) & (size - 1);
        while (table[h] != NULL)
            h = (h + 1) & (size - 1);
        table[h] = op;
    }
    free(m->opcodes);
    m->opcodes = table;
    m->opcodes_size = size;
    return true;
}

struct ptx_opcode *
ptx_opcode_get(struct ptx_module *m, const char *text, uint32_t len)
{
    struct ptx_opcode *op;
    uint32_t h;

    if (m->nopcodes * 2 >= m->opcodes_size && !opcodes_grow(m))
        return NULL;
    h = ptx_hash(text, len) & (m->opcodes_size - 1);
    while ((op = m->opcodes[h]) != NULL) {
        if (op->text.len == len && memcmp(op->text.text, text, len) == 0)
            return op;
        h = (h + 1) & (m->opcodes_size - 1);
    }
    op = ptx_alloc(&m->arena, sizeof(*op));
    if (op == NULL)
        return NULL;
    op->text.text = text;
    op->text.len = len;
    opcode_split(op);
    m->opcodes[h] = op;
    m->nopcodes++;
    return op;
}

bool
ptx_root_is(const struct ptx_opcode *op, const char *root)
{
    return ptx_name_is(op->root, root);
}
