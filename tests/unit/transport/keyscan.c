/* tests/unit/transport/keyscan.c -- after the handshake a server's memory holds no private key
 *
 * Other processes make the certificates, play the client, and tell the key in disguise (each byte
 * XOR 0x5a), so that the only copies here are those that tp_adopt() made. Then all memory that
 * can be written is searched for it. The search proves itself on a planted copy.
 */
#include "tests/unit/transport/certs.h"
#include "tests/unit/transport/need.h"
#include "tests/unit/transport/pair.h"

#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* gcc */
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer)) /* clang   \
                                                                                         */
#else
#define SANITIZED false
#endif

#define SKIPPED   77
#define KEY_BYTES 32
#define DISGUISE  0x5a

struct told {
    char dir[64];
    uint8_t big_endian[KEY_BYTES], little_endian[KEY_BYTES]; /* in disguise */
};

/* In a child: make certificates, tell where and what the server's key is. */
static void
make_and_tell(int out)
{
    struct told told = {.dir = ""};
    BIGNUM *scalar = NULL;
    EVP_PKEY *key;
    FILE *file;

    snprintf(told.dir, sizeof(told.dir), "%s", test_certs_create());
    file = fopen(test_certs_path("server", "key"), "r");
    need(file != NULL);
    key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    need(key != NULL && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) == 1);
    need(BN_bn2binpad(scalar, told.big_endian, KEY_BYTES) == KEY_BYTES);
    for (int i = 0; i < KEY_BYTES; i++) {
        told.big_endian[i] ^= DISGUISE;
        told.little_endian[KEY_BYTES - 1 - i] = told.big_endian[i];
    }
    need(write(out, &told, sizeof(told)) == sizeof(told));
    _exit(0);
}

static bool
is_key(const volatile uint8_t *at, const uint8_t *disguised)
{
    for (int i = 0; i < KEY_BYTES; i++)
        if ((at[i] ^ DISGUISE) != disguised[i])
            return false;
    return true;
}

static unsigned
search(const uint8_t *from, const uint8_t *to, const struct told *told)
{
    unsigned found = 0;

    for (; from + KEY_BYTES <= to; from++)
        found += is_key(from, told->big_endian) || is_key(from, told->little_endian);
    return found;
}

/* All mappings that can be read and written. */
static unsigned
search_memory(const struct told *told)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long from, to;
    unsigned found = 0;
    char line[512], mode[8];

    need(maps != NULL);
    while (fgets(line, sizeof(line), maps) != NULL)
        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && strncmp(mode, "rw", 2) == 0)
            found += search((const uint8_t *)from, (const uint8_t *)to, told);
    fclose(maps);
    return found;
}

static pid_t
start_client(int fd, int other)
{
    struct tp_opts opts = test_client_opts();
    struct tp_frame frame;
    struct tp_lane *lane;
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    close(other);
    opts.tls.server_name = "localhost";
    need(tp_adopt("tls", fd, TP_CLIENT, &opts, &lane) == GP_OK);
    need(tp_recv_frame(lane, &frame, GP_FOREVER) == GP_ERR_CLOSED);
    tp_close(lane);
    _exit(0);
}

static void
await(pid_t pid)
{
    int status = -1;

    need(waitpid(pid, &status, 0) == pid && status == 0);
}

int
main(void)
{
    struct tp_opts opts;
    struct tp_lane *lane;
    struct told told;
    volatile uint8_t *plant;
    unsigned found;
    int pipes[2], fds[2];
    pid_t pid;

    if (SANITIZED) {
        puts("skipped: a sanitizer keeps freed memory and guards its own");
        return SKIPPED;
    }
    need(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    pid = fork();
    if (pid == 0)
        make_and_tell(pipes[1]);
    await(pid);
    need(read(pipes[0], &told, sizeof(told)) == sizeof(told));
    test_certs_use(told.dir);

    pid = start_client(fds[0], fds[1]);
    close(fds[0]);
    opts = test_server_opts();
    need(tp_adopt("tls", fds[1], TP_SERVER, &opts, &lane) == GP_OK);
    found = search_memory(&told);

    plant = malloc(KEY_BYTES);
    for (int i = 0; i < KEY_BYTES; i++)
        plant[i] = told.big_endian[i] ^ DISGUISE;
    need(search_memory(&told) == found + 1);
    free((void *)plant);

    tp_close(lane);
    await(pid);
    test_certs_destroy();
    if (found != 0)
        fprintf(stderr, "the private key is still at %u places\n", found);
    return found == 0 ? 0 : 1;
}
