/* frontend/tool/place.c */
#include "frontend/tool/tool.h"

#include "protocol/base/util.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Relative to the folder of this executable: installed, then in the build tree. */
static const char *const places[][3] = {
    [TOOL_CLIENT] = {"../" GP_LIBDIR "/gpupool/client", "../cuda", NULL},
    [TOOL_SOFT] = {"../" GP_LIBDIR "/gpupool/soft", "../../backend/driver/soft", NULL},
};

static char *
existing(const char *folder, const char *relative)
{
    char path[2 * PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s/libcuda.so.1", folder, relative);
    if (access(path, R_OK) != 0)
        return NULL;
    snprintf(path, sizeof(path), "%s/%s", folder, relative);
    return realpath(path, NULL);
}

char *
tool_place(enum tool_place place)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    const char *folder;
    char *found = NULL;
    int i;

    if (n <= 0) {
        perror("gpupool: /proc/self/exe");
        return NULL;
    }
    self[n] = '\0';
    folder = dirname(self);
    for (i = 0; found == NULL && places[place][i] != NULL; i++)
        found = existing(folder, places[place][i]);
    if (found == NULL)
        fprintf(stderr, "gpupool: no libcuda.so.1 of the %s beside %s\n",
                place == TOOL_CLIENT ? "pool's client" : "software device", folder);
    return found;
}
