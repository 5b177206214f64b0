// SPDX-License-Identifier: MIT
// A failing disk, for LD_PRELOAD: from the Nth call on, write or fsync fails with EIO.
//
// FAULT_CALL is "write" (pwrite too), "fsync" (of files) or "fsync-folder", FAULT_PATH a part of the
// path that it is about, FAULT_AFTER how many calls go well.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fails(int fd, const char *call)
{
    static int calls;
    char link[64], path[4096];
    const char *wanted = getenv("FAULT_CALL"), *part = getenv("FAULT_PATH");
    if (!wanted || !part || strcmp(wanted, call) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (!strstr(path, part))
        return 0;
    return __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST) >= atoi(getenv("FAULT_AFTER"));
}

ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*next)(int, const void *, size_t);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "write");
    if (fails(fd, "write")) {
        errno = EIO;
        return -1;
    }
    return next(fd, data, size);
}

// Python calls either, by how it was built.
ssize_t pwrite(int fd, const void *data, size_t size, off_t position)
{
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pwrite");
    if (fails(fd, "write")) {
        errno = EIO;
        return -1;
    }
    return next(fd, data, size, position);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t position)
{
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pwrite64");
    if (fails(fd, "write")) {
        errno = EIO;
        return -1;
    }
    return next(fd, data, size, position);
}

int fsync(int fd)
{
    static int (*next)(int);
    struct stat status;
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "fsync");
    int folder = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
    if (fails(fd, folder ? "fsync-folder" : "fsync")) {
        errno = EIO;
        return -1;
    }
    return next(fd);
}
