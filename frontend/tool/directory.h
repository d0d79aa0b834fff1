/* frontend/tool/directory.h -- the directory, where the build has it */
#ifndef FE_TOOL_DIRECTORY_H
#define FE_TOOL_DIRECTORY_H

#include "frontend/tool/find.h"

/* All servers of the directory, of the need's region where it has one; false: found->why. */
bool tool_directory_read(const struct fe_config *config, struct tool_found *found);

#endif
