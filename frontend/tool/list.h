/* frontend/tool/list.h -- answers of servers as tables */
#ifndef FE_TOOL_LIST_H
#define FE_TOOL_LIST_H

#include "frontend/tool/admin.h"
#include "frontend/tool/rows.h"

enum tool_kind {
    TOOL_GPUS,
    TOOL_SERVERS,
    TOOL_SESSIONS,
    TOOL_TENANTS,
    TOOL_KINDS,
};

/* "gpus", "gpu"; false for anything else. */
bool tool_kind_parse(const char *text, enum tool_kind *kind_p);
/* The WIRE_ADMIN_* part that has it. */
uint32_t tool_kind_part(enum tool_kind kind);
/* All rows of this kind; servers that did not answer are rows too where servers are listed. */
void tool_list(const struct tool_targets *targets, enum tool_kind kind, struct tool_rows *rows);
/* True if this row is called name: a server's name or address, a GPU's UUID (or its unambiguous
 * beginning) or SERVER/INDEX, a session's id, a tenant's name. */
bool tool_list_is(const struct tool_rows *rows, enum tool_kind kind, size_t row, const char *name);

#endif
