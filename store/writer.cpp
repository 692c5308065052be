#include "store/writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "store/catalog.h"
#include "store/format_file.h"
#include "store/info_json.h"
#include "store/pack_format.h"
#include "store/page_writer.h"
#include "store/reference.h"
#include "store/rows_codec.h"
#include "store/snapshot_source.h"
#include "store/testing.h"
#include "store/usage.h"

namespace cprewind::store {
namespace {

using base::Error;
using base::ErrorKind;

// Room for a long note, and far below what the pack's info may hold.
constexpr size_t k_max_message = 64 * 1024;

class MemoryFile : public images::ImageFile {
 public:
    explicit MemoryFile(std::string_view content) : content_(content) {}
    uint64_t size() const override { return content_.size(); }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        if (offset >= content_.size()) return 0;
        auto part = content_.substr(static_cast<size_t>(offset), out.size());
        std::memcpy(out.data(), part.data(), part.size());
        return part.size();
    }

 private:
    std::string_view content_;
};

void check_info(const SnapshotInfo& info) {
    for (const std::string& tag : info.tags) check_tag(tag);
    if (info.message.size() > k_max_message) {
        throw Error(ErrorKind::usage,
                    fmt::format("the message has {}; at most {} are kept",
                                base::human_bytes(info.message.size()), base::human_bytes(k_max_message)));
    }
    CPREWIND_CHECK(!info.container_name.empty());
    CPREWIND_CHECK(!info.parent || is_snapshot_id(*info.parent));
}

// The parent's packs; null where it cannot be used, since it only saves space.
std::shared_ptr<const PackSet> open_parent(const Layout& layout, const std::optional<SnapshotId>& parent) {
    try {
        // Of one that was removed only what others need is still there.
        if (!parent || !std::filesystem::exists(layout.pack(*parent))) return nullptr;
        if (pack_version(layout, *parent, *parent) != k_paged_version) return nullptr;
        return open_pack_set(layout, *parent, *parent);
    } catch (const Error&) {
        return nullptr;
    }
}

// Where the first snapshot of a timeline looks for pages it has in common with others: the newest packs.
std::vector<std::shared_ptr<const PagePack>> open_newest(const Layout& layout, const Catalog& catalog) {
    constexpr size_t k_most = 16;
    std::vector<std::shared_ptr<const PagePack>> packs;
    auto records = catalog.list();
    for (auto record = records.rbegin(); record != records.rend() && packs.size() < k_most; ++record) {
        try {
            if (pack_version(layout, record->id, record->name()) != k_paged_version) continue;
            packs.push_back(
                std::make_shared<const PagePack>(layout.pack(record->id), record->id, record->name()));
        } catch (const Error&) {
            continue;
        }
    }
    return packs;
}

class Writer : public SnapshotWriter {
 public:
    // A connection of its own, so that writers of one Repository do not share a transaction.
    Writer(const Layout& layout, const std::optional<SnapshotId>& parent)
        : layout_(layout), catalog_(layout.catalog(), Database::Mode::write), hold_(hold_packs(layout)) {
        auto packs = open_parent(layout, parent);
        auto others = packs ? std::vector<std::shared_ptr<const PagePack>>() : open_newest(layout, catalog_);
        pack_ = std::make_unique<PageWriter>(layout.temporary(), std::move(packs), std::move(others));
    }

    void add(std::string_view name, const images::ImageFile& file, const Progress& progress,
             const PageAddresses& addresses) override {
        if (name == k_rows_file) {
            throw Error(ErrorKind::failed, fmt::format("the file name '{}' is the store's own", name));
        }
        pack_->add(name, file, addresses, progress);
    }
    void add(std::string_view name, std::string_view content) override {
        add(name, MemoryFile(content), {}, {});
    }

    SnapshotRecord commit(const SnapshotInfo& info, const CatalogRows& rows) override;

 private:
    void undo(const SnapshotId& id) noexcept;

    Layout layout_;
    Catalog catalog_;
    base::Fd hold_;  // no pack that we refer to goes away before the commit
    std::unique_ptr<PageWriter> pack_;
};

SnapshotRecord Writer::commit(const SnapshotInfo& given, const CatalogRows& given_rows) {
    check_info(given);
    SnapshotRecord record;
    record.info = given;
    auto& tags = record.info.tags;
    std::sort(tags.begin(), tags.end());
    tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
    record.raw_bytes = pack_->raw_bytes();
    CatalogRows rows = normalized(given_rows);
    std::string row_bytes = make_rows(rows);
    pack_->add(k_rows_file, MemoryFile(row_bytes), {}, {});
    testing::reached("before sync");
    pack_->sync_groups();
    testing::reached("blocks synced");

    std::string info = make_info_json(record.info);
    record.id = pack_->id_for(info);
    {
        Transaction transaction = catalog_.write();
        if (auto there = catalog_.find(record.id)) {
            // Same content, same moment, same everything: it is stored already.
            catalog_.set_head(record.info.container_id, record.id);
            transaction.commit();
            return *there;
        }
        if (catalog_.find_pending(record.id)) {
            throw Error(ErrorKind::busy,
                        fmt::format("snapshot {} is just being written or removed", record.id),
                        "try again in a moment");
        }
        record.number = catalog_.next_number(record.info.container_name);
        pack_->seal(info, record.number);
        record.stored_bytes = pack_->stored_bytes();
        testing::reached("sealed");
        catalog_.add_pending({record.id, PendingState::writing, pack_->file_name()},
                             record.info.container_name, record.number);
        transaction.commit();
    }
    try {
        testing::reached("pending");
        pack_->move_to(layout_.pack(record.id));
        testing::reached("moved");
        base::sync_directory(layout_.packs());
        base::sync_directory(layout_.temporary());
        testing::reached("directories synced");
        Transaction transaction = catalog_.write();
        catalog_.add(record, rows);
        catalog_.set_head(record.info.container_id, record.id);
        catalog_.drop_pending(record.id);
        testing::reached("before commit");
        transaction.commit();
    } catch (...) {
        undo(record.id);
        throw;
    }
    testing::reached("committed");
    return record;
}

void Writer::undo(const SnapshotId& id) noexcept {
    // A commit that failed may yet turn out to have happened, when its last sync was refused and SQLite finds it in the
    // log later. So nothing is removed before a later commit, which overrules it, has gone well. Where this cannot be
    // done, the next writer's tidying finds either the snapshot, whole, or the row in `pending`.
    try {
        {
            Transaction transaction = catalog_.write();
            if (catalog_.find(id) || !catalog_.find_pending(id)) return;
            catalog_.set_removing(id);
            transaction.commit();
        }
        ::unlink(layout_.pack(id).c_str());
        base::sync_directory(layout_.packs());
        catalog_.drop_pending(id);
    } catch (...) {
    }
}

}  // namespace

std::unique_ptr<SnapshotWriter> make_writer(const Layout& layout, const std::optional<SnapshotId>& parent) {
    raise_format(layout);
    return std::make_unique<Writer>(layout, parent);
}

}  // namespace cprewind::store
