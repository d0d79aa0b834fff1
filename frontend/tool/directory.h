/* frontend/tool/directory.h -- the directory, where the build has it */
#ifndef FE_TOOL_DIRECTORY_H
#define FE_TOOL_DIRECTORY_H

#include "frontend/tool/find.h"

/* All servers of the directory, of the need's region where it has one; false: found->why. */
bool tool_directory_read(const struct fe_config *config, struct tool_found *found);

/* A place in the line of those who wait for the same; NULL where there is no directory. */
struct tool_line;
struct tool_line *tool_line_join(const struct fe_config *config);
/* How many are before us; UINT64_MAX if that cannot be found out now. */
uint64_t tool_line_position(struct tool_line *line);
/* The place is left to expire, a few seconds later: until then the directory shows what we took. */
void tool_line_leave(struct tool_line *line);

#endif
