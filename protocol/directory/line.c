/* protocol/directory/line.c */
#include "protocol/directory/line.h"

#include "protocol/directory/number.h"

#include <jansson.h>
#include <string.h>

char *
dir_line_value(const struct place_need *need, const struct place_server *servers,
               const uint32_t *which, size_t count)
{
    json_t *to = json_array(), *object;
    char *text;

    for (size_t i = 0; i < count; i++) {
        const struct place_server *server = &servers[which[i]];

        json_array_append_new(to,
                              json_pack("{s:s,s:s,s:I}", "region", server->region, "name",
                                        server->name, "opened", (json_int_t)(server->opened + 1)));
    }
    object = json_pack("{s:o,s:i,s:I,s:i}", "to", to, "gpus", (int)need->gpus, "memory",
                       (json_int_t)need->memory_bytes, "share", (int)need->share);
    text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

static bool
is_named(const json_t *to, const struct place_server *server)
{
    const char *region = json_string_value(json_object_get(to, "region"));
    const char *name = json_string_value(json_object_get(to, "name"));

    return region != NULL && name != NULL && strcmp(region, server->region) == 0 &&
           strcmp(name, server->name) == 0;
}

enum dir_line_state
dir_line_apply(const char *value, const struct place_need *line, struct place_server *servers,
               size_t count)
{
    json_t *object = json_loads(value, 0, NULL);
    const json_t *all = json_object_get(object, "to"), *to;
    struct place_need need = *line;
    enum dir_line_state state = DIR_LINE_WAITS;
    size_t i;

    if (json_array_size(all) > 0)
        state = DIR_LINE_GOES;
    else if (json_is_true(json_object_get(object, "aside")))
        state = DIR_LINE_ASIDE;
    need.gpus = (uint32_t)dir_number(object, "gpus", PLACE_GPUS_MAX);
    need.memory_bytes = dir_number(object, "memory", UINT64_MAX);
    need.share = (uint32_t)dir_number(object, "share", 100);
    json_array_foreach(all, i, to)
    {
        for (size_t s = 0; s < count; s++)
            if (is_named(to, &servers[s]) &&
                servers[s].opened < dir_number(to, "opened", UINT64_MAX))
                place_reserve(&need, &servers[s]);
    }
    json_decref(object);
    return state;
}
