/* frontend/tool/find.h -- which servers there are, and which would take this program
 *
 * From the directory, or by asking those that the configuration names. Threads: one.
 */
#ifndef FE_TOOL_FIND_H
#define FE_TOOL_FIND_H

#include "protocol/directory/place.h"
#include "frontend/core/config.h"

#include <stdio.h>

struct tool_found {
    struct place_server *list;
    size_t count;
    uint32_t *order; /* indexes of those that meet the need, best first */
    size_t fit;
    size_t together; /* where none does: so many of order do together, and fit is 0 */
    char why[320];   /* nothing could be found out at all */
};

struct tool_line;

/* Ask, measure the way to those that meet the need, and put them in order. False: why. line (or
 * NULL): what those who were served before will take is taken already. */
bool tool_find(const struct fe_config *config, struct tool_line *line, struct tool_found *found_p);
/* Some server has it, or several have, once all sessions have ended. */
bool tool_found_ever(const struct fe_config *config, const struct tool_found *found);
void tool_found_fini(struct tool_found *found);
/* The table of what there is, and why not. */
void tool_found_print(const struct fe_config *config, const struct tool_found *found, FILE *to);

#endif
