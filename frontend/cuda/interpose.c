/* frontend/cuda/interpose.c */
#include "frontend/cuda/interpose.h"

#include "frontend/cuda/coherent.h"
#include "frontend/cuda/fault.h"
#include "protocol/base/util.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define OBJECTS_MAX 4096

/* --- what stands in ------------------------------------------------------------- */

static void
ready(const void *bytes, size_t len, bool write)
{
    fe_coherent_resolve_range(bytes, len, write);
}

static void
ready_iov(const struct iovec *iov, size_t count, bool write)
{
    if (!fe_coherent_active())
        return;
    ready(iov, count * sizeof(*iov), false);
    for (size_t i = 0; i < count; i++)
        ready(iov[i].iov_base, iov[i].iov_len, write);
}

static void
ready_msg(const struct msghdr *msg, bool write)
{
    if (!fe_coherent_active())
        return;
    ready(msg, sizeof(*msg), write);
    ready_iov(msg->msg_iov, msg->msg_iovlen, write);
    ready(msg->msg_name, msg->msg_namelen, write);
    ready(msg->msg_control, msg->msg_controllen, write);
}

/* Other work may take a page away between bringing it and the kernel's touch: once more then. */
#define AGAIN_MAX 64
#define AGAIN(result, call, bring)                                                                 \
    for (int tries_ = 0; tries_ < AGAIN_MAX; tries_++) {                                           \
        bring;                                                                                     \
        result = call;                                                                             \
        if (!((result) < 0 && errno == EFAULT && fe_coherent_active()))                            \
            break;                                                                                 \
    }

#define STANDS_IN(name, params, args, bytes, len, write)                                           \
    static ssize_t in_##name params                                                                \
    {                                                                                              \
        ssize_t n_ = -1;                                                                           \
                                                                                                   \
        AGAIN(n_, name args, ready(bytes, len, write))                                             \
        return n_;                                                                                 \
    }

#define STANDS_IN_IOV(name, params, args, write)                                                   \
    static ssize_t in_##name params                                                                \
    {                                                                                              \
        ssize_t n_ = -1;                                                                           \
                                                                                                   \
        AGAIN(n_, name args, ready_iov(iov, (size_t)(count < 0 ? 0 : count), write))               \
        return n_;                                                                                 \
    }

STANDS_IN(read, (int fd, void *buf, size_t len), (fd, buf, len), buf, len, true)
STANDS_IN(pread, (int fd, void *buf, size_t len, off_t at), (fd, buf, len, at), buf, len, true)
STANDS_IN(write, (int fd, const void *buf, size_t len), (fd, buf, len), buf, len, false)
STANDS_IN(pwrite, (int fd, const void *buf, size_t len, off_t at), (fd, buf, len, at), buf, len,
          false)
STANDS_IN(recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags), buf, len, true)
STANDS_IN(send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags), buf, len,
          false)
STANDS_IN(recvfrom,
          (int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *from_len),
          (fd, buf, len, flags, from, from_len), buf, len, true)
STANDS_IN(sendto,
          (int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
           socklen_t to_len),
          (fd, buf, len, flags, to, to_len), buf, len, false)
STANDS_IN(getrandom, (void *buf, size_t len, unsigned flags), (buf, len, flags), buf, len, true)
STANDS_IN_IOV(readv, (int fd, const struct iovec *iov, int count), (fd, iov, count), true)
STANDS_IN_IOV(writev, (int fd, const struct iovec *iov, int count), (fd, iov, count), false)
STANDS_IN_IOV(preadv, (int fd, const struct iovec *iov, int count, off_t at), (fd, iov, count, at),
              true)
STANDS_IN_IOV(pwritev, (int fd, const struct iovec *iov, int count, off_t at), (fd, iov, count, at),
              false)

static ssize_t
in_recvmsg(int fd, struct msghdr *msg, int flags)
{
    ssize_t n = -1;

    AGAIN(n, recvmsg(fd, msg, flags), ready_msg(msg, true))
    return n;
}

static ssize_t
in_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    ssize_t n = -1;

    AGAIN(n, sendmsg(fd, msg, flags), ready_msg(msg, false))
    return n;
}

/* libc's own streams call the kernel by themselves. */
static size_t
in_fread(void *buf, size_t size, size_t count, FILE *file)
{
    size_t len;

    if (!__builtin_mul_overflow(size, count, &len))
        ready(buf, len, true);
    return fread(buf, size, count, file);
}

static size_t
in_fwrite(const void *buf, size_t size, size_t count, FILE *file)
{
    size_t len;

    if (!__builtin_mul_overflow(size, count, &len))
        ready(buf, len, false);
    return fwrite(buf, size, count, file);
}

/* The checked forms: what they check, the plain ones' callers know. */
static ssize_t
in_read_chk(int fd, void *buf, size_t len, size_t room)
{
    return in_read(fd, buf, len < room ? len : room);
}

static ssize_t
in_pread_chk(int fd, void *buf, size_t len, off_t at, size_t room)
{
    return in_pread(fd, buf, len < room ? len : room, at);
}

static ssize_t
in_recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
    return in_recv(fd, buf, len < room ? len : room, flags);
}

static size_t
in_fread_chk(void *buf, size_t room, size_t size, size_t count, FILE *file)
{
    return size != 0 && count > room / size ? 0 : in_fread(buf, size, count, file);
}

/* -- signals -- */

static int
in_sigaction(int number, const struct sigaction *act, struct sigaction *old)
{
    return number == SIGSEGV ? fe_fault_sigaction(act, old) : sigaction(number, act, old);
}

static sighandler_t
in_signal(int number, sighandler_t handler)
{
    struct sigaction act, old;

    if (number != SIGSEGV)
        return signal(number, handler);
    memset(&act, 0, sizeof(act));
    act.sa_handler = handler;
    act.sa_flags = SA_RESTART;
    (void)fe_fault_sigaction(&act, &old);
    return old.sa_handler;
}

/* A thread that blocks SIGSEGV would die of its first touch. */
static const sigset_t *
without_fault(int how, const sigset_t *set, sigset_t *copy)
{
    if (set == NULL || how == SIG_UNBLOCK || !sigismember(set, SIGSEGV))
        return set;
    *copy = *set;
    sigdelset(copy, SIGSEGV);
    return copy;
}

static int
in_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t copy;

    return pthread_sigmask(how, without_fault(how, set, &copy), old);
}

static int
in_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t copy;

    return sigprocmask(how, without_fault(how, set, &copy), old);
}

/* --- where ---------------------------------------------------------------------------- */

struct stand_in {
    const char *name;
    void *function;
};

#define ROW(name, function)                                                                        \
    {                                                                                              \
        name, (void *)(function)                                                                   \
    }
static const struct stand_in rows[] = {
    ROW("read", in_read),
    ROW("pread", in_pread),
    ROW("pread64", in_pread),
    ROW("readv", in_readv),
    ROW("preadv", in_preadv),
    ROW("preadv64", in_preadv),
    ROW("write", in_write),
    ROW("pwrite", in_pwrite),
    ROW("pwrite64", in_pwrite),
    ROW("writev", in_writev),
    ROW("pwritev", in_pwritev),
    ROW("pwritev64", in_pwritev),
    ROW("recv", in_recv),
    ROW("recvfrom", in_recvfrom),
    ROW("recvmsg", in_recvmsg),
    ROW("send", in_send),
    ROW("sendto", in_sendto),
    ROW("sendmsg", in_sendmsg),
    ROW("getrandom", in_getrandom),
    ROW("fread", in_fread),
    ROW("fread_unlocked", in_fread),
    ROW("fwrite", in_fwrite),
    ROW("fwrite_unlocked", in_fwrite),
    ROW("__read_chk", in_read_chk),
    ROW("__pread_chk", in_pread_chk),
    ROW("__pread64_chk", in_pread_chk),
    ROW("__recv_chk", in_recv_chk),
    ROW("__fread_chk", in_fread_chk),
    ROW("sigaction", in_sigaction),
    ROW("signal", in_signal),
    ROW("pthread_sigmask", in_pthread_sigmask),
    ROW("sigprocmask", in_sigprocmask),
};

static void *
stand_in_of(const char *name)
{
    for (size_t i = 0; i < GP_ARRAY_LEN(rows); i++)
        if (strcmp(name, rows[i].name) == 0)
            return rows[i].function;
    return NULL;
}

/* Its dynamic section, as far as we need it. */
struct object {
    const ElfW(Sym) * symbols;
    const char *names;
    const ElfW(Rela) * rela, *jumps;
    size_t rela_bytes, jumps_bytes;
    uintptr_t load, relro, relro_end;
};

static void
patch_slot(const struct object *o, uintptr_t slot, void *function)
{
    uintptr_t page = slot & ~((uintptr_t)FE_PAGE_BYTES - 1);
    bool sealed = slot >= o->relro && slot < o->relro_end;

    if (__atomic_load_n((void **)slot, __ATOMIC_RELAXED) == function)
        return;
    if (sealed && mprotect((void *)page, FE_PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
        return;
    __atomic_store_n((void **)slot, function, __ATOMIC_RELEASE);
    if (sealed)
        (void)mprotect((void *)page, FE_PAGE_BYTES, PROT_READ);
}

static void
patch_rows(const struct object *o, const ElfW(Rela) * rela, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(*rela); i++) {
        unsigned type = (unsigned)ELF64_R_TYPE(rela[i].r_info);
        void *function;

        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT)
            continue;
        function = stand_in_of(o->names + o->symbols[ELF64_R_SYM(rela[i].r_info)].st_name);
        if (function != NULL)
            patch_slot(o, o->load + rela[i].r_offset, function);
    }
}

static bool
read_dynamic(const ElfW(Dyn) * d, struct object *o)
{
    for (; d->d_tag != DT_NULL; d++) {
        switch (d->d_tag) {
        case DT_SYMTAB:
            o->symbols = (const void *)d->d_un.d_ptr;
            break;
        case DT_STRTAB:
            o->names = (const char *)d->d_un.d_ptr;
            break;
        case DT_RELA:
            o->rela = (const void *)d->d_un.d_ptr;
            break;
        case DT_RELASZ:
            o->rela_bytes = d->d_un.d_val;
            break;
        case DT_JMPREL:
            o->jumps = (const void *)d->d_un.d_ptr;
            break;
        case DT_PLTRELSZ:
            o->jumps_bytes = d->d_un.d_val;
            break;
        default:
            break;
        }
    }
    /* glibc has made the pointers absolute; where it has not (the vdso), leave it alone. */
    return o->symbols != NULL && o->names != NULL && (uintptr_t)o->names >= o->load;
}

/* Ourselves, libc and the loader keep what they have. */
static bool
left_alone(const struct dl_phdr_info *info)
{
    static const char *const names[] = {"/libc.so", "/ld-linux", "linux-vdso", "/libpthread.so"};
    uintptr_t here = (uintptr_t)&fe_interpose, libc = (uintptr_t)&getpid;

    for (size_t i = 0; i < GP_ARRAY_LEN(names); i++)
        if (strstr(info->dlpi_name, names[i]) != NULL)
            return true;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + ph->p_vaddr;

        if (ph->p_type == PT_LOAD && ((here >= from && here - from < ph->p_memsz) ||
                                      (libc >= from && libc - from < ph->p_memsz)))
            return true;
    }
    return false;
}

static int
patch_object(struct dl_phdr_info *info, size_t size, void *user)
{
    struct object o = {.load = info->dlpi_addr};
    const ElfW(Dyn) *dynamic = NULL;

    (void)size;
    (void)user;
    if (left_alone(info))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

        if (ph->p_type == PT_DYNAMIC)
            dynamic = (const void *)(info->dlpi_addr + ph->p_vaddr);
        if (ph->p_type == PT_GNU_RELRO) {
            o.relro = (info->dlpi_addr + ph->p_vaddr) & ~((uintptr_t)FE_PAGE_BYTES - 1);
            o.relro_end =
                (info->dlpi_addr + ph->p_vaddr + ph->p_memsz) & ~((uintptr_t)FE_PAGE_BYTES - 1);
        }
    }
    if (dynamic == NULL || !read_dynamic(dynamic, &o))
        return 0;
    if (o.rela != NULL)
        patch_rows(&o, o.rela, o.rela_bytes);
    if (o.jumps != NULL)
        patch_rows(&o, o.jumps, o.jumps_bytes);
    return 0;
}

static int
count_loads(struct dl_phdr_info *info, size_t size, void *user)
{
    if (size >= offsetof(struct dl_phdr_info, dlpi_adds) + sizeof(info->dlpi_adds))
        *(unsigned long long *)user = info->dlpi_adds;
    return 1; /* the first tells */
}

void
fe_interpose(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static _Atomic unsigned long long seen;
    unsigned long long loads = 0;

    (void)dl_iterate_phdr(count_loads, &loads);
    if (loads == atomic_load(&seen))
        return;
    pthread_mutex_lock(&lock);
    if (loads != seen) {
        (void)dl_iterate_phdr(patch_object, NULL);
        atomic_store(&seen, loads);
    }
    pthread_mutex_unlock(&lock);
}
