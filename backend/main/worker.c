/* backend/main/worker.c -- one worker, one session, one tenant */
#include "backend/main/worker.h"

#include "backend/cuda/account.h"
#include "backend/main/options.h"
#include "backend/main/relay.h"
#include "backend/main/sandbox.h"
#include "backend/main/watch.h"
#include "backend/session/count.h"
#include "backend/session/session.h"
#include "backend/supervisor/handoff.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/negotiate.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Of a device whose memory is paged: for contexts and modules of whoever comes. */
#define BE_KEEP_BYTES (64ull << 20)

/* -- the process
 * ------------------------------------------------------------------------------------ */

/* Where memory ends, the worker that took most of it goes first, not the supervisor. */
static void
memory_yield(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, "500", 3) != 3)
        log_debug("worker: oom_score_adj stays: %m");
    if (fd >= 0)
        close(fd);
}

/* No more rights than now, and no core file with a tenant's data in it. */
static enum gp_status
process_confine(void)
{
    struct rlimit none = {0, 0};

    memory_yield();

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0) {
        log_error("worker: cannot give up rights: %m");
        return GP_ERR_IO;
    }
    return GP_OK;
}

/* Standard output becomes a file in memory that what kernels print is read from. */
static enum gp_status
output_catch(int *fd_p)
{
    int fd = memfd_create("device-output", MFD_CLOEXEC);

    if (fd < 0 || fcntl(fd, F_SETFL, O_APPEND) != 0 || dup2(fd, STDOUT_FILENO) < 0) {
        log_error("worker: cannot catch standard output: %m");
        return GP_ERR_IO;
    }
    *fd_p = fd;
    return GP_OK;
}

/* The software device shares events and memory between workers by way of /proc, which processes
 * that are kept from files each for itself may not. */
static bool
driver_is_real(const char *name)
{
    return strcmp(name, "cuda") == 0 ||
           (strcmp(name, "auto") == 0 && access("/dev/nvidiactl", F_OK) == 0);
}

static enum gp_status
driver_open(const char *name, struct be_driver *driver)
{
    enum gp_status status;

    if (strcmp(name, "auto") != 0)
        return be_driver_open(name, driver);
    if (access("/dev/nvidiactl", F_OK) == 0) {
        status = be_driver_open("cuda", driver);
        if (status == GP_OK && driver->device_count != 0)
            return GP_OK;
        log_warn("worker: the NVIDIA driver here cannot be used, see above");
    }
    return be_driver_open("soft", driver);
}

/* The account of all workers, and what the devices have for it. */
static enum gp_status
ledger_open(const struct gp_options *options, const struct be_driver *driver,
            struct be_ledger **ledger_p)
{
    int fd = (int)gp_options_u64(options, "ledger");
    enum gp_status status;

    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return GP_ERR_INVALID;
    status = be_ledger_attach(fd, (unsigned)gp_options_u64(options, "slot"), ledger_p);
    for (int i = 0; i < driver->device_count && status == GP_OK; i++) {
        size_t total = 0;
        CUdevice device;

        if (driver->table.cuDeviceGet(&device, i) != CUDA_SUCCESS ||
            driver->table.cuDeviceTotalMem_v2(&total, device) != CUDA_SUCCESS)
            return GP_ERR_IO;
        /* Software devices are a process's own, unless tenants shall share them. */
        be_ledger_set_device(*ledger_p, (unsigned)i, total,
                             !driver->software || be_ledger_governed(*ledger_p) ||
                                 be_ledger_paged(*ledger_p));
        /* The first worker is alone, so what a context takes can be seen. */
        if (be_ledger_governed(*ledger_p) &&
            be_ledger_context_cost(*ledger_p, (unsigned)i) == UINT64_MAX)
            be_ledger_set_context_cost(*ledger_p, (unsigned)i, be_account_context_cost(driver, i));
    }
    return status;
}

/* What the devices are, for the supervisor, which cannot look. */
static enum gp_status
board_open(const struct gp_options *options, const struct be_driver *driver,
           struct be_board **board_p)
{
    GP_AUTO_FREE struct be_board_driver *seen = calloc(1, sizeof(*seen));
    GP_AUTO_FREE struct wire_device *devices = NULL;
    int fd = (int)gp_options_u64(options, "board");
    enum gp_status status;

    if (seen == NULL || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return GP_ERR_INVALID;
    status = be_board_attach(fd, board_p);
    if (status != GP_OK || be_board_driver(*board_p, seen))
        return status;
    status = be_devices_describe(driver, &devices);
    snprintf(seen->text, sizeof(seen->text), "%.*s", BE_BOARD_TEXT - 1, driver->text);
    seen->version = driver->version;
    seen->software = driver->software;
    for (int i = 0; status == GP_OK && i < driver->device_count && i < BE_BOARD_GPUS; i++) {
        const struct wire_device *from = &devices[i];
        struct be_board_gpu *to = &seen->gpus[seen->gpu_count++];

        snprintf(to->name, sizeof(to->name), "%.*s", BE_BOARD_TEXT - 1, from->name);
        memcpy(to->pci, from->pci_bus_id, sizeof(to->pci));
        memcpy(to->uuid, from->uuid, sizeof(to->uuid));
        to->total_bytes = from->total_bytes;
        to->major = (uint32_t)from->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR];
        to->minor = (uint32_t)from->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR];
        to->processors = (uint32_t)from->attributes[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT];
    }
    if (status == GP_OK)
        be_board_set_driver(*board_p, seen);
    return status;
}

static enum gp_status
signals_open(int *fd_p)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1); /* an operator ends this session */
    signal(SIGPIPE, SIG_IGN);
    /* Ctrl-C on a terminal reaches the whole group; the supervisor decides. */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    *fd_p = signalfd(-1, &set, SFD_CLOEXEC);
    return *fd_p >= 0 ? GP_OK : GP_ERR_IO;
}

/* -- the session
 * ------------------------------------------------------------------------------------ */

/* What is offered: all there is, but what a test wants masked. */
static uint64_t
features(const struct gp_options *options)
{
    uint64_t offered = WIRE_FEATURE_RESUME | WIRE_FEATURE_PROMISE | WIRE_FEATURE_COMPRESS, bit;

    if (gp_options_u64(options, "content-cache-bytes") > 0)
        offered |= WIRE_FEATURE_CONTENT;
    for (size_t i = 0; i < gp_options_count(options, "mask-feature"); i++)
        if (wire_feature_by_name(gp_options_at(options, "mask-feature", i), &bit) == GP_OK)
            offered &= ~bit;
    return offered;
}

static void
config_fill(const struct gp_options *options, const struct be_driver *driver,
            struct be_ledger *ledger, int print_fd, int spill_fd, struct be_open_config *config)
{
    static const char *rules[64];
    static char host[256];

    memset(config, 0, sizeof(*config));
    config->session.driver = driver;
    config->session.print_fd = print_fd;
    config->session.ledger = ledger;
    config->session.images_fd =
        gp_options_is_set(options, "images") ? (int)gp_options_u64(options, "images") : -1;
    config->session.contents = gp_options_u64(options, "content-cache-bytes") > 0;
    config->session.contents_shared = gp_options_flag(options, "content-share");
    config->session.scrub = gp_options_flag(options, "scrub");
    config->session.swap = (struct be_swap_opts){
        .keep_bytes = driver->software ? 0 : BE_KEEP_BYTES,
        .spill_fd = spill_fd,
        .pack = be_options_pack(options),
        .spill_always = gp_options_flag(options, "spill-always"),
        .fault = (unsigned)gp_options_u64(options, "swap-fault"),
    };
    config->session.evict_every = (unsigned)gp_options_u64(options, "evict-every");
    config->session.lease_bytes = gp_options_u64(options, "lease-max");
    config->session.limits.upload_bytes = gp_options_u64(options, "image-max");
    config->session.limits.put_ns = gp_options_u64(options, "peer-time");
    config->session.limits.straight = gp_options_flag(options, "straight");
    config->session.limits.direct =
        gp_options_flag(options, "gpudirect") && gp_options_count(options, "rdma-fabric") > 0;
    config->session.limits.spin_us = (uint32_t)(gp_options_u64(options, "spin") / GP_NS_PER_US);
    config->max_payload_bytes =
        (uint32_t)gp_min_u64(gp_options_u64(options, "frame-max"), WIRE_FRAME_PAYLOAD_MAX);
    config->deadline_ns = gp_deadline_after(gp_now_ns(), gp_options_u64(options, "handshake-time"));
    config->grace_ms =
        (uint32_t)gp_min_u64(gp_options_u64(options, "grace") / GP_NS_PER_MS, UINT32_MAX);
    config->lines_max = (uint32_t)gp_min_u64(gp_options_u64(options, "lines-max"), TP_BUNDLE_MAX);
    config->heartbeat_ms =
        (uint32_t)gp_min_u64(gp_options_u64(options, "heartbeat") / GP_NS_PER_MS, UINT32_MAX);
    config->features = features(options);
    config->wire_format = WIRE_FORMAT;
    if (gp_options_is_set(options, "wire-format"))
        config->wire_format = (uint32_t)gp_options_u64(options, "wire-format");
    for (size_t i = 0; i + 1 < GP_ARRAY_LEN(rules) && i < gp_options_count(options, "model-key");
         i++)
        rules[i] = gp_options_at(options, "model-key", i);
    config->model_rules = rules;
    config->server_name = gp_options_text(options, "name");
    if (config->server_name == NULL) {
        if (gethostname(host, sizeof(host) - 1) != 0)
            snprintf(host, sizeof(host), "gpupoold");
        config->server_name = host;
    }
}

/* Valid as long as the options are. */
static struct tp_rdma_opts
fabrics(const struct gp_options *options)
{
    static const char *names[BE_FABRICS_MAX];
    size_t count = gp_options_count(options, "rdma-fabric");

    for (size_t i = 0; i < count && i < BE_FABRICS_MAX; i++)
        names[i] = gp_options_at(options, "rdma-fabric", i);
    return (struct tp_rdma_opts){
        names, gp_min_u64(count, BE_FABRICS_MAX),
        (uint32_t)gp_min_u64(gp_options_u64(options, "rdma-ports"), UINT32_MAX)};
}

/* What the operator wants of a connection. */
static void
socket_fill(const struct gp_options *options, struct tp_opts *opts)
{
    opts->congestion = gp_options_text(options, "tcp-congestion");
    opts->send_buffer_bytes =
        (uint32_t)gp_min_u64(gp_options_u64(options, "tcp-send-buffer"), INT32_MAX);
    opts->recv_buffer_bytes =
        (uint32_t)gp_min_u64(gp_options_u64(options, "tcp-recv-buffer"), INT32_MAX);
    opts->rdma = fabrics(options);
    opts->kernel_tls = gp_options_flag(options, "tls-kernel");
    opts->rekey_bytes = gp_options_u64(options, "tls-rekey");
    opts->keepalive_s = (uint32_t)gp_min_u64(
        (gp_options_u64(options, "tcp-keepalive") + GP_NS_PER_S - 1) / GP_NS_PER_S, INT16_MAX);
}

static enum gp_status
lane_adopt(const struct gp_options *options, const struct be_open_config *config,
           const struct be_handoff *what, int fd, struct tp_lane **lane_p)
{
    struct tp_opts opts = {
        .framing = &wire_framing,
        .max_payload_bytes = config->max_payload_bytes,
        .deadline_ns = config->deadline_ns,
        .tls = {.cert_path = gp_options_text(options, "tls-cert"),
                .key_path = gp_options_text(options, "tls-key"),
                .ca_path = gp_options_text(options, "tls-ca"),
                .crl_path = gp_options_text(options, "tls-crl")},
    };

    socket_fill(options, &opts);
    return tp_adopt(what->scheme, fd, TP_SERVER, &opts, lane_p);
}

/* What one session needs beside itself. */
struct be_service {
    struct be_open_config config;
    struct be_opened opened;
    struct be_line line;
    struct be_watch watch;
    struct be_resume resume;
    struct be_put_lines *puts; /* NULL: nobody copies here from elsewhere, nor away */
    struct tp_lane *lane;
    struct be_relay relay;
    int socket; /* the supervisor's */
    uint64_t grace_ns;
};

/* be_open_config.operator */
static void
operator(void *user, struct tp_lane *lane, struct be_line *line, const struct tp_frame *request)
{
    struct be_service *v = user;

    v->relay.seen = v->opened.seen;
    be_relay_run(&v->relay, lane, line, request);
}

/* The supervisor knows whom to send the client to before the client can ask for it. */
static void
session_named(void *user, uint64_t session_id)
{
    const struct be_service *v = user;
    const struct be_word word = {.state = BE_WORKER_SERVING, .session_id = session_id};

    be_handoff_tell(v->socket, &word);
}

/* be_put_lines_config.dial */
static void
dial(void *user, const struct sockaddr_storage *to, uint64_t number)
{
    const struct be_service *v = user;
    const struct be_word word = {.state = BE_WORKER_SERVING, .dial_number = number, .dial = *to};

    be_handoff_tell(v->socket, &word);
}

/* Whose session can be found again can be copied to. */
static enum gp_status
puts_open(struct be_service *v, struct be_session *session)
{
    struct be_put_lines_config config = {.puts = session->puts,
                                         .row = v->config.session.row,
                                         .socket = v->resume.socket,
                                         .dial = dial,
                                         .user = v};
    enum gp_status status = be_put_lines_create(&config, &v->puts);

    if (status == GP_OK) {
        v->resume.puts = v->puts;
        be_puts_open(session->puts, v->opened.session_id, v->puts);
    }
    return status;
}

/* The session outlives its line from now on, if client and operator want that. */
static enum gp_status
survive(struct be_service *v, struct be_session *session, const struct gp_options *options)
{
    struct tp_link_opts opts = {.take_in = true, .changed = be_watch_changed, .user = &v->watch};
    struct tp_lane *lane = v->lane;
    enum gp_status status;

    if (v->grace_ns == 0 || (v->opened.features & WIRE_FEATURE_RESUME) == 0)
        return GP_OK;
    be_watch_stop(&v->watch); /* it watches the lane that is about to be wrapped */
    v->watch.resume = &v->resume;
    status = be_resume_init(&v->resume, lane, &v->opened);
    if (status != GP_OK)
        return status;
    v->lane = v->line.lane = NULL;
    status = tp_link_wrap(lane, &opts, &v->lane);
    if (status != GP_OK)
        return status;
    socket_fill(options, &v->resume.socket);
    status = puts_open(v, session);
    if (status != GP_OK)
        return status;
    v->resume.link = v->lane;
    v->resume.max_payload_bytes = v->config.max_payload_bytes;
    v->resume.lines_max = v->config.lines_max;
    v->line.lane = v->lane;
    v->watch.lane = v->lane;
    v->watch.supervisor = v->socket;
    v->watch.grace_ns = v->grace_ns;
    return be_watch_start(&v->watch);
}

static void
run(struct be_service *v, struct be_session *session)
{
    const struct be_word serving = {.state = BE_WORKER_SERVING};

    if (v->watch.resume == NULL) /* else it was told, with the session's id */
        be_handoff_tell(v->socket, &serving);
    tp_set_spin(v->lane, v->config.session.limits.spin_us);
    (void)be_session_run(session);
    /* The client hears at once that it is over; what it had is ended behind that. */
    tp_shutdown(v->lane);
}

/* True if a session ran. */
static bool
serve(const struct gp_options *options, const struct be_driver *driver, struct be_ledger *ledger,
      struct be_board_row *row, int print_fd, int spill_fd, int socket, int signals,
      const struct be_handoff *what, int fd)
{
    static struct be_service v; /* one in a process; threads know it */
    struct be_session *session = NULL;
    enum gp_status status;

    config_fill(options, driver, ledger, print_fd, spill_fd, &v.config);
    v.config.refuse = (enum wire_control_code)what->refuse;
    v.config.session.row = row;
    v.config.named = session_named;
    for (int i = 0; i < BE_LANES_MAX; i++)
        if (what->lanes[i][0] != '\0')
            v.config.lanes[v.config.lane_count++] = what->lanes[i];
    v.config.operator= operator;
    v.relay = (struct be_relay){.options = options, .row = row, .socket = socket};
    v.config.user = &v;
    v.socket = socket;
    v.grace_ns = gp_options_u64(options, "grace");
    if (lane_adopt(options, &v.config, what, fd, &v.lane) != GP_OK)
        return false; /* logged there */
    if ((tp_caps(v.lane) & TP_CAP_STEADY) != 0)
        v.config.features &= ~WIRE_FEATURE_RESUME; /* it ends with the client only */
    be_line_init(&v.line, v.lane, WIRE_FRAME_PAYLOAD_MIN);
    v.watch = (struct be_watch){.lane = v.lane, .line = &v.line, .signals = signals};
    v.watch.beat_ns = v.config.heartbeat_ms * GP_NS_PER_MS / 2;
    status = be_watch_start(&v.watch);
    if (status == GP_OK) {
        status = be_session_open(&v.config, v.lane, &v.line, &v.opened, &session);
        if (status == GP_OK)
            status = survive(&v, session, options);
        if (status == GP_OK)
            run(&v, session);
        be_session_destroy(session);
        be_watch_stop(&v.watch);
    }
    if (v.watch.resume != NULL)
        be_resume_fini(&v.resume);
    be_put_lines_destroy(v.puts);
    explicit_bzero(v.opened.secret, sizeof(v.opened.secret));
    tp_close(v.lane);
    be_line_fini(&v.line);
    return status == GP_OK;
}

int
be_worker_run(const struct gp_options *options, int socket)
{
    static const struct be_word ready = {.state = BE_WORKER_READY};
    struct be_ledger *ledger = NULL;
    struct be_board *board = NULL;
    struct be_board_row *row;
    struct be_handoff what;
    struct be_driver driver;
    enum gp_status status;
    int print_fd, spill_fd = -1, signals, fd;

    if (fcntl(socket, F_SETFD, FD_CLOEXEC) != 0 ||
        (gp_options_is_set(options, "images") &&
         fcntl((int)gp_options_u64(options, "images"), F_SETFD, FD_CLOEXEC) != 0)) {
        log_error("worker: --worker is for the supervisor only");
        return 2;
    }
    status = process_confine();
    if (status == GP_OK && gp_options_is_set(options, "spill"))
        spill_fd = be_stash_open_spill(gp_options_text(options, "spill")); /* else without */
    if (status == GP_OK && gp_options_flag(options, "sandbox") &&
        driver_is_real(gp_options_text(options, "driver")))
        be_sandbox_files();
    if (status == GP_OK)
        status = signals_open(&signals);
    if (status == GP_OK)
        status = output_catch(&print_fd);
    if (status == GP_OK)
        status = driver_open(gp_options_text(options, "driver"), &driver);
    if (status == GP_OK && gp_options_is_set(options, "ledger"))
        status = ledger_open(options, &driver, &ledger);
    if (status == GP_OK && gp_options_is_set(options, "spill") && spill_fd < 0)
        be_ledger_set_spill_bad(ledger, true); /* nobody is let in by what is not there */
    if (status == GP_OK && gp_options_is_set(options, "board"))
        status = board_open(options, &driver, &board);
    if (status == GP_OK && gp_options_flag(options, "sandbox"))
        status = be_sandbox_calls();
    if (status != GP_OK)
        return 1;
    row = be_board_row(board, (unsigned)gp_options_u64(options, "slot"));
    be_count_init();
    be_handoff_tell(socket, &ready);
    status = be_handoff_receive(socket, &what, &fd);
    if (status == GP_OK &&
        serve(options, &driver, ledger, row, print_fd, spill_fd, socket, signals, &what, fd))
        log_info("session ended");
    be_driver_close(&driver);
    be_ledger_close(ledger);
    be_board_close(board);
    return status == GP_OK || status == GP_ERR_CLOSED ? 0 : 1;
}
