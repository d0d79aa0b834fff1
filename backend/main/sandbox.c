/* backend/main/sandbox.c */
#include "backend/main/sandbox.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BE_FILES_MAX 4096u

#if defined(__x86_64__)
#define BE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define BE_ARCH AUDIT_ARCH_AARCH64
#endif

/* -- files ------------------------------------------------------------------------------------- */

/* Kinds of access that the first version of Landlock knows and that change something. */
#define BE_WRITES                                                                                  \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                               \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |   \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_EXECUTE)

static void
allow_below(int rules, const char *path)
{
    struct landlock_path_beneath_attr below = {.allowed_access = BE_WRITES};
    GP_AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);

    below.parent_fd = fd;
    if (fd < 0 || syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0) != 0)
        log_debug("worker: %s stays as it is: %m", path);
}

void
be_sandbox_files(void)
{
    struct landlock_ruleset_attr attr = {.handled_access_fs = BE_WRITES};
    GP_AUTO_CLOSE int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);

    if (rules < 0) {
        log_debug("worker: this kernel cannot keep files from being written: %m");
        return;
    }
    allow_below(rules, "/dev");
    allow_below(rules, "/proc");
    if (syscall(SYS_landlock_restrict_self, rules, 0) != 0)
        log_debug("worker: files can still be written: %m");
}

/* A sanitizer's own run time makes processes and looks into them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BE_SANITIZED 1
#endif
#endif

/* -- system calls ------------------------------------------------------------------------------ */

#ifdef BE_ARCH

#define DENY(error)  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((error)&SECCOMP_RET_DATA))
#define ALLOW        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define LOAD(field)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define REFUSE(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), DENY(EPERM)

static struct sock_filter filter[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BE_ARCH, 1, 0),
    DENY(EPERM),
    LOAD(nr),
#ifdef __x86_64__
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1), /* the x32 calls */
    DENY(ENOSYS),
    REFUSE(fork),
    REFUSE(vfork),
    REFUSE(iopl),
    REFUSE(ioperm),
    REFUSE(modify_ldt),
#endif
    /* other programs and processes */
    REFUSE(execve),
    REFUSE(execveat),
    REFUSE(ptrace),
    REFUSE(process_vm_readv),
    REFUSE(process_vm_writev),
    REFUSE(pidfd_getfd),
    /* places, rights and names */
    REFUSE(mount),
    REFUSE(umount2),
    REFUSE(move_mount),
    REFUSE(open_tree),
    REFUSE(fsopen),
    REFUSE(fsmount),
    REFUSE(pivot_root),
    REFUSE(chroot),
    REFUSE(setns),
    REFUSE(unshare),
    REFUSE(setuid),
    REFUSE(setgid),
    REFUSE(setgroups),
    REFUSE(setresuid),
    REFUSE(setresgid),
    REFUSE(capset),
    REFUSE(sethostname),
    REFUSE(setdomainname),
    REFUSE(keyctl),
    REFUSE(add_key),
    REFUSE(request_key),
    REFUSE(open_by_handle_at),
    /* the kernel and the machine */
    REFUSE(bpf),
    REFUSE(perf_event_open),
    REFUSE(userfaultfd),
    REFUSE(io_uring_setup),
    REFUSE(init_module),
    REFUSE(finit_module),
    REFUSE(delete_module),
    REFUSE(kexec_load),
    REFUSE(reboot),
    REFUSE(swapon),
    REFUSE(swapoff),
    REFUSE(acct),
    REFUSE(quotactl),
    REFUSE(settimeofday),
    REFUSE(clock_settime),
    REFUSE(adjtimex),
    REFUSE(clock_adjtime),
    REFUSE(syslog),
    /* New threads are fine, new processes are not. The flags of clone3() cannot be seen; without it
     * the C library takes clone(). */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
    DENY(ENOSYS),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
    DENY(EPERM),
    ALLOW,
    /* Connections that are there stay; of new ones only those inside the machine. */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5),
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 1, 0),
    DENY(EACCES),
    ALLOW,
    ALLOW,
};

static enum gp_status
calls_filter(void)
{
    struct sock_fprog program = {.len = GP_ARRAY_LEN(filter), .filter = filter};
    long rc = 0;

#ifndef BE_SANITIZED
    rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
#else
    (void)program;
#endif
    if (rc != 0) {
        log_error("worker: the system-call filter cannot be set: %m");
        return GP_ERR_IO;
    }
    return GP_OK;
}

#else

static enum gp_status
calls_filter(void)
{
    log_warn("worker: no system-call filter on this kind of machine");
    return GP_OK;
}

#endif

enum gp_status
be_sandbox_calls(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > BE_FILES_MAX) {
        files.rlim_cur = files.rlim_max = BE_FILES_MAX;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            log_debug("worker: the limit of files stays: %m");
    }
    return calls_filter();
}
