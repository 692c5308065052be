#include "store/tidy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "store/usage.h"

namespace cprewind::store {
namespace {

namespace fs = std::filesystem;

void unlink_if_there(const fs::path& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        base::throw_errno(errno, fmt::format("remove {}", path.string()));
    }
}

}  // namespace

Owner owner_of(const fs::path& path, base::Fd* held) {
    base::Fd fd;
    try {
        fd = base::open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    } catch (const base::Error& error) {
        if (error.kind() == base::ErrorKind::not_found) return Owner::none;
        throw;
    }
    if (::flock(fd.get(), (held != nullptr ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        int e = errno;
        if (e == EWOULDBLOCK || e == EINTR) return Owner::alive;
        base::throw_errno(e, fmt::format("lock {}", path.string()));
    }
    if (held != nullptr) *held = std::move(fd);
    return Owner::dead;
}

Owner owner_of(const Layout& layout, const Pending& pending) {
    // The file moves from tmp/ to packs/ and never back: looking there, here, there cannot miss it.
    Owner owner = owner_of(layout.pack(pending.id));
    if (owner == Owner::none && !pending.temporary_name.empty()) {
        owner = owner_of(layout.temporary() / pending.temporary_name);
    }
    if (owner == Owner::none) owner = owner_of(layout.pack(pending.id));
    return owner;
}

void tidy(const Layout& layout, const Catalog& catalog) {
    if (!catalog.pending().empty()) {
        // Within the write transaction no row can become or cease to be pending; so a free lock means a dead
        // writer.
        Transaction transaction = catalog.write();
        for (const Pending& pending : catalog.pending()) {
            if (pending.state != PendingState::writing || owner_of(layout, pending) == Owner::alive) continue;
            if (!pending.temporary_name.empty()) unlink_if_there(layout.temporary() / pending.temporary_name);
            unlink_if_there(layout.pack(pending.id));
            catalog.drop_pending(pending.id);
        }
        // The files must be gone for good before the rows that explain them are.
        base::sync_directory(layout.packs());
        transaction.commit();
        sweep(layout, catalog);
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(layout.temporary())) {
        if (!entry.is_regular_file() || entry.path().extension() != k_pack_suffix) continue;
        base::Fd held;
        // While we hold its lock the file cannot come to life: a writer that waits for the lock sees that the
        // name is gone and takes another.
        if (owner_of(entry.path(), &held) == Owner::dead) unlink_if_there(entry.path());
    }
}

}  // namespace cprewind::store
