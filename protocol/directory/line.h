/* protocol/directory/line.h -- who was served in a line, and is on the way to a server
 *
 *   /gpupool/v1line/MODELS/NUMBER
 *       {}                                  waits
 *       {"aside": true}                     waits too, for what no server has even when it is empty
 *       {"to": [{"region": ..., "name": ..., "opened": N}, ...], "gpus": ...}    was served
 *
 * Between the choice and the program's first session the server's entry does not tell of it. So
 * until the server has opened its Nth session, who comes next counts what the program will take.
 * Who stands aside holds nobody up, and keeps its place: a server that comes may have what it
 * wants.
 *
 * Pure.
 */
#ifndef DIR_LINE_H
#define DIR_LINE_H

#include "protocol/directory/place.h"

#define DIR_LINE_WAITING        "{}"
#define DIR_LINE_STANDING_ASIDE "{\"aside\":true}"

enum dir_line_state {
    DIR_LINE_WAITS,
    DIR_LINE_ASIDE,
    DIR_LINE_GOES,
};

/* What is written by who goes to these servers, as they are with all that go before; malloc'ed
 * text; NULL without memory. */
char *dir_line_value(const struct place_need *need, const struct place_server *servers,
                     const uint32_t *which, size_t count);
/* Of one that goes, servers are as they will be when it has come; all in a line need the models
 * that its need has. */
enum dir_line_state dir_line_apply(const char *value, const struct place_need *line,
                                   struct place_server *servers, size_t count);

#endif
