/* Preloaded: a loop device and a file look to a program like a DRBD device and /proc/drbd, on a machine without DRBD.
 *
 * PRETEND_MINOR  minor number of the loop device (major 7); it looks like major 147, minor 0
 * PRETEND_PROC   the file that is read for /proc/drbd
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int (*real_open)(const char *, int, ...);
static int (*real_statx)(int, const char *, int, unsigned, struct statx *);
static char from[32];
static unsigned from_minor;

__attribute__((constructor)) static void begin(void) {
  const char *number = getenv("PRETEND_MINOR");
  from_minor = number ? (unsigned)atoi(number) : ~0u;
  snprintf(from, sizeof from, " 7:%u ", from_minor);
  real_open = dlsym(RTLD_NEXT, "open64");
  real_statx = dlsym(RTLD_NEXT, "statx");
}

/* The mount table with the device's number changed, each time it is opened. */
static int mount_table(int source) {
  static const char to[] = " 147:0 ";
  char *text = NULL;
  size_t length = 0;
  for (;;) {
    text = realloc(text, length + 65537);
    ssize_t got = read(source, text + length, 65536);
    if (got <= 0) break;
    length += (size_t)got;
  }
  close(source);
  text[length] = 0;
  int changed = memfd_create("mountinfo", MFD_CLOEXEC);
  const char *rest = text;
  for (const char *hit; (hit = strstr(rest, from)); rest = hit + strlen(from)) {
    dprintf(changed, "%.*s%s", (int)(hit - rest), rest, to);
  }
  dprintf(changed, "%s", rest);
  lseek(changed, 0, SEEK_SET);
  free(text);
  return changed;
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  if (strcmp(path, "/proc/drbd") == 0 && getenv("PRETEND_PROC")) return real_open(getenv("PRETEND_PROC"), flags, mode);
  int opened = real_open(path, flags, mode);
  const char *name = strrchr(path, '/');
  if (opened >= 0 && name && strcmp(name, "/mountinfo") == 0) return mount_table(opened);
  return opened;
}

int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  return open64(path, flags, mode);
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *found) {
  int result = real_statx(directory, path, flags, mask, found);
  if (result != 0) return result;
  if (found->stx_dev_major == 7 && found->stx_dev_minor == from_minor) {
    found->stx_dev_major = 147;
    found->stx_dev_minor = 0;
  }
  if (found->stx_rdev_major == 7 && found->stx_rdev_minor == from_minor) {
    found->stx_rdev_major = 147;
    found->stx_rdev_minor = 0;
  }
  return 0;
}
