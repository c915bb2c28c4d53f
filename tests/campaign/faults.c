/* A disk and a system that fail at a chosen call: to be preloaded (LD_PRELOAD), then armed.
 *
 * gloss_fault(kind, nth) arms one fault in this process, before the nth call that it concerns:
 *
 *   1  ENOSPC  writes to files fail from there on: the disk stays full
 *   2  EIO     one write to a file
 *   3  EINTR   one write to a file, to be tried again
 *   4  short   one write to a file takes half of what it is given
 *   5  EMFILE  no file can be opened for the next twenty calls
 *   6  EIO     one fsync
 *   7  EIO     one read from a file
 *   8  EIO     one rename
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int kind, left;

void gloss_fault(int which, int nth) {
    left = nth;
    kind = which;
}

/* What is printed may go into files too; it is not what this is about. */
static int is_file(int fd) {
    struct stat found;
    if (fd <= 2) return 0;
    int before = errno;
    int file = fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    errno = before;
    return file;
}

/* Whether a call fails for this reason: the nth, and the `more` after it. */
static int fails(int which, int more) {
    if (kind != which) return 0;
    int now = atomic_fetch_sub(&left, 1);
    return now <= 1 && now > -more;
}

static int failed(int number) {
    errno = number;
    return -1;
}

#define FOREVER 1000000000
#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *from, size_t count) {
    if (kind >= 1 && kind <= 4 && is_file(fd)) {
        if (fails(1, FOREVER)) return failed(ENOSPC);
        if (fails(2, 0)) return failed(EIO);
        if (fails(3, 0)) return failed(EINTR);
        if (count > 1 && fails(4, 0)) count /= 2;
    }
    return REAL(ssize_t, write, int, const void *, size_t)(fd, from, count);
}

ssize_t read(int fd, void *to, size_t count) {
    if (kind == 7 && is_file(fd) && fails(7, 0)) return failed(EIO);
    return REAL(ssize_t, read, int, void *, size_t)(fd, to, count);
}

int fsync(int fd) {
    if (fails(6, 0)) return failed(EIO);
    return REAL(int, fsync, int)(fd);
}

int rename(const char *from, const char *to) {
    if (fails(8, 0)) return failed(EIO);
    return REAL(int, rename, const char *, const char *)(from, to);
}

#define OPENS(name)                                                                \
    int name(const char *path, int flags, ...) {                                   \
        mode_t mode = 0;                                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                                       \
            va_list rest;                                                          \
            va_start(rest, flags);                                                 \
            mode = va_arg(rest, mode_t);                                           \
            va_end(rest);                                                          \
        }                                                                          \
        if (fails(5, 20)) return failed(EMFILE);                                   \
        return REAL(int, name, const char *, int, ...)(path, flags, mode);         \
    }

OPENS(open)
OPENS(open64)
