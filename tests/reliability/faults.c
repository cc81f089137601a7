/* Makes the n-th call of a kind fail, be cut short or kill the process, for files in one folder.

   Built by faults.py and loaded before the C library (LD_PRELOAD), so that writers in Python, C++
   and Rust all meet it. fault_arm says what is to happen in this process from then on. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAIL, FAIL_FROM_THEN_ON, SHORT_THEN_FAIL, SHORT_THEN_KILL, KILL_BEFORE, KILL_AFTER };

static char root[PATH_MAX], kind[32];
static long number = -1, count;
static int how, code, broken;

void fault_arm(const char *folder, const char *call, long n, int mode, int error) {
  snprintf(root, sizeof root, "%s", folder);
  snprintf(kind, sizeof kind, "%s", call);
  number = n, how = mode, code = error, count = 0, broken = 0;
}

/* How many calls of the kind there were. */
long fault_count(void) { return count; }

static void die(void) { kill(getpid(), SIGKILL); }

static int inside(const char *path) {
  char whole[PATH_MAX];
  if (number < 0) return 0;
  if (path[0] != '/') {
    if (!getcwd(whole, sizeof whole)) return 0;
    return !strncmp(whole, root, strlen(root));
  }
  return !strncmp(path, root, strlen(root));
}

static int inside_file(int file) {
  char name[64], path[PATH_MAX];
  if (number < 0) return 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", file);
  ssize_t size = readlink(name, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return inside(path);
}

/* Whether this call is the one; 2 where it fails as one before did. */
static int chosen(const char *call) {
  if (strcmp(call, kind)) return 0;
  if (broken) return 2;
  return ++count == number;
}

#define REAL(name, type) \
  static __typeof__(type) *real; \
  if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, name)

#define SIMPLE(name, call, where, parameters, arguments)                 \
  int name parameters {                                                  \
    REAL(#name, int parameters);                                     \
    int hit = where ? chosen(call) : 0;                                  \
    if (hit && how == KILL_BEFORE) die();                                \
    if (hit && how <= FAIL_FROM_THEN_ON) {                               \
      broken = how == FAIL_FROM_THEN_ON;                                 \
      errno = code;                                                      \
      return -1;                                                         \
    }                                                                    \
    int result = real arguments;                                         \
    if (hit && how == KILL_AFTER) die();                                 \
    return result;                                                       \
  }

SIMPLE(fsync, "fsync", inside_file(file), (int file), (file))
SIMPLE(rename, "rename", inside(to), (const char *from, const char *to), (from, to))
SIMPLE(unlink, "unlink", inside(path), (const char *path), (path))
SIMPLE(mkdir, "mkdir", inside(path), (const char *path, mode_t mode), (path, mode))

#define OPEN(name)                                                       \
  int name(const char *path, int flags, ...) {                           \
    REAL(#name, int(const char *, int, ...));                        \
    va_list rest;                                                        \
    va_start(rest, flags);                                               \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                        \
    const char *call = flags & (O_WRONLY | O_RDWR) ? "open" : "read";    \
    int hit = inside(path) ? chosen(call) : 0;                           \
    if (hit && how == KILL_BEFORE) die();                                \
    if (hit && how <= FAIL_FROM_THEN_ON) {                               \
      broken = how == FAIL_FROM_THEN_ON;                                 \
      errno = code;                                                      \
      return -1;                                                         \
    }                                                                    \
    int result = real(path, flags, mode);                                \
    if (hit && how == KILL_AFTER) die();                                 \
    return result;                                                       \
  }

OPEN(open)
OPEN(open64)

static ssize_t begin_write(int file, size_t size, int *hit) {
  *hit = inside_file(file) ? chosen("write") : 0;
  if (!*hit) return size;
  if (how == KILL_BEFORE) die();
  if (how <= FAIL_FROM_THEN_ON || broken) {
    broken = how != FAIL;
    errno = code;
    return -1;
  }
  return how == KILL_AFTER ? size : size / 2;
}

static void end_write(int hit) {
  if (!hit) return;
  if (how == SHORT_THEN_KILL || how == KILL_AFTER) die();
  broken = 1;
}

ssize_t write(int file, const void *data, size_t size) {
  REAL("write", ssize_t(int, const void *, size_t));
  int hit;
  ssize_t allowed = begin_write(file, size, &hit);
  if (allowed < 0) return -1;
  ssize_t result = real(file, data, allowed);
  end_write(hit);
  return result;
}

ssize_t writev(int file, const struct iovec *parts, int number_of_parts) {
  REAL("writev", ssize_t(int, const struct iovec *, int));
  int hit;
  size_t size = 0;
  for (int i = 0; i < number_of_parts; i++) size += parts[i].iov_len;
  ssize_t allowed = begin_write(file, size, &hit);
  if (allowed < 0) return -1;
  if (!hit || how == KILL_AFTER) {
    ssize_t result = real(file, parts, number_of_parts);
    end_write(hit);
    return result;
  }
  struct iovec first = {parts[0].iov_base, (size_t)allowed < parts[0].iov_len ? (size_t)allowed : parts[0].iov_len};
  ssize_t result = real(file, &first, 1);
  end_write(hit);
  return result;
}
