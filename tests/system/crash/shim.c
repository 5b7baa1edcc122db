/* Counts the calls that change anything below a folder, and at the n-th ends the process or lets the call fail.

Preloaded into a Python process, which calls `crash_arm` by ctypes. One counter for all threads. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL, TORN, FAIL_ONCE, FAIL_ON, SIGNAL };

static char root[PATH_MAX], place[PATH_MAX];
static size_t root_length;
static int mode, code, trace = -1;
static long target;
static atomic_long calls;

void crash_arm(const char *folder, int how, long number, int error, const char *log) {
    strncpy(root, folder, sizeof root - 1);
    root_length = strlen(root);
    mode = how, target = number, code = error;
    atomic_store(&calls, 0);
    trace = log ? (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
}

/* Only calls whose name and path begin like this count, opening a file to read it among them. */
void crash_at(const char *text) { strncpy(place, text, sizeof place - 1); }

static int below(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static void resolve(int folder, const char *path, char *full) {
    char link[64];
    ssize_t length = 0;
    if (path[0] == '/') { snprintf(full, PATH_MAX, "%s", path); return; }
    if (folder == AT_FDCWD) {
        if (!getcwd(full, PATH_MAX)) full[0] = 0;
        length = (ssize_t)strlen(full);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, full, PATH_MAX - 1);
        if (length < 0) length = 0;
    }
    snprintf(full + length, PATH_MAX - (size_t)length, "/%s", path);
}

static void end(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether this call fails, with errno set; -1: it is torn, which only writes can be. */
static int hit(const char *name, const char *path) {
    char line[PATH_MAX + 64];
    if (!below(path)) return 0;
    int length = snprintf(line, sizeof line, "%s %s\n", name, path + root_length);
    if (strncmp(line, place, strlen(place))) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (trace >= 0) syscall(SYS_write, trace, line, (size_t)length);
    if (mode == SIGNAL && (number == target || !target)) syscall(SYS_kill, getpid(), code);
    if (mode == KILL && number == target) end();
    if (mode == TORN && number == target) return -1;
    if ((mode == FAIL_ONCE && number == target) || (mode == FAIL_ON && number >= target)) { errno = code; return 1; }
    return 0;
}

static int hit_at(const char *name, int folder, const char *path) {
    char full[PATH_MAX];
    if (!root_length) return 0;
    resolve(folder, path, full);
    return hit(name, full);
}

static int hit_file(const char *name, int file) {
    char link[64], full[PATH_MAX];
    if (!root_length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, full, sizeof full - 1);
    if (length <= 0) return 0;
    full[length] = 0;
    return hit(name, full);
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)
#define CHANGES(flags) (*place || ((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC)))
#define MODE(flags) mode_t mode_ = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode_ = va_arg(more, mode_t); va_end(more); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE(flags) REAL(int, #name, const char *, int, ...); \
        if (CHANGES(flags) && hit_at("open", AT_FDCWD, path) == 1) return -1; \
        return real(path, flags, mode_); }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        MODE(flags) REAL(int, #name, int, const char *, int, ...); \
        if (CHANGES(flags) && hit_at("open", folder, path) == 1) return -1; \
        return real(folder, path, flags, mode_); }
#define FOPEN(name) \
    FILE *name(const char *path, const char *how) { \
        REAL(FILE *, #name, const char *, const char *); \
        if (how[0] != 'r' && hit_at("open", AT_FDCWD, path) == 1) return NULL; \
        return real(path, how); }

OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64) FOPEN(fopen) FOPEN(fopen64)

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int at = hit_file("write", file);
    if (at == 1) return -1;
    if (at == -1) { real(file, bytes, count / 2); end(); }
    return real(file, bytes, count);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    int at = hit_file("write", file);
    if (at == 1) return -1;
    if (at == -1) { real(file, parts, count / 2); end(); }
    return real(file, parts, count);
}

#define PWRITE(name) \
    ssize_t name(int file, const void *bytes, size_t count, off_t place) { \
        REAL(ssize_t, #name, int, const void *, size_t, off_t); \
        int at = hit_file("write", file); \
        if (at == 1) return -1; \
        if (at == -1) { real(file, bytes, count / 2, place); end(); } \
        return real(file, bytes, count, place); }
PWRITE(pwrite) PWRITE(pwrite64)

#define ON_FILE(name, label) \
    int name(int file) { REAL(int, #name, int); return hit_file(label, file) == 1 ? -1 : real(file); }
ON_FILE(fsync, "fsync") ON_FILE(fdatasync, "fsync")

#define ON_LENGTH(name) \
    int name(int file, off_t length) { REAL(int, #name, int, off_t); return hit_file("truncate", file) == 1 ? -1 : real(file, length); }
ON_LENGTH(ftruncate) ON_LENGTH(ftruncate64)

#define ON_PATH(name, label) \
    int name(const char *path) { REAL(int, #name, const char *); return hit_at(label, AT_FDCWD, path) == 1 ? -1 : real(path); }
ON_PATH(unlink, "unlink") ON_PATH(rmdir, "rmdir")

int unlinkat(int folder, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    return hit_at(flags & AT_REMOVEDIR ? "rmdir" : "unlink", folder, path) == 1 ? -1 : real(folder, path, flags);
}
int mkdir(const char *path, mode_t how) {
    REAL(int, "mkdir", const char *, mode_t);
    return hit_at("mkdir", AT_FDCWD, path) == 1 ? -1 : real(path, how);
}
int mkdirat(int folder, const char *path, mode_t how) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    return hit_at("mkdir", folder, path) == 1 ? -1 : real(folder, path, how);
}
#define TWO_PATHS(name) \
    int name(const char *old, const char *new) { \
        REAL(int, #name, const char *, const char *); \
        return hit_at(#name, AT_FDCWD, new) == 1 ? -1 : real(old, new); }
TWO_PATHS(rename) TWO_PATHS(link) TWO_PATHS(symlink)
int renameat(int from, const char *old, int to, const char *new) {
    REAL(int, "renameat", int, const char *, int, const char *);
    return hit_at("rename", to, new) == 1 ? -1 : real(from, old, to, new);
}
