/* frontend/cuda/graph_token.c -- what launches of graphs use in this process
 *
 * A token's number means nothing to the server; what it names is looked up here.
 */
#include "frontend/core/data.h"
#include "frontend/cuda/graph.h"

#include <stdlib.h>

#define TOKENS_MAX (1u << 20)

struct place {
    struct fe_token *token; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

static struct {
    pthread_mutex_t lock; /* a leaf */
    /* Guarded by lock. */
    struct place *places;
    uint32_t used, room;
    uint32_t free; /* place + 1; 0: none */
} tokens = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* tokens.lock held. */
static struct fe_token *
find(uint64_t id)
{
    uint32_t index = (uint32_t)id, generation = (uint32_t)(id >> 32) & 0x7fffffff;

    if (index >= tokens.used || tokens.places[index].generation != generation)
        return NULL;
    return tokens.places[index].token;
}

/* tokens.lock held. */
static bool
grow(void)
{
    uint32_t room = tokens.room != 0 ? 2 * tokens.room : 64;
    struct place *places;

    if (tokens.used < tokens.room)
        return true;
    places = room <= TOKENS_MAX ? realloc(tokens.places, room * sizeof(*places)) : NULL;
    if (places == NULL)
        return false;
    tokens.places = places;
    tokens.room = room;
    return true;
}

static bool
number(struct fe_token *token)
{
    uint32_t index;
    bool ok = true;

    pthread_mutex_lock(&tokens.lock);
    if (tokens.free != 0) {
        index = tokens.free - 1;
        tokens.free = tokens.places[index].next_free;
    } else if ((ok = grow())) {
        index = tokens.used++;
        tokens.places[index].generation = 0;
    }
    if (ok) {
        struct place *place = &tokens.places[index];

        place->token = token;
        place->generation = (place->generation + 1) & 0x7fffffff;
        token->id = WIRE_GRAPH_TOKEN | (uint64_t)place->generation << 32 | index;
    }
    pthread_mutex_unlock(&tokens.lock);
    return ok;
}

static void
forget(const struct fe_token *token)
{
    pthread_mutex_lock(&tokens.lock);
    if (find(token->id) == token) {
        struct place *place = &tokens.places[(uint32_t)token->id];

        place->token = NULL;
        place->next_free = tokens.free;
        tokens.free = (uint32_t)token->id + 1;
    }
    pthread_mutex_unlock(&tokens.lock);
}

static CUresult
open_data(struct fe_call *call, struct fe_token *token)
{
    const struct fe_copy *c = &token->copy;
    const struct fe_data_shape shape = {
        .dst = (void *)(uintptr_t)c->dst.base,
        .row_bytes = c->shape.width,
        .row_pitch = c->dst.pitch,
        .rows = c->shape.height,
        .slice_pitch = c->dst.slice,
        .slices = c->shape.depth,
    };
    uint32_t data;
    CUresult cr = fe_data_open(call, &shape, FE_DATA_KEPT, &data);

    if (cr == CUDA_SUCCESS)
        token->id = data;
    return cr;
}

CUresult
fe_token_new(struct fe_call *call, const struct fe_token *what, struct fe_token **list,
             struct fe_token **token_p)
{
    struct fe_token *token = malloc(sizeof(*token));
    CUresult cr = CUDA_SUCCESS;

    if (token == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *token = *what;
    if (token->kind == FE_TOKEN_PUSH)
        cr = open_data(call, token);
    else if (!number(token))
        cr = CUDA_ERROR_OUT_OF_MEMORY;
    if (cr != CUDA_SUCCESS) {
        free(token);
        return cr;
    }
    token->next = *list;
    *list = token;
    *token_p = token;
    return CUDA_SUCCESS;
}

void
fe_tokens_free(struct fe_call *call, struct fe_token *list)
{
    while (list != NULL) {
        struct fe_token *token = list;

        list = token->next;
        if (token->kind == FE_TOKEN_PUSH)
            fe_data_drop(call, (uint32_t)token->id);
        else
            forget(token);
        free(token);
    }
}

/* -- what the server asks for ----------------------------------------------------------- */

bool
fe_token_call(struct fe_session *s, uint64_t id)
{
    struct fe_token *token, copy;

    pthread_mutex_lock(&tokens.lock);
    token = find(id);
    if (token != NULL)
        copy = *token;
    pthread_mutex_unlock(&tokens.lock);
    if (token == NULL)
        return false;
    if (copy.kind == FE_TOKEN_CALL)
        copy.fn(copy.data);
    else if (copy.kind == FE_TOKEN_MOVE)
        fe_copy_host(&copy.copy);
    else if (copy.kind == FE_TOKEN_RELAY)
        fe_relay_run(s, &(const struct fe_relay_copy){copy.dst, copy.src, copy.copy});
    return true;
}

bool
fe_token_pull(uint64_t id, uint64_t bytes, struct fe_copy *copy_p)
{
    struct fe_token *token;
    bool known;

    pthread_mutex_lock(&tokens.lock);
    token = find(id);
    known = token != NULL && token->kind == FE_TOKEN_PULL && bytes > 0 &&
            fe_shape_bytes(&token->copy.shape) == bytes;
    if (known)
        *copy_p = token->copy;
    pthread_mutex_unlock(&tokens.lock);
    return known;
}

size_t
fe_token_span(const struct fe_token *token)
{
    size_t span = 0;

    (void)fe_side_span(&token->copy.dst, &token->copy.shape, &span);
    return span;
}
