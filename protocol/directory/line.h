/* protocol/directory/line.h -- who was served in a line, and is on the way to a server
 *
 *   /gpupool/v1line/MODELS/NUMBER
 *       {}                                  waits
 *       {"to": [{"region": ..., "name": ..., "opened": N}, ...], "gpus": ...}    was served
 *
 * Between the choice and the program's first session the server's entry does not tell of it. So
 * until the server has opened its Nth session, who comes next counts what the program will take.
 *
 * Pure.
 */
#ifndef DIR_LINE_H
#define DIR_LINE_H

#include "protocol/directory/place.h"

/* What is written by who goes to these servers, as they are with all that go before; malloc'ed
 * text; NULL without memory. */
char *dir_line_value(const struct place_need *need, const struct place_server *servers,
                     const uint32_t *which, size_t count);
/* False: this one waits. Else servers are as they will be when it has come; all in a line need the
 * models that its need has. */
bool dir_line_apply(const char *value, const struct place_need *line, struct place_server *servers,
                    size_t count);

#endif
