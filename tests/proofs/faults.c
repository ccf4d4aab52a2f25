/* Preloaded into the engine: makes one chosen write or sync of the journal fail, or the process die there.
 *
 * FAULT=KIND:N   at the N-th write (or, for sync kinds, sync) of a *.journal file:
 *   kill-before, kill-after   SIGKILL before or after it
 *   kill-short                write half of it, then SIGKILL
 *   short                     write half of it and say so
 *   enospc                    refuse with ENOSPC
 *   sync-eio                  fdatasync fails with EIO
 *   sync-kill                 SIGKILL instead of fdatasync
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fdatasync)(int);
static char kind[32];
static long chosen, writes, syncs;

__attribute__((constructor)) static void set_up(void) {
    const char *fault = getenv("FAULT");
    real_write = dlsym(RTLD_NEXT, "write");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    if (fault)
        sscanf(fault, "%31[^:]:%ld", kind, &chosen);
}

static int is_journal(int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path);
    return size > 8 && memcmp(path + size - 8, ".journal", 8) == 0;
}

static int is(const char *name) { return strcmp(kind, name) == 0; }

ssize_t write(int descriptor, const void *data, size_t size) {
    if (!chosen || !is_journal(descriptor) || __sync_add_and_fetch(&writes, 1) != chosen || strncmp(kind, "sync", 4) == 0)
        return real_write(descriptor, data, size);
    if (is("enospc")) {
        errno = ENOSPC;
        return -1;
    }
    if (is("kill-before"))
        raise(SIGKILL);
    ssize_t written = real_write(descriptor, data, is("kill-after") ? size : size / 2);
    if (!is("short"))
        raise(SIGKILL);
    return written;
}

int fdatasync(int descriptor) {
    if (chosen && strncmp(kind, "sync", 4) == 0 && is_journal(descriptor) && __sync_add_and_fetch(&syncs, 1) == chosen) {
        if (is("sync-kill"))
            raise(SIGKILL);
        errno = EIO;
        return -1;
    }
    return real_fdatasync(descriptor);
}
