/* Calls of a file system that fail, for `python -m benchmarks.faults`: loaded by LD_PRELOAD, armed by faults_arm.
 *
 * Counted and failed are only calls about paths that begin with a given one. Nothing happens before it is armed.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum mode { FAIL = 0, SHORT = 1, KILL = 2 };

static char armed_call[32], armed_under[PATH_MAX];
static int armed_errno, armed_mode, armed_lasting;
static long armed_nth;
static long *seen; /* how many matching calls there were: memory that is shared with the parent */
static char refused[256]; /* calls that the file system does not have: ",flock,link," */
static __thread int busy;

void faults_arm(const char *call, const char *under, int error, long nth, int mode, int lasting, long *counter)
{
    snprintf(armed_call, sizeof armed_call, "%s", call);
    snprintf(armed_under, sizeof armed_under, "%s", under);
    armed_errno = error;
    armed_nth = nth;
    armed_mode = mode;
    armed_lasting = lasting;
    seen = counter;
}

/* The calls that a file system does not have, as ",flock,link,"; "twin" makes every lock free for the taking. */
void faults_refuse(const char *calls) { snprintf(refused, sizeof refused, "%s", calls); }

static int is_refused(const char *call)
{
    char sought[40];
    snprintf(sought, sizeof sought, ",%s,", call);
    return strstr(refused, sought) != NULL;
}

static char folding[PATH_MAX];

/* Below this folder names differ by more than case, as on exFAT; they are kept in lower case. */
void faults_fold(const char *folder) { snprintf(folding, sizeof folding, "%s", folder); }

static const char *folded(const char *path, char *to)
{
    size_t n = strlen(folding);
    if (!n || !path || strncmp(path, folding, n) || strlen(path) >= PATH_MAX) return path;
    strcpy(to, path);
    for (char *c = to + n; *c; c++) *c = tolower((unsigned char)*c);
    return to;
}

#define FOLD(path) \
    char of_##path[PATH_MAX]; \
    path = folded(path, of_##path)

static int is_under(const char *path, int fd)
{
    char found[PATH_MAX];
    if (!path || path[0] != '/') {
        char link[64];
        if (fd < 0) {
            if (!getcwd(found, sizeof found)) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t n = readlink(link, found, sizeof found - 1);
            if (n < 0) return 0;
            found[n] = 0;
        }
        path = found;
    }
    return strncmp(path, armed_under, strlen(armed_under)) == 0;
}

/* Whether this call is to fail; its errno is set. SHORT is left to calls that can be short. */
static int hit(const char *call, const char *path, int fd)
{
    if (!armed_call[0] || busy) return 0;
    if (strcmp(armed_call, call) && strcmp(armed_call, "any")) return 0;
    busy = 1;
    int matches = is_under(path, fd);
    busy = 0;
    if (!matches) return 0;
    long number = __sync_add_and_fetch(seen, 1);
    if (armed_nth == 0 || (armed_lasting ? number < armed_nth : number != armed_nth)) return 0;
    if (armed_mode == KILL) kill(getpid(), SIGKILL);
    errno = armed_errno;
    return 1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

#define NONE(call) do { if (is_refused(call)) { errno = EOPNOTSUPP; return -1; } } while (0)

static int open_mode(int flags, va_list rest)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        REAL(int, #name, const char *, int, ...); \
        FOLD(path); \
        va_list rest; \
        va_start(rest, flags); \
        int mode = open_mode(flags, rest); \
        va_end(rest); \
        if (hit("open", path, -1)) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) \
    { \
        REAL(int, #name, int, const char *, int, ...); \
        FOLD(path); \
        va_list rest; \
        va_start(rest, flags); \
        int mode = open_mode(flags, rest); \
        va_end(rest); \
        if (hit("open", path, folder)) return -1; \
        return real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd)
{
    REAL(int, "close", int);
    int fails = hit("close", NULL, fd), error = errno;
    int result = real(fd);
    if (fails) { errno = error; return -1; }
    return result;
}

ssize_t read(int fd, void *to, size_t n)
{
    REAL(ssize_t, "read", int, void *, size_t);
    if (hit("read", NULL, fd)) {
        if (armed_mode != SHORT) return -1;
        n = n > 1 ? n / 2 : n;
    }
    return real(fd, to, n);
}

ssize_t write(int fd, const void *from, size_t n)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    if (hit("write", NULL, fd)) {
        if (armed_mode != SHORT) return -1;
        n = n > 1 ? n / 2 : n;
    }
    return real(fd, from, n);
}

#define PREAD(name) \
    ssize_t name(int fd, void *to, size_t n, off64_t at) \
    { \
        REAL(ssize_t, #name, int, void *, size_t, off64_t); \
        if (hit("pread", NULL, fd)) { \
            if (armed_mode != SHORT) return -1; \
            n = n > 1 ? n / 2 : n; \
        } \
        return real(fd, to, n, at); \
    }
PREAD(pread)
PREAD(pread64)

#define LSEEK(name) \
    off64_t name(int fd, off64_t offset, int whence) \
    { \
        REAL(off64_t, #name, int, off64_t, int); \
        if (hit("lseek", NULL, fd)) return -1; \
        return real(fd, offset, whence); \
    }
LSEEK(lseek)
LSEEK(lseek64)

#define STAT(name, type) \
    int name(const char *path, struct type *to) \
    { \
        REAL(int, #name, const char *, struct type *); \
        FOLD(path); \
        if (hit("stat", path, -1)) return -1; \
        return real(path, to); \
    }
STAT(stat, stat)
STAT(lstat, stat)
STAT(stat64, stat64)
STAT(lstat64, stat64)

#define FSTAT(name, type) \
    int name(int fd, struct type *to) \
    { \
        REAL(int, #name, int, struct type *); \
        if (hit("fstat", NULL, fd)) return -1; \
        return real(fd, to); \
    }
FSTAT(fstat, stat)
FSTAT(fstat64, stat64)

#define FSTATAT(name, type) \
    int name(int folder, const char *path, struct type *to, int flags) \
    { \
        REAL(int, #name, int, const char *, struct type *, int); \
        FOLD(path); \
        if (hit("stat", path, folder)) return -1; \
        return real(folder, path, to, flags); \
    }
FSTATAT(fstatat, stat)
FSTATAT(fstatat64, stat64)

DIR *opendir(const char *path)
{
    REAL(DIR *, "opendir", const char *);
    FOLD(path);
    if (hit("opendir", path, -1)) return NULL;
    return real(path);
}

struct dirent64 *readdir64(DIR *folder)
{
    REAL(struct dirent64 *, "readdir64", DIR *);
    if (hit("readdir", NULL, dirfd(folder))) return NULL;
    return real(folder);
}

int flock(int fd, int operation)
{
    REAL(int, "flock", int, int);
    NONE("flock");
    if (is_refused("twin")) return 0;
    if (hit("flock", NULL, fd)) return -1;
    return real(fd, operation);
}

#define ONE_FD(name, call) \
    int name(int fd) \
    { \
        REAL(int, #name, int); \
        if (hit(call, NULL, fd)) return -1; \
        return real(fd); \
    }
ONE_FD(fsync, "fsync")
ONE_FD(fdatasync, "fsync")

#define TRUNCATE(name) \
    int name(int fd, off64_t length) \
    { \
        REAL(int, #name, int, off64_t); \
        if (hit("truncate", NULL, fd)) return -1; \
        return real(fd, length); \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);
    FOLD(path);
    if (hit("mkdir", path, -1)) return -1;
    return real(path, mode);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    FOLD(path);
    if (hit("unlink", path, -1)) return -1;
    return real(path);
}

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    FOLD(from);
    FOLD(to);
    if (hit("rename", to, -1)) return -1;
    return real(from, to);
}

int renameat2(int folder, const char *from, int other, const char *to, unsigned flags)
{
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    FOLD(from);
    FOLD(to);
    if (is_refused("renameat2")) { errno = EINVAL; return -1; }
    if (hit("rename", to, other)) return -1;
    return real(folder, from, other, to, flags);
}

int link(const char *from, const char *to)
{
    REAL(int, "link", const char *, const char *);
    FOLD(from);
    FOLD(to);
    NONE("link");
    if (hit("link", to, -1)) return -1;
    return real(from, to);
}

int linkat(int folder, const char *from, int other, const char *to, int flags)
{
    REAL(int, "linkat", int, const char *, int, const char *, int);
    FOLD(from);
    FOLD(to);
    NONE("link");
    if (hit("link", to, other)) return -1;
    return real(folder, from, other, to, flags);
}

int utimensat(int folder, const char *path, const struct timespec times[2], int flags)
{
    REAL(int, "utimensat", int, const char *, const struct timespec *, int);
    FOLD(path);
    if (hit("utime", path, folder)) return -1;
    return real(folder, path, times, flags);
}

int futimens(int fd, const struct timespec times[2])
{
    REAL(int, "futimens", int, const struct timespec *);
    if (hit("utime", NULL, fd)) return -1;
    return real(fd, times);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t n)
{
    REAL(ssize_t, "sendfile64", int, int, off64_t *, size_t);
    if (hit("read", NULL, from) || hit("write", NULL, to)) {
        if (armed_mode != SHORT) return -1;
        n = n > 1 ? n / 2 : n;
    }
    return real(to, from, at, n);
}

ssize_t readlink(const char *path, char *to, size_t n)
{
    REAL(ssize_t, "readlink", const char *, char *, size_t);
    FOLD(path);
    if (hit("readlink", path, -1)) return -1;
    return real(path, to, n);
}
