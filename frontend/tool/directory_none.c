/* frontend/tool/directory_none.c -- the build has no libcurl or no jansson */
#include "frontend/tool/directory.h"

bool
tool_directory_read(const struct fe_config *config, struct tool_line *line,
                    struct tool_found *found)
{
    (void)config;
    (void)line;
    snprintf(found->why, sizeof(found->why),
             "this build has no directory (libcurl or jansson was missing)");
    return false;
}

struct tool_line *
tool_line_join(const struct fe_config *config)
{
    (void)config;
    return NULL;
}

uint64_t
tool_line_position(struct tool_line *line)
{
    (void)line;
    return UINT64_MAX;
}

bool
tool_line_aside(struct tool_line *line, bool aside)
{
    (void)line;
    (void)aside;
    return false;
}

bool
tool_line_wait(struct tool_line *line, bool servers, uint64_t timeout_ms)
{
    (void)line;
    (void)servers;
    (void)timeout_ms;
    return false;
}

void
tool_line_served(struct tool_line *line, const struct tool_found *found)
{
    (void)line;
    (void)found;
}

void
tool_line_leave(struct tool_line *line)
{
    (void)line;
}
