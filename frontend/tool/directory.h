/* frontend/tool/directory.h -- the directory, where the build has it */
#ifndef FE_TOOL_DIRECTORY_H
#define FE_TOOL_DIRECTORY_H

#include "frontend/tool/find.h"

/* All servers of the directory, of the need's region where it has one, without what those of the
 * line (NULL: none) will take who were served before; false: found->why. */
bool tool_directory_read(const struct fe_config *config, struct tool_line *line,
                         struct tool_found *found);

/* A place in the line of those who wait for the same; NULL where there is no directory. */
struct tool_line;
struct tool_line *tool_line_join(const struct fe_config *config);
/* How many wait before us; UINT64_MAX if that cannot be found out now. */
uint64_t tool_line_position(struct tool_line *line);
/* Whether we hold up those behind us; what is wanted is nowhere if not. False: that could not be
 * said. */
bool tool_line_aside(struct tool_line *line, bool aside);
/* Until the line changes, or (servers) the directory, since the position was asked, timeout_ms and
 * a few seconds at most. False: that cannot be waited for. */
bool tool_line_wait(struct tool_line *line, bool servers, uint64_t timeout_ms);
/* We go to those that were found: the next ones count it. */
void tool_line_served(struct tool_line *line, const struct tool_found *found);
/* Who was served leaves his entry to expire, a few seconds later, others take theirs along. */
void tool_line_leave(struct tool_line *line);

#endif
