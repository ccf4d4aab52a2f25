/* A library that is loaded into the engine by LD_PRELOAD. At one chosen system call on the journal, the call fails or
 * the process dies.
 *
 * FAULT=CALL:ACTION:N   at the N-th CALL, counted from the start of the process:
 *   CALL     write, fdatasync or ftruncate of a *.journal file; rename to such a file; fallocate of the next file;
 *            fsync of a directory
 *   ACTION   kill-before, kill-after: SIGKILL before or after the call; kill-short: SIGKILL after half of a write;
 *            short: write half and return that count; ENOSPC, EIO: fail with this error
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char call[16], action[16];
static long chosen, seen;

__attribute__((constructor)) static void set_up(void) {
    const char *fault = getenv("FAULT");
    if (fault && sscanf(fault, "%15[^:]:%15[^:]:%ld", call, action, &chosen) != 3)
        abort();
}

static int is(const char *name) { return strcmp(action, name) == 0; }

static int ends(const char *path, ssize_t size, const char *with) {
    ssize_t length = strlen(with);
    return size > length && memcmp(path + size - length, with, length) == 0;
}

static int named(int descriptor, const char *with) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    return ends(path, readlink(link, path, sizeof path), with);
}

/* A segment gets its header while its name is still "spare". */
static int of_journal(int descriptor) { return named(descriptor, ".journal") || named(descriptor, "/spare"); }
static int of_spare(int descriptor) { return named(descriptor, "/spare.part"); }

static int of_directory(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Return whether this is the chosen call. With kill-before, die here. */
static int hits(const char *name) {
    if (!chosen || strcmp(call, name) != 0 || __sync_add_and_fetch(&seen, 1) != chosen)
        return 0;
    if (is("kill-before"))
        raise(SIGKILL);
    return 1;
}

static int error(void) { return is("ENOSPC") ? ENOSPC : is("EIO") ? EIO : 0; }

/* Define a replacement of one system call. `applies` tells whether a call concerns the journal. */
#define FAULTY(type, name, declared, passed, said, applies)                                                            \
    type name declared {                                                                                               \
        static type(*real) declared;                                                                                   \
        if (!real)                                                                                                     \
            real = dlsym(RTLD_NEXT, #name);                                                                            \
        int hit = (applies) && hits(said);                                                                             \
        if (hit && error()) {                                                                                          \
            errno = error();                                                                                           \
            return strcmp(said, "fallocate") == 0 ? errno : -1;                                                        \
        }                                                                                                              \
        type result = real passed;                                                                                     \
        if (hit)                                                                                                       \
            raise(SIGKILL);                                                                                            \
        return result;                                                                                                 \
    }

FAULTY(int, fdatasync, (int descriptor), (descriptor), "fdatasync", of_journal(descriptor))
FAULTY(int, fsync, (int descriptor), (descriptor), "fsync", of_directory(descriptor))
FAULTY(int, ftruncate, (int descriptor, off_t size), (descriptor, size), "ftruncate", of_journal(descriptor))
FAULTY(int, ftruncate64, (int descriptor, off64_t size), (descriptor, size), "ftruncate", of_journal(descriptor))
FAULTY(int, posix_fallocate, (int descriptor, off_t from, off_t size), (descriptor, from, size), "fallocate",
       of_spare(descriptor))
FAULTY(int, posix_fallocate64, (int descriptor, off64_t from, off64_t size), (descriptor, from, size), "fallocate",
       of_spare(descriptor))
FAULTY(int, rename, (const char *from, const char *to), (from, to), "rename", ends(to, strlen(to), ".journal"))

ssize_t write(int descriptor, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    if (!of_journal(descriptor) || !hits("write"))
        return real(descriptor, data, size);
    if (error()) {
        errno = error();
        return -1;
    }
    ssize_t written = real(descriptor, data, is("kill-after") ? size : size / 2);
    if (!is("short"))
        raise(SIGKILL);
    return written;
}
