/* backend/driver/soft/ptx/flow.c -- basic blocks and their order
 *
 * Lanes that wait for each other meet at the smallest instruction, so blocks are put in reverse
 * post-order, and where a loop can be left, what comes behind the loop is visited first: it then
 * stands behind the whole loop.
 */
#include "backend/driver/soft/ptx/lower.h"

#include <string.h>

/* Beyond this product of loops and blocks nesting is not looked at. */
#define NESTING_WORK_MAX 20000000ull

static bool
ends_block(const struct ptx_insn *in)
{
    const struct lower_rule *r = lower_rule_of(in->op);

    return r != NULL && (r->flags & RULE_ENDS) != 0;
}

static bool
split_blocks(struct lower *lw)
{
    const struct ptx_body *b = lw->b;
    uint8_t *leader = calloc(1, (size_t)b->ninsns + 2);
    uint32_t i, n = 0;
    bool ok = false;

    if (leader == NULL)
        return lower_no_memory(lw);
    leader[0] = 1;
    for (i = 0; i < b->nlabels; i++)
        leader[b->labels[i].insn] = 1;
    for (i = 0; i < b->ninsns; i++)
        if (ends_block(&b->insns[i]))
            leader[i + 1] = 1;
    /* A label at the very end, or an empty body, makes an empty block. */
    for (i = 0; i <= b->ninsns; i++)
        n += leader[i];
    lw->blocks = calloc(n, sizeof(*lw->blocks));
    lw->label_block = calloc((size_t)b->nlabels + 1, sizeof(uint32_t));
    if (lw->blocks == NULL || lw->label_block == NULL)
        goto out;
    for (i = 0; i <= b->ninsns; i++) {
        if (leader[i]) {
            if (lw->nblocks > 0)
                lw->blocks[lw->nblocks - 1].last = i;
            lw->blocks[lw->nblocks].first = i;
            lw->blocks[lw->nblocks].order = UINT32_MAX;
            lw->nblocks++;
        }
    }
    lw->blocks[lw->nblocks - 1].last = b->ninsns;
    for (i = 0; i < b->nlabels; i++) {
        uint32_t lo = 0, hi = lw->nblocks;

        while (hi - lo > 1) {
            uint32_t mid = (lo + hi) / 2;

            if (lw->blocks[mid].first <= b->labels[i].insn)
                lo = mid;
            else
                hi = mid;
        }
        lw->label_block[i] = lo;
    }
    ok = true;
out:
    free(leader);
    return ok || lower_no_memory(lw);
}

static bool
add_succ(struct lower *lw, struct flow_block *blk, uint32_t to)
{
    if (!ptx_grow(&lw->succs, lw->nsuccs, &lw->succs_cap, sizeof(uint32_t)))
        return lower_no_memory(lw);
    lw->succs[lw->nsuccs++] = to;
    blk->nsucc++;
    return true;
}

static bool
link_block(struct lower *lw, uint32_t n)
{
    struct flow_block *blk = &lw->blocks[n];
    const struct ptx_insn *last = blk->last > blk->first ? &lw->b->insns[blk->last - 1] : NULL;
    bool falls = true;
    uint32_t i;

    blk->succ_first = lw->nsuccs;
    if (last != NULL && ends_block(last)) {
        const struct ptx_operand *o = last->count > 0 ? lower_opnd(lw, last, 0) : NULL;

        falls = last->guard >= 0;
        if (ptx_root_is(last->op, "bra")) {
            if (o == NULL || o->kind != OPND_LABEL)
                return lower_fail(lw, last, "branch to something that is no label");
            if (!add_succ(lw, blk, lw->label_block[o->reg]))
                return false;
        } else if (ptx_root_is(last->op, "brx")) {
            const struct ptx_operand *t = last->count > 1 ? lower_opnd(lw, last, 1) : NULL;
            const struct ptx_table *table;

            if (t == NULL || t->kind != OPND_TABLE || lw->b->tables[t->reg].kind != 0)
                return lower_fail(lw, last, "brx.idx without its table");
            table = &lw->b->tables[t->reg];
            for (i = 0; i < table->count; i++) {
                const struct ptx_operand *l = &lw->b->operands[table->first + i];

                if (l->kind != OPND_LABEL)
                    return lower_fail(lw, last, "branch target that is no label");
                if (!add_succ(lw, blk, lw->label_block[l->reg]))
                    return false;
            }
        }
    }
    if (falls && n + 1 < lw->nblocks)
        return add_succ(lw, blk, n + 1);
    return true;
}

struct visit {
    uint32_t block;
    uint32_t next;
};

/* Depth-first; marks back edges by calling on_back; post-order into post (may be NULL). */
struct walk {
    uint8_t *state; /* 0 new, 1 on the stack, 2 done */
    struct visit *stack;
    uint32_t *post;
    uint32_t npost;
    uint32_t (*back)[2];
    uint32_t nback, back_cap;
    bool failed;
};

static void
walk_blocks(struct lower *lw, struct walk *wk)
{
    uint32_t depth = 0;

    wk->stack[depth++] = (struct visit){0, 0};
    wk->state[0] = 1;
    while (depth > 0) {
        struct visit *v = &wk->stack[depth - 1];
        struct flow_block *blk = &lw->blocks[v->block];

        if (v->next == blk->nsucc) {
            wk->state[v->block] = 2;
            wk->post[wk->npost++] = v->block;
            depth--;
            continue;
        }
        uint32_t to = lw->succs[blk->succ_first + v->next++];

        if (wk->state[to] == 0) {
            wk->state[to] = 1;
            wk->stack[depth++] = (struct visit){to, 0};
        } else if (wk->state[to] == 1) {
            if (!ptx_grow(&wk->back, wk->nback, &wk->back_cap, sizeof(*wk->back))) {
                wk->failed = true;
                return;
            }
            wk->back[wk->nback][0] = v->block;
            wk->back[wk->nback++][1] = to;
        }
    }
}

/* Every block between a loop's header and its back edge is one loop deeper. */
static bool
find_depths(struct lower *lw, struct walk *wk)
{
    uint32_t *pred_at = calloc((size_t)lw->nblocks + 1, sizeof(uint32_t));
    uint32_t *preds = calloc((size_t)lw->nsuccs + 1, sizeof(uint32_t));
    uint32_t *seen = calloc((size_t)lw->nblocks + 1, sizeof(uint32_t));
    uint32_t *todo = calloc((size_t)lw->nblocks + 1, sizeof(uint32_t));
    uint32_t i, j;
    bool ok = pred_at != NULL && preds != NULL && seen != NULL && todo != NULL;

    for (i = 0; ok && i < lw->nsuccs; i++)
        pred_at[lw->succs[i] + 1]++;
    for (i = 0; ok && i < lw->nblocks; i++)
        pred_at[i + 1] += pred_at[i];
    for (i = 0; ok && i < lw->nblocks; i++)
        for (j = 0; j < lw->blocks[i].nsucc; j++) {
            uint32_t to = lw->succs[lw->blocks[i].succ_first + j];

            preds[pred_at[to] + todo[to]++] = i;
        }
    if (ok && (uint64_t)wk->nback * lw->nblocks <= NESTING_WORK_MAX) {
        for (i = 0; i < wk->nback; i++) {
            uint32_t n = 0, header = wk->back[i][1];

            todo[n++] = wk->back[i][0];
            seen[header] = i + 1;
            lw->blocks[header].depth++;
            if (seen[wk->back[i][0]] != i + 1) {
                seen[wk->back[i][0]] = i + 1;
                lw->blocks[wk->back[i][0]].depth++;
            } else {
                n = 0;
            }
            while (n > 0) {
                uint32_t b = todo[--n];

                for (j = pred_at[b]; j < pred_at[b + 1]; j++) {
                    uint32_t p = preds[j];

                    if (seen[p] == i + 1 || wk->state[p] == 0)
                        continue;
                    seen[p] = i + 1;
                    lw->blocks[p].depth++;
                    todo[n++] = p;
                }
            }
        }
    }
    free(pred_at);
    free(preds);
    free(seen);
    free(todo);
    return ok || lower_no_memory(lw);
}

/* Visit what leaves loops first, then what stands later in the text. */
static void
sort_succs(struct lower *lw)
{
    uint32_t i, j, k;

    for (i = 0; i < lw->nblocks && lw->nsuccs > 0; i++) {
        uint32_t *s = lw->succs + lw->blocks[i].succ_first;

        for (j = 1; j < lw->blocks[i].nsucc; j++)
            for (k = j; k > 0; k--) {
                const struct flow_block *a = &lw->blocks[s[k - 1]];
                const struct flow_block *b = &lw->blocks[s[k]];
                uint32_t t = s[k];

                if (a->depth < b->depth || (a->depth == b->depth && s[k - 1] >= s[k]))
                    break;
                s[k] = s[k - 1];
                s[k - 1] = t;
            }
    }
}

static bool
order_blocks(struct lower *lw)
{
    struct walk wk = {.state = calloc(1, (size_t)lw->nblocks + 1),
                      .stack = calloc((size_t)lw->nblocks + 1, sizeof(struct visit)),
                      .post = calloc((size_t)lw->nblocks + 1, sizeof(uint32_t))};
    bool ok = wk.state != NULL && wk.stack != NULL && wk.post != NULL;
    uint32_t i;

    if (ok) {
        walk_blocks(lw, &wk);
        ok = !wk.failed && find_depths(lw, &wk);
    }
    if (ok && wk.nback > 0) {
        sort_succs(lw);
        memset(wk.state, 0, lw->nblocks);
        wk.npost = wk.nback = 0;
        walk_blocks(lw, &wk);
        ok = !wk.failed;
    } else if (ok) {
        sort_succs(lw);
        memset(wk.state, 0, lw->nblocks);
        wk.npost = 0;
        walk_blocks(lw, &wk);
    }
    lw->order = ok ? calloc((size_t)wk.npost + 1, sizeof(uint32_t)) : NULL;
    if (lw->order != NULL) {
        lw->norder = wk.npost;
        for (i = 0; i < wk.npost; i++) {
            lw->order[i] = wk.post[wk.npost - 1 - i];
            lw->blocks[lw->order[i]].order = i;
        }
    }
    free(wk.state);
    free(wk.stack);
    free(wk.post);
    free(wk.back);
    return lw->order != NULL || lower_no_memory(lw);
}

bool
lower_flow(struct lower *lw)
{
    uint32_t i, j;

    if (!split_blocks(lw))
        return false;
    for (i = 0; i < lw->nblocks; i++)
        if (!link_block(lw, i))
            return false;
    if (!order_blocks(lw))
        return false;
    for (i = 0; i < lw->norder; i++) {
        const struct flow_block *blk = &lw->blocks[lw->order[i]];

        for (j = 0; j < blk->nsucc; j++) {
            struct flow_block *to = &lw->blocks[lw->succs[blk->succ_first + j]];

            to->npred++;
            /* Only what is reached by falling forward from one block needs no join. */
            if (to->npred > 1 || to->order != i + 1 || blk->nsucc > 1)
                to->join = true;
        }
    }
    /* The fall-through of a forward conditional branch waits for nobody. */
    for (i = 0; i + 1 < lw->norder; i++) {
        const struct flow_block *blk = &lw->blocks[lw->order[i]];
        struct flow_block *next = &lw->blocks[lw->order[i + 1]];
        bool forward = true;

        for (j = 0; j < blk->nsucc; j++)
            if (lw->blocks[lw->succs[blk->succ_first + j]].order <= i)
                forward = false;
        if (forward && next->npred == 1 && blk->nsucc == 2 &&
            (lw->succs[blk->succ_first] == lw->order[i + 1] ||
             lw->succs[blk->succ_first + 1] == lw->order[i + 1]))
            next->join = false;
    }
    return true;
}
