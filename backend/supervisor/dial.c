/* backend/supervisor/dial.c */
#include "backend/supervisor/dial.h"

#include "protocol/base/log.h"
#include "protocol/base/network.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* "10.1.2.3" is a network of one. */
static enum gp_status
peer_parse(const char *text, struct gp_network *network)
{
    char with_bits[64];

    if (strchr(text, '/') != NULL)
        return gp_network_parse(text, network);
    if (strlen(text) > sizeof(with_bits) - 5)
        return GP_ERR_INVALID;
    snprintf(with_bits, sizeof(with_bits), "%s/%s", text, strchr(text, ':') != NULL ? "128" : "32");
    return gp_network_parse(with_bits, network);
}

enum gp_status
be_dial_check(const char *peer)
{
    struct gp_network network;

    return strcmp(peer, "*") == 0 ? GP_OK : peer_parse(peer, &network);
}

static bool
allowed(const char *const *peers, size_t count, const struct sockaddr *to)
{
    struct gp_network network;
    uint8_t address[16];

    if (!gp_address_bytes(to, address))
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(peers[i], "*") == 0 ||
            (peer_parse(peers[i], &network) == GP_OK && gp_network_has(&network, address)))
            return true;
    return false;
}

void
be_dial_serve(const char *const *peers, size_t count, int line, const struct be_word *word)
{
    const struct sockaddr *to = (const struct sockaddr *)(const void *)&word->dial;
    struct be_handoff what = {.scheme = BE_SCHEME_DIALLED, .session_id = word->dial_number};
    socklen_t len =
        word->dial.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    bool may = allowed(peers, count, to);
    /* Each message has a descriptor: where nothing may come of it, one that is no connection. */
    GP_AUTO_CLOSE int fd =
        socket(may ? word->dial.ss_family : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        log_error("supervisor: socket: %m");
        return;
    }
    what.refuse = !may;
    if (may && connect(fd, to, len) != 0 && errno != EINPROGRESS)
        log_debug("supervisor: a connection to another server: %m"); /* the worker sees it too */
    if (be_handoff_send(line, &what, fd) != GP_OK)
        log_debug("supervisor: a worker does not take its connection: %m");
}
