/* backend/main/options.c */
#include "backend/main/options.h"

#include "protocol/base/log.h"
#include "protocol/base/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BE_CONFIG_DEFAULT "/etc/gpupool/server.ini"

static const struct gp_option be_options[] = {
    {"config", "FILE", GP_OPT_PATH, NULL,
     "read options from FILE; /etc/gpupool/server.ini is read if it is there", NULL, NULL, NULL,
     true},
    {"driver", "NAME", GP_OPT_TEXT, "auto",
     "cuda, soft to compute on the CPU, a library's path, or auto: cuda where there is one", NULL,
     NULL, NULL, false},
    {"listen", "URL", GP_OPT_URLS, "tls://*:7470",
     "accept sessions on URL; port 0 picks one; tcp:// on loopback only; shm:///path: a unix "
     "socket "
     "for this machine",
     NULL, NULL, NULL, false},
    {"offer-shm", NULL, GP_OPT_FLAG, "yes",
     "let clients of tls:// that are on this machine, and ask for the best lane (gpupool://), go "
     "over "
     "to shared memory",
     NULL, NULL, NULL, false},
    {"tls-cert", "FILE", GP_OPT_PATH, NULL, "server certificate and chain, PEM", "tls", "cert",
     NULL, false},
    {"tls-key", "FILE", GP_OPT_PATH, NULL, "its private key, PEM", "tls", "key", NULL, false},
    {"tls-ca", "FILE", GP_OPT_PATH, NULL, "who may have signed clients' certificates, PEM", "tls",
     "ca", NULL, false},
    {"tls-crl", "FILE", GP_OPT_PATH, NULL,
     "certificates of clients that are revoked, PEM; read anew for each connection", "tls", "crl",
     NULL, false},
    {"tcp-congestion", "NAME", GP_OPT_TEXT, NULL,
     "congestion control of connections; the system's if unset, reno of loopback addresses", "tcp",
     "congestion", NULL, false},
    {"tcp-send-buffer", "BYTES", GP_OPT_BYTES, "0", "of connections; 0: the system's choice", "tcp",
     "send-buffer", NULL, false},
    {"tcp-recv-buffer", "BYTES", GP_OPT_BYTES, "0", "of connections; 0: the system's choice", "tcp",
     "recv-buffer", NULL, false},
    {"tcp-keepalive", "TIME", GP_OPT_TIME, "30s", "silence before the system probes a connection",
     "tcp", "keepalive", NULL, false},
    {"tls-kernel", NULL, GP_OPT_FLAG, "yes",
     "have the kernel cipher a session's further connections, where it has TLS (modprobe tls)",
     "tls", "kernel", NULL, false},
    {"tls-rekey", "BYTES", GP_OPT_BYTES, "0",
     "new TLS keys after so much in a direction; 0: 64 GiB, 256 GiB where the kernel ciphers",
     "tls", "rekey", NULL, false},
    {"rdma-fabric", "NAME", GP_OPT_STRINGS, NULL,
     "trust NAME with sessions that RDMA carries, which nobody encrypts: a device (mlx5_0), its "
     "port "
     "(mlx5_0:1), a network (10.9.0.0/16), or *",
     "rdma", "fabric", NULL, false},
    {"rdma-ports", "N", GP_OPT_NUMBER, "0",
     "bulk of a session goes by so many ports at once; 0: by all that both ends have", "rdma",
     "ports", NULL, false},
    {"peer", "NETWORK", GP_OPT_STRINGS, NULL,
     "let sessions copy straight to sessions on servers in NETWORK (10.9.0.0/16, an address, or "
     "*); "
     "copies to others go through the client",
     NULL, NULL, NULL, false},
    {"peer-time", "TIME", GP_OPT_TIME, "30s",
     "a copy that a session here was asked to take has to begin within this time", NULL, NULL, NULL,
     false},
    {"name", "TEXT", GP_OPT_TEXT, NULL, "the server's name for clients; the host's if unset", NULL,
     NULL, NULL, false},
    {"metrics", "URL", GP_OPT_TEXT, NULL,
     "metrics for Prometheus at URL, such as http://127.0.0.1:9470: /metrics, and /metrics/compat "
     "with names of DCGM and HAMi; whoever reaches it may read it",
     NULL, NULL, NULL, false},
    {"accounts", "FILE", GP_OPT_PATH, NULL,
     "keep in FILE how much ran here for whom (gpupool report); accounts in $STATE_DIRECTORY if "
     "unset, "
     "and in memory without that",
     NULL, NULL, NULL, false},
    {"admin-socket", "PATH", GP_OPT_PATH, NULL,
     "serve operators of this machine at a unix socket; admin.sock in $RUNTIME_DIRECTORY if unset, "
     "and nowhere without that",
     NULL, NULL, NULL, false},
    {"admin", "RULE", GP_OPT_STRINGS, NULL,
     "whose certificates are operators': cn:NAME or uri:URI, with * and ?", NULL, NULL, NULL,
     false},
    {"etcd", "URL", GP_OPT_URLS, NULL,
     "register in the directory at URL, https://host:2379, several by comma", "etcd", "endpoints",
     NULL, false},
    {"etcd-ca", "FILE", GP_OPT_PATH, NULL, "who signed etcd's certificate, PEM", "etcd", "ca", NULL,
     false},
    {"etcd-cert", "FILE", GP_OPT_PATH, NULL,
     "a certificate for etcd, PEM; without a common name where etcd's own authentication is on",
     "etcd", "cert", NULL, false},
    {"etcd-key", "FILE", GP_OPT_PATH, NULL, "its private key, PEM", "etcd", "key", NULL, false},
    {"etcd-user", "NAME", GP_OPT_TEXT, NULL, "who we are for etcd's own authentication", "etcd",
     "user", NULL, false},
    {"etcd-password-file", "FILE", GP_OPT_PATH, NULL, "a file with the password", "etcd",
     "password-file", NULL, false},
    {"etcd-ttl", "TIME", GP_OPT_TIME, "10s", "our entries stay so long when nothing is heard of us",
     "etcd", "ttl", NULL, false},
    {"advertise", "URL", GP_OPT_URLS, NULL,
     "where clients reach this server; what it listens on if unset", "etcd", NULL, NULL, false},
    {"region", "NAME", GP_OPT_TEXT, "default", "where this server is", "etcd", NULL, NULL, false},
    {"zone", "NAME", GP_OPT_TEXT, NULL, "where in the region", "etcd", NULL, NULL, false},
    {"cost", "CLASS", GP_OPT_ENUM, "onprem", "the owner's own, or rented", "etcd", NULL,
     "onprem|cloud", false},
    {"label", "KEY=VALUE", GP_OPT_STRINGS, NULL, "shown in the directory", "etcd", NULL, NULL,
     false},
    {"model-key", "PATTERN=KEY", GP_OPT_STRINGS, NULL,
     "what clients call devices whose name fits PATTERN, where the rule does not do", "etcd", NULL,
     NULL, false},
    {"warm-workers", "COUNT", GP_OPT_NUMBER, "2", "processes kept ready for sessions to come", NULL,
     NULL, NULL, false},
    {"warm-delay", "TIME", GP_OPT_TIME, "100ms",
     "a session that begins has the machine so long, before more than one process is made ready",
     NULL, NULL, NULL, false},
    {"sessions-max", "COUNT", GP_OPT_NUMBER, "256", "open sessions at once", "limits", "sessions",
     NULL, false},
    {"handshakes-max", "COUNT", GP_OPT_NUMBER, "128", "connections that are not open yet, at once",
     "limits", "handshakes", NULL, false},
    {"handshake-time", "TIME", GP_OPT_TIME, "10s", "a connection that is not open by then is cut",
     "limits", "handshake-time", NULL, false},
    {"pending-max", "COUNT", GP_OPT_NUMBER, "0",
     "connections that said nothing yet, at once; 0: as many as there are descriptors for, at most "
     "16384",
     "limits", "pending", NULL, false},
    {"grace", "TIME", GP_OPT_TIME, "60s",
     "keep a session whose client lost its line for so long; 0s: end it at once", "limits", "grace",
     NULL, false},
    {"lines-max", "N", GP_OPT_NUMBER, "8",
     "connections that one session may go by at once, for bulk; 1: no more than one", "limits",
     "lines", NULL, false},
    {"heartbeat", "TIME", GP_OPT_TIME, "5s",
     "a client that hears nothing for so long asks whether the server is there; after three more "
     "it "
     "looks for another line; 0s: never",
     "limits", "heartbeat", NULL, false},
    {"frame-max", "BYTES", GP_OPT_BYTES, "16m", "longest frame that a client may send", "limits",
     "frame", NULL, false},
    {"image-max", "BYTES", GP_OPT_BYTES, "2g", "module images that a session may have on their way",
     "limits", "image", NULL, false},
    {"image-cache", "DIR", GP_OPT_PATH, NULL,
     "keep the module images that clients sent in DIR, so that they need not send them again; in "
     "memory if unset",
     "images", "dir", NULL, false},
    {"image-cache-bytes", "BYTES", GP_OPT_BYTES, "256m", "most of them; 0: keep none", "images",
     "bytes", NULL, false},
    {"content-cache", "DIR", GP_OPT_PATH, NULL,
     "keep what clients that ask for it copy to devices in DIR; in memory if unset", "contents",
     "dir", NULL, false},
    {"content-cache-bytes", "BYTES", GP_OPT_BYTES, "0", "most of it; 0: keep none", "contents",
     "bytes", NULL, false},
    {"content-share", NULL, GP_OPT_FLAG, "no",
     "among all tenants: each can find out whether the others have copied what it has itself",
     "contents", "share", NULL, false},
    {"lease-max", "BYTES", GP_OPT_BYTES, "8g",
     "device memory that a session may take without asking for more", "limits", "lease", NULL,
     false},
    {"spin", "TIME", GP_OPT_TIME, "50us",
     "look for completion this long before a thread sleeps on it", NULL, NULL, NULL, false},
    {"straight", NULL, GP_OPT_FLAG, "yes",
     "bytes of long copies go from and to the software device's memory without another copy", NULL,
     NULL, NULL, false},
    {"gpudirect", NULL, GP_OPT_FLAG, "yes",
     "a session's RDMA device reads and writes device memory by itself, where driver, kernel and "
     "device agree on it",
     "rdma", "gpudirect", NULL, false},
    {"sandbox", NULL, GP_OPT_FLAG, "yes",
     "workers may run no programs, make no connections and write no files", NULL, NULL, NULL,
     false},
    {"scrub", NULL, GP_OPT_FLAG, "yes",
     "with tenants: fill memory with zeros before a session gets it", NULL, NULL, NULL, false},
    {"oversubscribe", "FACTOR", GP_OPT_TEXT, "1.0",
     "promise so many times the devices' memory, 1.0 to 8.0; what does not fit is kept in the "
     "host's. A session whose work does not end is ended when others have waited for its memory "
     "for "
     "10m, or its tenant's max-hold-time",
     "memory", "oversubscribe", NULL, false},
    {"arena", "BYTES", GP_OPT_BYTES, "0",
     "host memory for what does not fit; sessions are refused what would need more; 0: no limit",
     "memory", "arena", NULL, false},
    {"arena-pack", "WHEN", GP_OPT_ENUM, "full",
     "pack what lies in the arena, where a probe says that it pays: never, when the arena is full, "
     "or always",
     "memory", "pack", "never|full|always", false},
    {"spill", "DIR", GP_OPT_PATH, NULL,
     "a folder on a fast disk for what the arena has no room for, in files without a name that end "
     "with their session",
     "memory", "spill", NULL, false},
    {"spill-size", "BYTES", GP_OPT_BYTES, "0", "as much of it as may be used; promised as --arena",
     "memory", "spill-size", NULL, false},
    {"spill-always", NULL, GP_OPT_FLAG, NULL, "the arena counts as full (tests)", NULL, NULL, NULL,
     false},
    {"paging-eager", NULL, GP_OPT_FLAG, NULL,
     "hand devices over to whoever asks, at once (to compare with)", NULL, NULL, NULL, false},
    {"evict-every", "COUNT", GP_OPT_NUMBER, "0",
     "page a session's memory out after so many frames (tests)", NULL, NULL, NULL, false},
    {"swap-fault", "COUNT", GP_OPT_NUMBER, "0", "one in so many steps of paging fails (tests)",
     NULL, NULL, NULL, false},
    {"drain-time", "TIME", GP_OPT_TIME, "30s", "on SIGTERM wait this long for sessions to end",
     NULL, NULL, NULL, false},
    {"mask-feature", "NAME", GP_OPT_STRINGS, NULL, "do not offer NAME (tests of old peers)", NULL,
     NULL, NULL, false},
    {"wire-format", "NUMBER", GP_OPT_NUMBER, NULL, "pretend to speak another one (tests)", NULL,
     NULL, NULL, true},
    {"ready-fd", "FD", GP_OPT_FD, NULL, "write one line with the bound URL for each --listen", NULL,
     NULL, NULL, true},
    {"exit-with-parent", NULL, GP_OPT_FLAG, NULL, "end when the parent process ends", NULL, NULL,
     NULL, true},
    {"log-level", "LEVEL", GP_OPT_ENUM, "info", "how much to say on standard error", NULL, NULL,
     "error|warn|info|debug", false},
    {"worker", "FD", GP_OPT_FD, NULL, "be a worker of the supervisor behind FD (internal)", NULL,
     NULL, NULL, true},
    {"ledger", "FD", GP_OPT_FD, NULL, "the ledger of all workers (internal)", NULL, NULL, NULL,
     true},
    {"board", "FD", GP_OPT_FD, NULL, "what workers tell the supervisor (internal)", NULL, NULL,
     NULL, true},
    {"predecessor", "FD", GP_OPT_FD, NULL, "take over from the server behind FD (internal)", NULL,
     NULL, NULL, true},
    {"inherit", "FD=URL", GP_OPT_STRINGS, NULL, "a socket of its that listens (internal)", NULL,
     NULL, NULL, true},
    {"registrar", "FD", GP_OPT_FD, NULL, "be the registrar of the supervisor behind FD (internal)",
     NULL, NULL, NULL, true},
    {"slot", "NUMBER", GP_OPT_NUMBER, NULL, "the worker's slot in it (internal)", NULL, NULL, NULL,
     true},
    {"images", "FD", GP_OPT_FD, NULL, "the line to who keeps images (internal)", NULL, NULL, NULL,
     true},
    {"print", "WHAT", GP_OPT_ENUM, NULL,
     "print the manual page, an example of the configuration "
     "file, or the table of options, and end",
     NULL, NULL, "man|example|reference", true},
    {"version", NULL, GP_OPT_FLAG, NULL, "print the version and end", NULL, NULL, NULL, true},
    {NULL},
};

const struct gp_option_set be_option_set = {"gpupoold", "serve GPUs to remote programs",
                                            "GPUPOOLD_", "server", be_options};

static const char man_head[] =
    ".TH GPUPOOLD 8 \"\" gpupool \"System administration\"\n"
    ".SH NAME\ngpupoold \\- serve GPUs to remote programs\n"
    ".SH SYNOPSIS\n.B gpupoold\n.RI [ OPTION ]...\n"
    ".SH DESCRIPTION\n"
    "Owns the GPUs of a machine and executes the CUDA calls of programs elsewhere, each session in "
    "a\nprocess of its own. Clients prove who they are by certificates; what they may have is in "
    "the\n.B [tenant \"NAME\"]\nsections of the configuration.\n.PP\n"
    "Each option may be an argument, a variable GPUPOOLD_NAME, or a setting in the file; the first "
    "of\nthese wins.\n"
    ".SH SIGNALS\nSIGTERM: listen no more, end when the sessions have ended, or after drain-time.\n"
    "SIGHUP: read tenants anew; other options count for workers that start afterwards.\n"
    "SIGUSR1: say in the log which sessions work.\n"
    "SIGUSR2: execute the program anew; it takes over, sessions go on here until they end.\n";
static const char man_tail[] =
    ".SH FILES\n.TP\n.I /etc/gpupool/server.ini\nthe configuration\n"
    ".SH EXIT STATUS\n0: ended in order; 1: it could not serve; 2: wrong options\n"
    ".SH SEE ALSO\n.BR gpupool (1)\n";
static const char tenant_example[] =
    "# A tenant; without any, whoever may connect gets what is free. Its settings:\n";

static void
print_what(const char *what, struct gp_buf *text)
{
    if (strcmp(what, "man") == 0) {
        gp_buf_append_text(text, man_head);
        gp_options_man(&be_option_set, text);
        gp_buf_append_text(text, ".SH TENANTS\nSettings of a section [tenant \"NAME\"]:\n");
        gp_options_man(&be_policy_option_set, text);
        gp_buf_append_text(text, man_tail);
    } else if (strcmp(what, "example") == 0) {
        GP_AUTO_BUF struct gp_buf tenant = {0};

        gp_buf_append_text(text, "# gpupoold's configuration: all settings, with what holds where "
                                 "they are not set.\n\n");
        gp_options_example(&be_option_set, text);
        gp_buf_append_text(text, tenant_example);
        gp_options_example(&be_policy_option_set, &tenant);
        gp_buf_append(&tenant, "", 1);
        if (gp_buf_status(&tenant) == GP_OK)
            gp_buf_printf(text, "#[tenant \"NAME\"]\n%s",
                          strchr((const char *)tenant.data, '\n') + 1);
    } else {
        gp_options_reference(&be_option_set, text);
        gp_options_reference(&be_policy_option_set, text);
    }
}

static enum gp_status
load_file(struct gp_options *options)
{
    const char *path = gp_options_text(options, "config");
    enum gp_status status;

    status = gp_options_load_file(options, path != NULL ? path : BE_CONFIG_DEFAULT);
    if (status != GP_ERR_NOT_FOUND)
        return status;
    if (path == NULL)
        return GP_OK;
    log_error("%s: no such file", path);
    return GP_ERR_NOT_FOUND;
}

enum be_stash_pack
be_options_pack(const struct gp_options *options)
{
    const char *text = gp_options_text(options, "arena-pack");

    return strcmp(text, "never") == 0    ? BE_PACK_NEVER
           : strcmp(text, "always") == 0 ? BE_PACK_ALWAYS
                                         : BE_PACK_FULL;
}

enum gp_status
be_options_paging(const struct gp_options *options, struct be_paging *paging_p)
{
    const char *text = gp_options_text(options, "oversubscribe");
    char *end = NULL;
    double factor = strtod(text, &end);

    if (end == text || *end != '\0' || !(factor >= 1.0 && factor <= 8.0)) {
        log_error("oversubscribe: \"%s\" is no factor from 1.0 to 8.0", text);
        return GP_ERR_INVALID;
    }
    *paging_p = (struct be_paging){
        .percent = (uint32_t)(factor * 100 + 0.5),
        .arena_bytes = gp_options_u64(options, "arena"),
        .spill_bytes =
            gp_options_is_set(options, "spill") ? gp_options_u64(options, "spill-size") : 0,
        .eager = gp_options_flag(options, "paging-eager"),
    };
    return GP_OK;
}

enum gp_status
be_options_load(int argc, char *const argv[], struct gp_options **options_p,
                struct be_policies *policies)
{
    struct gp_options *options;
    enum gp_status status;
    int next;

    status = gp_options_create(&be_option_set, &options);
    if (status != GP_OK)
        return status;
    memset(policies, 0, sizeof(*policies));
    gp_options_set_other(options, be_policies_take, policies);
    status = gp_options_load_args(options, argc, argv, &next);
    if (status == GP_ERR_AGAIN) {
        GP_AUTO_BUF struct gp_buf text = {0};

        gp_options_help(&be_option_set, &text);
        fwrite(text.data, 1, text.len, stdout);
    } else if (status == GP_OK && gp_options_flag(options, "version")) {
        puts("gpupoold " GP_VERSION);
        status = GP_ERR_AGAIN;
    } else if (status == GP_OK && gp_options_is_set(options, "print")) {
        GP_AUTO_BUF struct gp_buf text = {0};

        print_what(gp_options_text(options, "print"), &text);
        fwrite(text.data, 1, text.len, stdout);
        status = GP_ERR_AGAIN;
    } else if (status == GP_OK && next < argc) {
        log_error("%s: not an option; see --help", argv[next]);
        status = GP_ERR_INVALID;
    }
    if (status == GP_OK)
        status = gp_options_load_env(options);
    if (status == GP_OK)
        status = load_file(options);
    if (status == GP_OK)
        status = be_policies_finish(policies);
    if (status != GP_OK) {
        be_policies_fini(policies);
        gp_options_destroy(options);
        return status;
    }
    *options_p = options;
    return GP_OK;
}
