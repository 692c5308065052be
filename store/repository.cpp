// The repository as a directory: opening and making it, and the operations that are a few lines over catalog
// and packs.
#include "store/repository.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "store/catalog.h"
#include "store/format_file.h"
#include "store/layout.h"
#include "store/reference.h"
#include "store/snapshot_source.h"
#include "store/testing.h"
#include "store/tidy.h"
#include "store/usage.h"
#include "store/verify.h"
#include "store/writer.h"

namespace cprewind::store {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

void make_repository(const Layout& layout) {
    base::make_private_directory(layout.root);
    // Two makers at once: the second waits, then finds everything there.
    base::Fd directory = base::open_file(layout.root, O_RDONLY | O_DIRECTORY);
    while (::flock(directory.get(), LOCK_EX) != 0) {
        int e = errno;
        if (e != EINTR) base::throw_errno(e, fmt::format("lock {}", layout.root.string()));
    }
    if (fs::exists(layout.format())) return;
    for (const auto& entry : fs::directory_iterator(layout.root)) {
        std::string name = entry.path().filename().string();
        bool ours = name == k_packs_name || name == k_temporary_name || name == k_staging_name ||
                    name.starts_with(k_catalog_name) || name.starts_with(k_format_name);
        if (!ours) {
            throw Error(ErrorKind::failed,
                        fmt::format("{} is not empty and not a repository", layout.root.string()),
                        "name an empty directory, or one that does not exist, with --repo");
        }
    }
    if (fs::exists(layout.packs()) && !fs::is_empty(layout.packs())) {
        throw Error(ErrorKind::damaged,
                    fmt::format("{} holds packs but no file 'format'", layout.root.string()),
                    "this was a repository; restore its files `format` and `catalog.db` from a copy");
    }
    if (::fchmod(directory.get(), 0700) != 0) {
        base::throw_errno(errno, fmt::format("set the mode of {}", layout.root.string()));
    }
    base::make_private_directory(layout.packs());
    base::make_private_directory(layout.temporary());
    base::make_private_directory(layout.staging());
    // SQLite gives its other files the mode of the database.
    base::open_file(layout.catalog(), O_WRONLY | O_CREAT, 0600);
    Catalog::make_tables(layout.catalog());
    // A maker that died at replace_file() left one of these.
    for (const auto& entry : fs::directory_iterator(layout.root)) {
        if (entry.path().filename().string().starts_with("format.")) fs::remove(entry.path());
    }
    testing::reached("tables made");
    base::replace_file(layout.format(), make_format());
}

Database::Mode database_mode(const Layout& layout, OpenMode mode) {
    if (mode != OpenMode::read) return Database::Mode::write;
    // A repository on a read-only mount, as evidence often is: SQLite could not make its shared memory there.
    struct statvfs st {};
    bool read_only = ::statvfs(layout.root.c_str(), &st) == 0 && (st.f_flag & ST_RDONLY) != 0;
    std::error_code absent;
    auto wal = fs::file_size(layout.catalog().string() + "-wal", absent);
    return read_only && (absent || wal == 0) ? Database::Mode::immutable : Database::Mode::read;
}

class DirectoryRepository : public Repository {
 public:
    DirectoryRepository(const Layout& layout, OpenMode mode)
        : layout_(layout), mode_(mode), catalog_(layout.catalog(), database_mode(layout, mode)) {
        if (mode != OpenMode::read) tidy(layout_, catalog_);
    }

    std::vector<SnapshotRecord> list(std::optional<std::string_view> container) const override {
        auto all = all_records();
        if (!container) return all;
        auto some = of_container(*container, all);
        std::stable_sort(some.begin(), some.end(),
                         [](auto& a, auto& b) { return a.info.taken_at < b.info.taken_at; });
        return some;
    }

    SnapshotRecord resolve(std::string_view reference, base::WallTime now) const override {
        Reference wanted = parse_reference(reference, now);
        Transaction transaction = catalog_.read();
        if (auto record = find_plain(wanted)) return *record;
        return find_reference(wanted, catalog_.list());
    }

    std::unique_ptr<images::ImageSource> open(const SnapshotRecord& record) const override {
        CPREWIND_CHECK(is_snapshot_id(record.id));
        try {
            return open_snapshot(layout_, record.id, record.name());
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::not_found) throw;
            if (!catalog_.find(record.id)) {
                throw Error(ErrorKind::not_found,
                            fmt::format("{} has been removed meanwhile", record.name()));
            }
            throw Error(
                ErrorKind::damaged,
                fmt::format("the pack of {} is missing: {}", record.name(), layout_.pack(record.id).string()),
                "put the file back from a copy, or remove the snapshot with `cprewind rm`");
        }
    }

    std::unique_ptr<SnapshotWriter> begin(const std::optional<SnapshotId>& parent) override {
        CPREWIND_CHECK(mode_ != OpenMode::read);
        return make_writer(layout_, parent);
    }

    std::optional<SnapshotId> head(std::string_view container_id) const override {
        return catalog_.head(container_id);
    }

    void set_head(std::string_view container_id, const SnapshotId& id) override {
        Transaction transaction = catalog_.write();
        if (!catalog_.find(id)) not_there(id);
        catalog_.set_head(container_id, id);
        transaction.commit();
    }

    void tag(const SnapshotId& id, const std::string& tag) override;
    using Repository::remove;
    uint64_t remove(const std::vector<SnapshotId>& ids) override;
    VerifyReport verify(std::optional<SnapshotId> only, const Progress& progress,
                        VerifyMode mode) const override;

    const fs::path& path() const override { return layout_.root; }
    fs::path catalog_path() const override { return fs::absolute(layout_.catalog()); }
    fs::path staging_path() const override { return fs::absolute(layout_.staging()); }

 private:
    // What most people write, web@3 or web@latest, with the container's whole name: the answer that find_reference() gives,
    // without reading the whole catalog for it. Nothing when it takes more than that.
    std::optional<SnapshotRecord> find_plain(const Reference& wanted) const {
        if (wanted.back > 0) return std::nullopt;
        if (wanted.place == Reference::Place::number) return catalog_.find(wanted.word, wanted.number);
        if (wanted.place == Reference::Place::latest) return catalog_.find_latest(wanted.word);
        return std::nullopt;
    }
    std::vector<SnapshotRecord> all_records() const {
        Transaction transaction = catalog_.read();
        return catalog_.list();
    }
    [[noreturn]] static void not_there(const SnapshotId& id) {
        throw Error(ErrorKind::not_found, fmt::format("there is no snapshot {}", base::escape(id)),
                    "it may have been removed meanwhile; `cprewind log` lists all");
    }

    Layout layout_;
    OpenMode mode_;
    Catalog catalog_;
};

void DirectoryRepository::tag(const SnapshotId& id, const std::string& tag) {
    check_tag(tag);
    Transaction transaction = catalog_.write();
    if (!catalog_.set_tag(id, tag)) not_there(id);
    transaction.commit();
}

uint64_t DirectoryRepository::remove(const std::vector<SnapshotId>& ids) {
    {
        Transaction transaction = catalog_.write();
        for (const SnapshotId& id : ids) {
            auto record = catalog_.find(id);
            if (!record) not_there(id);
            catalog_.remove(*record);
            catalog_.add_pending({id, PendingState::removing, ""}, record->info.container_name,
                                 record->number);
        }
        transaction.commit();
    }
    testing::reached("removing");
    return sweep(layout_, catalog_).value_or(0);
}

VerifyReport DirectoryRepository::verify(std::optional<SnapshotId> only, const Progress& progress,
                                         VerifyMode mode) const {
    if (!only) return verify_all(layout_, catalog_, mode, progress);
    auto record = catalog_.find(*only);
    if (!record) not_there(*only);
    return verify_snapshot(layout_, catalog_, *record, mode, progress);
}

}  // namespace

std::unique_ptr<Repository> open_repository(const fs::path& path, OpenMode mode) {
    Layout layout{path};
    if (mode == OpenMode::create) make_repository(layout);
    check_format(layout);
    if (!fs::exists(layout.catalog())) {
        throw Error(ErrorKind::damaged, fmt::format("the catalog {} is missing", layout.catalog().string()),
                    "the packs beside it still hold every snapshot: cprewind rebuild");
    }
    return std::make_unique<DirectoryRepository>(layout, mode);
}

}  // namespace cprewind::store
