/* backend/main/worker.c -- one worker, one session, one tenant */
#include "backend/main/worker.h"

#include "backend/cuda/account.h"
#include "backend/session/session.h"
#include "backend/supervisor/handoff.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/negotiate.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* What a session may take to end before its process does so by force. */
#define BE_END_MS 5000

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
                             !driver->software || be_ledger_governed(*ledger_p));
        /* The first worker is alone, so what a context takes can be seen. */
        if (be_ledger_governed(*ledger_p) &&
            be_ledger_context_cost(*ledger_p, (unsigned)i) == UINT64_MAX)
            be_ledger_set_context_cost(*ledger_p, (unsigned)i, be_account_context_cost(driver, i));
    }
    return status;
}

/* -- the watch
 * -------------------------------------------------------------------------------------- */

/* A thread beside the executor: it sees a client that goes away while the executor is inside the
 * driver, and the supervisor's wish to end. */
struct be_watch {
    pthread_t thread;
    struct tp_lane *lane;
    struct be_line *line;
    int signals, end; /* end: eventfd */
};

static void
watch_end_by_force(struct be_watch *watch)
{
    struct pollfd end = {.fd = watch->end, .events = POLLIN};

    if (poll(&end, 1, BE_END_MS) > 0)
        return;
    log_warn("worker: the session's work on the device does not end, the process does");
    _exit(0);
}

static void *
watch_main(void *arg)
{
    struct be_watch *watch = arg;
    struct pollfd polls[] = {
        {.fd = tp_event_fd(watch->lane), .events = POLLRDHUP},
        {.fd = watch->signals, .events = POLLIN},
        {.fd = watch->end, .events = POLLIN},
    };

    while (poll(polls, GP_ARRAY_LEN(polls), -1) < 0 && errno == EINTR)
        ;
    if (polls[2].revents == 0 && polls[1].revents != 0) {
        be_line_frame(watch->line, WIRE_FRAME_BYE, WIRE_CODE_DRAINING, NULL, 0);
        be_line_flush(watch->line);
        tp_shutdown(watch->lane);
    }
    watch_end_by_force(watch);
    return NULL;
}

static enum gp_status
watch_start(struct be_watch *watch, struct tp_lane *lane, struct be_line *line, int signals)
{
    watch->lane = lane;
    watch->line = line;
    watch->signals = signals;
    watch->end = eventfd(0, EFD_CLOEXEC);
    if (watch->end < 0 || pthread_create(&watch->thread, NULL, watch_main, watch) != 0) {
        log_error("worker: cannot start the watch: %m");
        return GP_ERR_NO_MEMORY;
    }
    return GP_OK;
}

static void
watch_stop(struct be_watch *watch)
{
    uint64_t one = 1;

    (void)!write(watch->end, &one, sizeof(one));
    pthread_join(watch->thread, NULL);
    close(watch->end);
}

static enum gp_status
signals_open(int *fd_p)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
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

static void
config_fill(const struct gp_options *options, const struct be_driver *driver,
            struct be_ledger *ledger, int print_fd, struct be_open_config *config)
{
    static char host[256];

    memset(config, 0, sizeof(*config));
    config->session.driver = driver;
    config->session.print_fd = print_fd;
    config->session.ledger = ledger;
    config->session.lease_bytes = gp_options_u64(options, "lease-max");
    config->session.limits.upload_bytes = gp_options_u64(options, "image-max");
    config->session.limits.spin_us = (uint32_t)(gp_options_u64(options, "spin") / GP_NS_PER_US);
    config->max_payload_bytes =
        (uint32_t)gp_min_u64(gp_options_u64(options, "frame-max"), WIRE_FRAME_PAYLOAD_MAX);
    config->deadline_ns = gp_deadline_after(gp_now_ns(), gp_options_u64(options, "handshake-time"));
    config->wire_format = WIRE_FORMAT;
    if (gp_options_is_set(options, "wire-format"))
        config->wire_format = (uint32_t)gp_options_u64(options, "wire-format");
    config->server_name = gp_options_text(options, "name");
    if (config->server_name == NULL) {
        if (gethostname(host, sizeof(host) - 1) != 0)
            snprintf(host, sizeof(host), "gpupoold");
        config->server_name = host;
    }
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
                .ca_path = gp_options_text(options, "tls-ca")},
    };

    return tp_adopt(what->scheme, fd, TP_SERVER, &opts, lane_p);
}

/* True if a session ran. */
static bool
serve(const struct gp_options *options, const struct be_driver *driver, struct be_ledger *ledger,
      int print_fd, int socket, int signals, const struct be_handoff *what, int fd)
{
    struct be_session *session = NULL;
    struct be_open_config config;
    struct tp_lane *lane;
    struct be_watch watch;
    struct be_line line;
    enum gp_status status;

    config_fill(options, driver, ledger, print_fd, &config);
    config.refuse = (enum wire_control_code)what->refuse;
    if (lane_adopt(options, &config, what, fd, &lane) != GP_OK)
        return false; /* logged there */
    be_line_init(&line, lane, WIRE_FRAME_PAYLOAD_MIN);
    status = watch_start(&watch, lane, &line, signals);
    if (status == GP_OK) {
        status = be_session_open(&config, lane, &line, &session);
        if (status == GP_OK) {
            be_handoff_tell(socket, BE_WORKER_SERVING);
            tp_set_spin(lane, config.session.limits.spin_us);
            (void)be_session_run(session);
            /* The client hears at once that it is over; what it had is ended behind that. */
            tp_shutdown(lane);
            be_session_destroy(session);
        }
        watch_stop(&watch);
    }
    tp_close(lane);
    be_line_fini(&line);
    return status == GP_OK;
}

int
be_worker_run(const struct gp_options *options, int socket)
{
    struct be_ledger *ledger = NULL;
    struct be_handoff what;
    struct be_driver driver;
    enum gp_status status;
    int print_fd, signals, fd;

    if (fcntl(socket, F_SETFD, FD_CLOEXEC) != 0) {
        log_error("worker: --worker is for the supervisor only");
        return 2;
    }
    status = process_confine();
    if (status == GP_OK)
        status = signals_open(&signals);
    if (status == GP_OK)
        status = output_catch(&print_fd);
    if (status == GP_OK)
        status = driver_open(gp_options_text(options, "driver"), &driver);
    if (status == GP_OK && gp_options_is_set(options, "ledger"))
        status = ledger_open(options, &driver, &ledger);
    if (status != GP_OK)
        return 1;
    be_handoff_tell(socket, BE_WORKER_READY);
    status = be_handoff_receive(socket, &what, &fd);
    if (status == GP_ERR_CLOSED)
        return 0;
    if (status != GP_OK)
        return 1;
    if (serve(options, &driver, ledger, print_fd, socket, signals, &what, fd))
        log_info("session ended");
    be_driver_close(&driver);
    be_ledger_close(ledger);
    return 0;
}
