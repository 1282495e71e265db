/* SQLite on the disk in memory of mem_io.h, so that its writes and syncs are steps at which the power can
 * fail, and what it has not synced may be lost. One process and one connection at a time, so locks are
 * granted and the index of the WAL is plain memory. Names keep only their last part. */
#ifndef TG_TEST_MEM_VFS_H
#define TG_TEST_MEM_VFS_H

#include "spool/mem_io.h"

#include <sqlite3.h>
#include <stdio.h>

enum { VFS_SHM_PAGES = 8 };

struct vfs_file {
    sqlite3_file base; /* first */
    struct tg_io *io;
    int fd;
    bool is_new; /* its name is not durable yet */
    void *shm[VFS_SHM_PAGES];
};

/* Where files are opened from now on. */
static struct tg_io *vfs_disk;
#define VFS_DIR "/state"

static const char *vfs_path(const char *name, char path[96])
{
    const char *last = strrchr(name, '/');
    (void)snprintf(path, 96, VFS_DIR "/%.60s", last ? last + 1 : name);
    return path;
}

static bool vfs_is_there(const char *path)
{
    struct tg_io_mem *m = mem_of(vfs_disk);
    bool there = mem_name_in(m->now, path) != NULL;
    (void)mem_done(m, 0, 0);
    return there;
}

static struct vfs_file *vfs_of(sqlite3_file *file)
{
    return (struct vfs_file *)file;
}

static int vfs_shm_unmap(sqlite3_file *file, int remove)
{
    (void)remove;
    for (int i = 0; i < VFS_SHM_PAGES; i++) {
        free(vfs_of(file)->shm[i]);
        vfs_of(file)->shm[i] = NULL;
    }
    return SQLITE_OK;
}

static int vfs_close(sqlite3_file *file)
{
    (void)vfs_shm_unmap(file, 0);
    (void)vfs_of(file)->io->close(vfs_of(file)->io, vfs_of(file)->fd);
    return SQLITE_OK;
}

static int vfs_read(sqlite3_file *file, void *to, int n, sqlite3_int64 at)
{
    struct vfs_file *f = vfs_of(file);
    ssize_t got = f->io->pread(f->io, f->fd, to, (size_t)n, at);
    if (got == n)
        return SQLITE_OK;
    memset((char *)to + got, 0, (size_t)(n - got));
    return SQLITE_IOERR_SHORT_READ;
}

static int vfs_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 at)
{
    struct vfs_file *f = vfs_of(file);
    return f->io->pwrite(f->io, f->fd, from, (size_t)n, at) == n ? SQLITE_OK : SQLITE_IOERR_WRITE;
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct vfs_file *f = vfs_of(file);
    return f->io->ftruncate(f->io, f->fd, size) == 0 ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

/* As SQLite does on Unix: the folder too, the first time that a new file is synced. */
static int vfs_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    struct vfs_file *f = vfs_of(file);
    if (f->io->fdatasync(f->io, f->fd) != 0)
        return SQLITE_IOERR_FSYNC;
    if (f->is_new && f->io->fsync_dir(f->io, VFS_DIR) != 0)
        return SQLITE_IOERR_DIR_FSYNC;
    f->is_new = false;
    return SQLITE_OK;
}

static int vfs_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct vfs_file *f = vfs_of(file);
    uint64_t bytes = 0;
    (void)f->io->size(f->io, f->fd, &bytes);
    *size = (sqlite3_int64)bytes;
    return SQLITE_OK;
}

static int vfs_lock(sqlite3_file *file, int kind)
{
    (void)file, (void)kind;
    return SQLITE_OK;
}

static int vfs_reserved(sqlite3_file *file, int *out)
{
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int vfs_control(sqlite3_file *file, int op, void *arg)
{
    (void)file, (void)op, (void)arg;
    return SQLITE_NOTFOUND;
}

static int vfs_sector(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int vfs_traits(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int vfs_shm_map(sqlite3_file *file, int page, int bytes, int extend, void volatile **out)
{
    struct vfs_file *f = vfs_of(file);
    if (page >= VFS_SHM_PAGES)
        return SQLITE_IOERR_SHMMAP;
    if (!f->shm[page] && extend)
        f->shm[page] = calloc(1, (size_t)bytes);
    *out = f->shm[page];
    return SQLITE_OK;
}

static int vfs_shm_lock(sqlite3_file *file, int from, int n, int flags)
{
    (void)file, (void)from, (void)n, (void)flags;
    return SQLITE_OK;
}

static void vfs_shm_barrier(sqlite3_file *file)
{
    (void)file;
    __sync_synchronize();
}

static const sqlite3_io_methods vfs_methods = {
    .iVersion = 2,
    .xClose = vfs_close,
    .xRead = vfs_read,
    .xWrite = vfs_write,
    .xTruncate = vfs_truncate,
    .xSync = vfs_sync,
    .xFileSize = vfs_size,
    .xLock = vfs_lock,
    .xUnlock = vfs_lock,
    .xCheckReservedLock = vfs_reserved,
    .xFileControl = vfs_control,
    .xSectorSize = vfs_sector,
    .xDeviceCharacteristics = vfs_traits,
    .xShmMap = vfs_shm_map,
    .xShmLock = vfs_shm_lock,
    .xShmBarrier = vfs_shm_barrier,
    .xShmUnmap = vfs_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    struct vfs_file *f = vfs_of(file);
    char path[96];
    memset(f, 0, sizeof *f);
    f->io = vfs_disk;
    f->is_new = !vfs_is_there(vfs_path(name, path));
    f->fd = vfs_disk->open(vfs_disk, path, O_RDWR | O_CREAT, 0600);
    if (f->fd < 0)
        return SQLITE_CANTOPEN;
    f->base.pMethods = &vfs_methods;
    if (out)
        *out = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    char path[96];
    if (vfs_disk->unlink(vfs_disk, vfs_path(name, path)) != 0)
        return errno == ENOENT ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    return sync_dir && vfs_disk->fsync_dir(vfs_disk, VFS_DIR) != 0 ? SQLITE_IOERR_DIR_FSYNC : SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs, (void)flags;
    char path[96];
    *out = vfs_is_there(vfs_path(name, path));
    return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
    (void)vfs;
    (void)snprintf(out, (size_t)n, "%s", name);
    return SQLITE_OK;
}

/* From now on every connection of this process is on such a disk. */
static inline void vfs_begin(void)
{
    static sqlite3_vfs vfs;
    vfs = *sqlite3_vfs_find(NULL); /* clock and randomness are the system's */
    vfs.iVersion = 2;
    vfs.szOsFile = sizeof(struct vfs_file);
    vfs.zName = "tidegate-memory";
    vfs.pNext = NULL;
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    vfs.xAccess = vfs_access;
    vfs.xFullPathname = vfs_full_name;
    assert(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}

#endif
