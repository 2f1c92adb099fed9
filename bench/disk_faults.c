/* Preloaded library: makes chosen file operations below one folder fail with a chosen errno. See disk_faults.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { READS = 1, TAKES_SPACE = 2, CHANGES = 4 };

static char root[PATH_MAX];
static size_t root_length;
static long first, count;
static int fault, lasting, kinds, trace = -1;

/* Fail the operation number `n` below `folder`; with `all`, every one of `which` kinds from it on. n = 0 fails none. */
void disk_faults_arm(const char *folder, long n, int error, int all, int which, const char *log) {
    root_length = strlen(folder);
    memcpy(root, folder, root_length + 1);
    first = n, fault = error, lasting = all, kinds = which, count = 0;
    trace = *log ? open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
}

static int below(const char *path) {
    return root_length && path && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static ssize_t (*real_write)(int, const void *, size_t);

static int fails(const char *name, const char *path, int kind) {
    if (!below(path)) return 0;
    count++;
    if (trace >= 0) {
        char line[2 * PATH_MAX];
        int length = snprintf(line, sizeof line, "%s %s\n", name, path);
        if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
        real_write(trace, line, length);
    }
    if (!first || !(lasting ? count >= first && (kind & kinds) : count == first)) return 0;
    errno = fault;
    return 1;
}

/* The path of `name` in the folder `descriptor`, or of the descriptor itself. */
static const char *at(int descriptor, const char *name, char *buffer) {
    if (name && (*name == '/' || (descriptor == AT_FDCWD && strchr(name, '/')))) return name;
    if (descriptor == AT_FDCWD) {
        if (!getcwd(buffer, PATH_MAX)) return NULL;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        ssize_t length = readlink(link, buffer, PATH_MAX - 1);
        if (length < 0) return NULL;
        buffer[length] = 0;
    }
    if (name) {
        size_t length = strlen(buffer);
        snprintf(buffer + length, PATH_MAX - length, "/%s", name);
    }
    return buffer;
}

static int kind_of_open(int flags) {
    if (flags & O_CREAT) return TAKES_SPACE | CHANGES;
    return (flags & O_ACCMODE) == O_RDONLY ? READS : CHANGES;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
#define OPEN(name) int name(const char *path, int flags, ...) { MODE REAL(name); char b[PATH_MAX]; \
    return root_length && fails("open", at(AT_FDCWD, path, b), kind_of_open(flags)) ? -1 : real(path, flags, mode); }
#define OPENAT(name) int name(int folder, const char *path, int flags, ...) { MODE REAL(name); char b[PATH_MAX]; \
    return root_length && fails("open", at(folder, path, b), kind_of_open(flags)) ? -1 : real(folder, path, flags, mode); }
#define DESCRIPTOR(result, name, kind, parameters, ...) result name parameters { REAL(name); char b[PATH_MAX]; \
    return root_length && fails(#name, at(descriptor, NULL, b), kind) ? -1 : real(__VA_ARGS__); }
#define PATHS(name, kind, parameters, folder, path, ...) int name parameters { REAL(name); char b[PATH_MAX]; \
    return root_length && fails(#name, at(folder, path, b), kind) ? -1 : real(__VA_ARGS__); }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
DESCRIPTOR(ssize_t, write, TAKES_SPACE | CHANGES, (int descriptor, const void *data, size_t size), descriptor, data, size)
DESCRIPTOR(ssize_t, pwrite, TAKES_SPACE | CHANGES, (int descriptor, const void *data, size_t size, off_t o), descriptor, data, size, o)
DESCRIPTOR(ssize_t, pwrite64, TAKES_SPACE | CHANGES, (int descriptor, const void *data, size_t size, off64_t o), descriptor, data, size, o)
DESCRIPTOR(ssize_t, writev, TAKES_SPACE | CHANGES, (int descriptor, const struct iovec *data, int size), descriptor, data, size)
DESCRIPTOR(int, fsync, TAKES_SPACE | CHANGES, (int descriptor), descriptor)
DESCRIPTOR(int, fdatasync, TAKES_SPACE | CHANGES, (int descriptor), descriptor)
DESCRIPTOR(int, ftruncate, CHANGES, (int descriptor, off_t size), descriptor, size)
DESCRIPTOR(int, ftruncate64, CHANGES, (int descriptor, off64_t size), descriptor, size)
PATHS(truncate, CHANGES, (const char *path, off_t size), AT_FDCWD, path, path, size)
PATHS(truncate64, CHANGES, (const char *path, off64_t size), AT_FDCWD, path, path, size)
PATHS(rename, CHANGES, (const char *path, const char *to), AT_FDCWD, to, path, to)
PATHS(renameat, CHANGES, (int f, const char *path, int g, const char *to), g, to, f, path, g, to)
PATHS(unlink, CHANGES, (const char *path), AT_FDCWD, path, path)
PATHS(unlinkat, CHANGES, (int f, const char *path, int flags), f, path, f, path, flags)
PATHS(rmdir, CHANGES, (const char *path), AT_FDCWD, path, path)
PATHS(mkdir, TAKES_SPACE | CHANGES, (const char *path, mode_t mode), AT_FDCWD, path, path, mode)
PATHS(mkdirat, TAKES_SPACE | CHANGES, (int f, const char *path, mode_t mode), f, path, f, path, mode)
