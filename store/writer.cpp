#include "store/writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "store/catalog.h"
#include "store/info_json.h"
#include "store/pack_writer.h"
#include "store/reference.h"
#include "store/rows_codec.h"
#include "store/testing.h"

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

class Writer : public SnapshotWriter {
 public:
    // A connection of its own, so that writers of one Repository do not share a transaction.
    explicit Writer(const Layout& layout)
        : layout_(layout), catalog_(layout.catalog(), Database::Mode::write), pack_(layout.temporary()) {}

    void add(std::string_view name, const images::ImageFile& file, const Progress& progress) override {
        if (name == k_rows_file) {
            throw Error(ErrorKind::failed, fmt::format("the file name '{}' is the store's own", name));
        }
        pack_.add(name, file, progress);
    }
    void add(std::string_view name, std::string_view content) override { add(name, MemoryFile(content), {}); }

    SnapshotRecord commit(const SnapshotInfo& info, const CatalogRows& rows) override;

 private:
    void undo(const SnapshotId& id) noexcept;

    Layout layout_;
    Catalog catalog_;
    PackWriter pack_;
};

SnapshotRecord Writer::commit(const SnapshotInfo& given, const CatalogRows& given_rows) {
    check_info(given);
    SnapshotRecord record;
    record.info = given;
    auto& tags = record.info.tags;
    std::sort(tags.begin(), tags.end());
    tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
    record.raw_bytes = pack_.raw_bytes();
    CatalogRows rows = normalized(given_rows);
    std::string row_bytes = make_rows(rows);
    pack_.add(k_rows_file, MemoryFile(row_bytes), {});
    testing::reached("before sync");
    pack_.sync_blocks();
    testing::reached("blocks synced");

    std::string info = make_info_json(record.info);
    record.id = pack_.id_for(info);
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
        pack_.seal(info, record.number);
        record.stored_bytes = pack_.stored_bytes();
        testing::reached("sealed");
        catalog_.add_pending({record.id, PendingState::writing, pack_.file_name()},
                             record.info.container_name, record.number);
        transaction.commit();
    }
    try {
        testing::reached("pending");
        pack_.move_to(layout_.pack(record.id));
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
    // A commit that failed may have happened all the same: only the catalog knows, so ask it before removing.
    // Where even this cannot be done, the next writer's tidying does it.
    try {
        Transaction transaction = catalog_.write();
        if (catalog_.find(id)) return;
        ::unlink(layout_.pack(id).c_str());
        base::sync_directory(layout_.packs());
        catalog_.drop_pending(id);
        transaction.commit();
    } catch (...) {
    }
}

}  // namespace

std::unique_ptr<SnapshotWriter> make_writer(const Layout& layout) {
    return std::make_unique<Writer>(layout);
}

}  // namespace cprewind::store
