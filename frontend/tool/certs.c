/* frontend/tool/certs.c -- gpupool certs: certificates for a laboratory, by certs.sh */
#include "frontend/tool/tool.h"

#include "protocol/base/util.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "Usage: gpupool certs DIR [--tenant NAME]... [--server-name NAME|ADDRESS]...\n"
    "                         [--etcd NAME]... [--days N]\n"
    "Make certificates for a laboratory: an authority, a server, and one for each tenant\n"
    "and each etcd member or client.\n"
    "\n"
    "What is in DIR already is kept, so a second call adds tenants. Needs the openssl command. "
    "Not\n"
    "for production: the authority's key lies unprotected beside the rest.\n"
    "\n"
    "Examples:\n"
    "  gpupool certs lab --tenant alice --tenant ops --server-name gpu1.example\n"
    "  gpupoold --listen tls://*:7470 --admin cn:ops --tls-cert lab/server.crt \\\n"
    "      --tls-key lab/server.key --tls-ca lab/ca.crt\n"
    "Exit code 0, 1: failed, 2: wrong usage.\n";

/* Relative to the folder of this executable: installed, then in the build tree. */
static const char *const places[] = {"../" GP_LIBEXECDIR "/gpupool/certs.sh",
                                     "../../../deploy/certs.sh"};

int
tool_certs(int argc, char **argv)
{
    char self[PATH_MAX], path[2 * PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    const char *folder;

    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(help, argc < 2 ? stderr : stdout);
        return argc < 2 ? TOOL_USAGE : 0;
    }
    if (n <= 0)
        return TOOL_FAILED;
    self[n] = '\0';
    folder = dirname(self);
    for (size_t i = 0; i < GP_ARRAY_LEN(places); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, places[i]);
        if (access(path, R_OK) != 0)
            continue;
        argv[0] = path;
        execv(path, argv);
        perror("gpupool certs: certs.sh");
        return TOOL_FAILED;
    }
    fprintf(stderr, "gpupool certs: certs.sh is not where it was installed\n");
    return TOOL_FAILED;
}
