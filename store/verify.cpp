#include "store/verify.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "store/info_json.h"
#include "store/pack_cache.h"
#include "store/pack_reader.h"
#include "store/parallel.h"
#include "store/rows_codec.h"
#include "store/snapshot_source.h"
#include "store/tidy.h"
#include "store/usage.h"

namespace cprewind::store {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

class Verifier {
 public:
    Verifier(const Layout& layout, const Catalog& catalog, VerifyMode mode, const Progress& progress)
        : layout_(layout), catalog_(catalog), mode_(mode), progress_(progress), cache_(layout) {}

    void expect(uint64_t stored_bytes) { total_ += stored_bytes; }
    void check_snapshot(const SnapshotRecord& record);
    void check_directory(const std::vector<SnapshotRecord>& records, const std::vector<Pending>& pending);
    void check_pending(const std::vector<Pending>& pending);
    void fault(std::string snapshot, std::string message, bool harmless = false) {
        report_.faults.push_back({std::move(snapshot), std::move(message), harmless});
    }
    VerifyReport finish() { return std::move(report_); }

 private:
    void check_blocks(const Pack& pack);
    void check_groups(const PackSet& packs, const std::string& name);
    void check_catalog(const SnapshotRecord& record, const PackFacts& facts);
    void check_mode(const fs::path& path, unsigned widest);
    void check_entry(const fs::directory_entry& entry, bool known);

    const Layout& layout_;
    const Catalog& catalog_;
    VerifyMode mode_;
    const Progress& progress_;
    VerifyReport report_;
    PackCache cache_;
    GroupUse checked_;
    std::map<SnapshotId, std::map<uint32_t, std::string>> damaged_;  // groups by pack, with what is wrong
    uint64_t total_ = 0;
};

void Verifier::check_snapshot(const SnapshotRecord& record) {
    try {
        if (pack_version(layout_, record.id, record.name()) == k_pack_version) {
            auto pack = std::make_shared<const Pack>(layout_.pack(record.id), record.id, record.name());
            ++report_.snapshots;
            if (mode_ == VerifyMode::data) check_blocks(*pack);
            report_.bytes += pack->size();
            check_catalog(record, facts_of(pack));
        } else {
            auto packs = cache_.open_set(record.id, record.name());
            ++report_.snapshots;
            if (mode_ == VerifyMode::data) check_groups(*packs, record.name());
            report_.bytes += packs->own().size();
            check_catalog(record, facts_of(packs));
        }
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::not_found) {
            // Removed while we were at it: no fault.
            if (!catalog_.find(record.id)) return;
            fault(record.name(), fmt::format("its pack {} is missing", layout_.pack(record.id).string()));
        } else {
            fault(record.name(), error.message());
        }
        ++report_.snapshots;
    }
}

// Every group that the snapshot needs, wherever it lies; each one once, whoever needs it.
void Verifier::check_groups(const PackSet& packs, const std::string& name) {
    std::vector<std::pair<uint32_t, uint32_t>> to_check;  // number of the pack, group
    GroupUse use = groups_of(packs);
    for (uint32_t number = 1; number <= packs.count(); ++number) {
        for (uint32_t group : use[packs.at(number).id()]) {
            if (checked_[packs.at(number).id()].insert(group).second) to_check.emplace_back(number, group);
        }
    }
    struct Worker {
        BlockDecoder decoder;
        std::vector<std::byte> buffer;
        std::vector<std::byte> raw = std::vector<std::byte>(k_block_size);
    };
    std::vector<Worker> workers(worker_count());
    std::mutex fault_lock;
    std::atomic<uint64_t> done{report_.bytes};
    auto work = [&](size_t worker, size_t i) {
        const PagePack& pack = packs.at(to_check[i].first);
        const PageGroup& group = pack.index().groups[to_check[i].second];
        Worker& own = workers[worker];
        std::string damage;
        try {
            auto raw = std::span(own.raw).first(group.bytes());
            pack.read_group(to_check[i].second, own.decoder, own.buffer, raw);
            auto stored = std::span(own.buffer).first(group.block.stored);
            if (group.block.kind == BlockKind::zstd && frame_check_of(stored) != group.block.frame_check) {
                damage = fmt::format(
                    "the stored bytes of group {} in the pack of {} changed, though not what they decode to",
                    to_check[i].second, pack.id().substr(0, 12));
            } else if (!pack.has_its_hints(to_check[i].second, raw)) {
                damage = fmt::format(
                    "the hints of group {} in the pack of {} are not those of its pages: what is restored is "
                    "right, "
                    "but `diff` may count its pages as changed",
                    to_check[i].second, pack.id().substr(0, 12));
            }
        } catch (const Error& error) {
            damage = error.message();
        }
        done += group.block.stored;
        if (damage.empty()) return;
        std::lock_guard guard(fault_lock);
        damaged_[pack.id()][to_check[i].second] = damage;
    };
    for_each_piece(to_check.size(), work, [&] {
        if (progress_) progress_(std::min<uint64_t>(done, total_), total_);
    });
    for (const auto& [id, groups] : use) {
        auto damaged = damaged_.find(id);
        if (damaged == damaged_.end()) continue;
        for (const auto& [group, message] : damaged->second) {
            if (groups.contains(group)) fault(name, message);
        }
    }
}

void Verifier::check_blocks(const Pack& pack) {
    struct Worker {
        BlockDecoder decoder;
        std::vector<std::byte> buffer;
        std::vector<std::byte> raw = std::vector<std::byte>(k_block_size);
    };
    std::vector<Worker> workers(worker_count());
    std::mutex fault_lock;
    std::atomic<uint64_t> done{report_.bytes};
    for (const FileEntry& file : pack.files()) {
        auto work = [&](size_t worker, size_t i) {
            if (file.blocks[i].kind == BlockKind::zero) return;
            Worker& own = workers[worker];
            try {
                pack.read_block(file, i, own.decoder, own.buffer,
                                std::span(own.raw).first(file.block_size(i)));
                const BlockEntry& block = file.blocks[i];
                auto stored = std::span(own.buffer).first(block.stored);
                if (block.kind == BlockKind::zstd && frame_check_of(stored) != block.frame_check) {
                    throw Error(
                        ErrorKind::damaged,
                        fmt::format(
                            "the stored bytes of block {} of '{}' changed, though not what they decode to", i,
                            base::escape(file.name)));
                }
            } catch (const Error& error) {
                std::lock_guard guard(fault_lock);
                fault(pack.name(), error.message());
            }
            done += file.blocks[i].stored;
        };
        for_each_piece(file.blocks.size(), work, [&] {
            if (progress_) progress_(done, total_);
        });
    }
}

void Verifier::check_catalog(const SnapshotRecord& record, const PackFacts& facts) {
    SnapshotInfo stored = parse_info_json(facts.info, record.name());
    SnapshotInfo listed = record.info;
    // Tags come and go after the pack was written.
    stored.tags.clear();
    listed.tags.clear();
    bool same = make_info_json(stored) == make_info_json(listed) && record.number == facts.number &&
                record.raw_bytes == facts.raw_bytes && record.stored_bytes == facts.size;
    if (!same && catalog_.find(record.id))
        fault(record.name(), "the catalog's row differs from what its pack says");
    if (make_rows(catalog_.rows_of(record.id)) != make_rows(facts.rows) && catalog_.find(record.id)) {
        fault(record.name(), "the catalog's processes, fds, mappings or files differ from those in its pack");
    }
}

void Verifier::check_mode(const fs::path& path, unsigned widest) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) return;
    unsigned mode = st.st_mode & 07777;
    if ((mode & ~widest) != 0) {
        fault("", fmt::format(
                      "{} has mode {:04o}, wider than {:04o}: others may read what containers had in memory",
                      base::escape(path.string()), mode, widest));
    }
}

void Verifier::check_entry(const fs::directory_entry& entry, bool known) {
    std::error_code gone;
    if (!fs::exists(entry.symlink_status(gone))) return;
    if (!known) {
        fault("", fmt::format("{} does not belong to the repository", base::escape(entry.path().string())));
        return;
    }
    bool directory = entry.is_directory(gone);
    if (entry.is_symlink(gone) || (!directory && !entry.is_regular_file(gone))) {
        fault("", fmt::format("{} is neither a file nor a directory", base::escape(entry.path().string())));
    }
    check_mode(entry.path(), directory ? 0700 : 0600);
}

void Verifier::check_directory(const std::vector<SnapshotRecord>& records,
                               const std::vector<Pending>& pending) {
    std::set<std::string> expected;
    for (const SnapshotRecord& record : records) expected.insert(Layout::pack_name(record.id));
    for (const Pending& one : pending) expected.insert(Layout::pack_name(one.id));

    static const std::set<std::string> k_top = {
        "format",  "catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db.old", "packs",
        "staging", "tmp",        "journal",        "suspended"};
    check_mode(layout_.root, 0700);
    for (const auto& entry : fs::directory_iterator(layout_.root)) {
        std::string name = entry.path().filename().string();
        bool unfinished = name.starts_with(layout_.fresh_catalog().filename().string());
        check_entry(entry, unfinished || k_top.contains(name));
        if (unfinished) {
            fault("",
                  fmt::format(
                      "{} was left by a rebuild that did not end; the next `cprewind rebuild` removes it",
                      base::escape(entry.path().string())),
                  true);
        }
    }
    for (const auto& entry : fs::directory_iterator(layout_.packs())) {
        std::string name = entry.path().filename().string();
        // What we do not know may have come since we read the catalog.
        std::string id = entry.path().stem().string();
        bool known = expected.contains(name) ||
                     (is_snapshot_id(id) && entry.path().extension() == k_kept_suffix) ||
                     (name == Layout::pack_name(id) && is_snapshot_id(id) &&
                      (catalog_.find(id) || catalog_.find_pending(id) || catalog_.find(id)));
        check_entry(entry, known);
    }
    for (const auto& entry : fs::directory_iterator(layout_.temporary())) {
        bool ours = entry.path().extension() == k_pack_suffix;
        check_entry(entry, ours);
        if (ours && owner_of(entry.path()) == Owner::dead) {
            fault("",
                  fmt::format("{} was left by a writer that died; the next `cprewind snap` removes it",
                              base::escape(entry.path().string())),
                  true);
        }
    }
}

void Verifier::check_pending(const std::vector<Pending>& pending) {
    for (const Pending& one : pending) {
        // A removal that is under way looks like one that was broken off; both are no more than leftovers.
        if (one.state == PendingState::writing && owner_of(layout_, one) == Owner::alive) continue;
        if (!catalog_.find_pending(one.id)) continue;
        // A removal beside a writer leaves the space to the next one, as a writer that died leaves its pack.
        const char* what = one.state == PendingState::writing
                               ? "was being written when cprewind died"
                               : "is removed, but its space is not given back yet";
        fault("",
              fmt::format("snapshot {} {}; the next `cprewind snap` sees to it", one.id.substr(0, 12), what),
              true);
    }
}

}  // namespace

VerifyReport verify_snapshot(const Layout& layout, const Catalog& catalog, const SnapshotRecord& record,
                             VerifyMode mode, const Progress& progress) {
    Verifier verifier(layout, catalog, mode, progress);
    verifier.expect(record.stored_bytes);
    verifier.check_snapshot(record);
    return verifier.finish();
}

VerifyReport verify_all(const Layout& layout, const Catalog& catalog, VerifyMode mode,
                        const Progress& progress) {
    Verifier verifier(layout, catalog, mode, progress);
    for (const std::string& fault : catalog.faults()) verifier.fault("", "the catalog is damaged: " + fault);
    std::vector<SnapshotRecord> records;
    std::vector<Pending> pending;
    try {
        Transaction transaction = catalog.read();
        records = catalog.list();
        pending = catalog.pending();
    } catch (const Error& error) {
        verifier.fault("", error.message());
        return verifier.finish();
    }
    for (const SnapshotRecord& record : records) verifier.expect(record.stored_bytes);
    for (const SnapshotRecord& record : records) verifier.check_snapshot(record);
    try {
        verifier.check_pending(pending);
        verifier.check_directory(records, pending);
    } catch (const std::exception& error) {
        verifier.fault("", fmt::format("the directory cannot be read: {}", error.what()));
    }
    return verifier.finish();
}

}  // namespace cprewind::store
