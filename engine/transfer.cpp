#include "engine/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "engine/tar_writer.h"
#include "store/info_json.h"
#include "store/pack_format.h"
#include "store/reference.h"
#include "store/rows_codec.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

constexpr const char* k_head = "snapshot.json";
constexpr const char* k_digests = "digests.sha256";
constexpr size_t k_piece = 256 * 1024;
constexpr uint64_t k_small = 4u << 20;  // of head and digests: thousands of names

[[noreturn]] void throw_damaged(const images::ImageSource& files, const std::string& what) {
    throw Error(ErrorKind::damaged, fmt::format("{} is damaged: {}", base::escape(files.describe()), what),
                "export the snapshot again");
}

// Hands the bytes of a file, in order, to `take`.
template <typename Take>
void read_through(const images::ImageFile& file, const std::string& name, const Take& take) {
    std::vector<std::byte> piece(k_piece);
    for (uint64_t offset = 0, size = file.size(); offset < size;) {
        auto part = std::span(piece).first(static_cast<size_t>(std::min<uint64_t>(k_piece, size - offset)));
        if (file.read_at(offset, part) != part.size())
            throw Error(ErrorKind::damaged, fmt::format("'{}' ends too early", base::escape(name)));
        take(std::span<const std::byte>(part));
        offset += part.size();
    }
}

json read_head(const images::ImageSource& files) {
    auto text = images::read_whole(files, k_head, k_small);
    json head = text ? json::parse(*text, nullptr, false) : json();
    if (!head.is_object() || !head.contains("cprewind_export"))
        throw_damaged(files, "it has no snapshot.json of ours");
    const json& version = head["cprewind_export"];
    if (!version.is_number_unsigned() || version.get<uint64_t>() != k_export_version) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("{} is an export of version {}, and this cprewind reads version {}",
                                base::escape(files.describe()),
                                base::escape(version.dump(-1, ' ', true, json::error_handler_t::replace)),
                                k_export_version),
                    "use a newer cprewind");
    }
    return head;
}

using Digests = std::map<std::string, base::Digest>;

Digests read_digests(const images::ImageSource& files) {
    auto text = images::read_whole(files, k_digests, k_small);
    if (!text) throw_damaged(files, "its end is missing: it has no digests.sha256");
    Digests digests;
    for (const std::string& line : base::split(*text, '\n')) {
        if (line.empty()) continue;
        auto digest = base::Digest::from_hex(line.substr(0, 64));
        if (!digest || line.size() < 67 || line.compare(64, 2, "  ") != 0)
            throw_damaged(files, "its digests.sha256 cannot be read");
        if (!digests.emplace(line.substr(66), *digest).second) throw_damaged(files, "it names a file twice");
    }
    return digests;
}

// Every byte, before anything is believed.
void check_digests(const images::ImageSource& files, const Digests& digests,
                   const store::Progress& progress) {
    std::vector<std::string> names = files.list();
    uint64_t total = 0, done = 0;
    for (const std::string& name : names) total += files.open(name)->size();
    for (const auto& [name, digest] : digests) {
        if (std::find(names.begin(), names.end(), name) == names.end())
            throw_damaged(files, fmt::format("'{}' is missing", base::escape(name)));
    }
    for (const std::string& name : names) {
        if (name == k_digests) continue;
        auto expected = digests.find(name);
        if (expected == digests.end())
            throw_damaged(files, fmt::format("'{}' does not belong to it", base::escape(name)));
        base::Hasher hasher;
        read_through(*files.open(name), name, [&](std::span<const std::byte> part) {
            hasher.update(part);
            done += part.size();
            if (progress) progress(done, 2 * total);
        });
        if (hasher.finish() != expected->second)
            throw_damaged(files, fmt::format("'{}' is not what was exported", base::escape(name)));
    }
}

// The snapshot of that container and that time.
std::optional<store::SnapshotRecord> find_moment(const std::vector<store::SnapshotRecord>& records,
                                                 const std::string& container, base::WallTime taken_at) {
    for (const store::SnapshotRecord& record : records) {
        if (record.info.container_id == container && record.info.taken_at == taken_at) return record;
    }
    return std::nullopt;
}

// What Docker accepts as a name; the others are shown as they are wherever a snapshot is.
void check_words(const images::ImageSource& files, const store::SnapshotInfo& info) {
    constexpr std::string_view k_name = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    const std::string& name = info.container_name;
    if (name.empty() || name.size() > 255 || name.find_first_not_of(k_name) != std::string::npos)
        throw_damaged(files, fmt::format("'{}' is no name of a container", base::escape(name)));
    for (const std::string* text :
         {&info.container_id, &info.container_image, &info.engine, &info.criu, &info.architecture}) {
        if (text->size() > 4096 || base::escape(*text) != *text)
            throw_damaged(files, fmt::format("'{}' is no name", base::escape(text->substr(0, 80))));
    }
    for (const std::string& tag : info.tags) store::check_tag(tag);
}

// What only this repository can say of it.
void adopt(store::SnapshotInfo& info, const json& head, const std::vector<store::SnapshotRecord>& records,
           std::vector<std::string>& dropped_tags) {
    info.parent.reset();
    const json parent = head.value("parent_taken_at_ns", json());
    if (parent.is_number_integer()) {
        base::WallTime taken_at{std::chrono::nanoseconds(parent.get<int64_t>())};
        if (auto record = find_moment(records, info.container_id, taken_at)) info.parent = record->id;
    }
    for (const store::SnapshotRecord& record : records) {
        for (const std::string& tag : record.info.tags) {
            if (std::erase(info.tags, tag) > 0) dropped_tags.push_back(tag);
        }
    }
}

}  // namespace

void export_snapshot(const store::Repository& repository, const store::SnapshotRecord& record, int fd,
                     const std::string& name, const store::Progress& progress) {
    auto source = repository.open(record);
    std::vector<std::string> files = source->list();
    json head = {{"cprewind_export", k_export_version},
                 {"id", record.id},
                 {"name", record.name()},
                 {"info", json::parse(store::make_info_json(record.info))},
                 {"parent_taken_at_ns", nullptr}};
    for (const store::SnapshotRecord& other : repository.list()) {
        if (other.id == record.info.parent)
            head["parent_taken_at_ns"] = other.info.taken_at.time_since_epoch().count();
    }
    auto mtime =
        std::chrono::duration_cast<std::chrono::seconds>(record.info.taken_at.time_since_epoch()).count();
    TarWriter tar(fd, name);
    std::string head_text = head.dump(-1, ' ', true, json::error_handler_t::replace);
    tar.add(k_head, head_text, mtime);
    std::string digests = fmt::format("{}  {}\n", base::digest_of(base::as_bytes(head_text)).hex(), k_head);
    uint64_t done = 0;
    for (const std::string& file_name : files) {
        auto file = source->open(file_name);
        tar.begin(file_name, file->size(), mtime);
        base::Hasher hasher;
        read_through(*file, file_name, [&](std::span<const std::byte> part) {
            hasher.update(part);
            tar.put(part);
            done += part.size();
            if (progress) progress(done, record.raw_bytes);
        });
        digests += fmt::format("{}  {}\n", hasher.finish().hex(), file_name);
    }
    tar.add(k_digests, digests, mtime);
    tar.finish();
}

bool is_export(const images::ImageSource& files) {
    auto text = files.open(k_head) ? images::read_whole(files, k_head, k_small) : nullptr;
    json head = text ? json::parse(*text, nullptr, false) : json();
    return head.is_object() && head.contains("cprewind_export");
}

Imported import_snapshot(store::Repository& repository, const images::ImageSource& files,
                         const std::string& container_name, const store::Progress& progress) {
    json head = read_head(files);
    check_digests(files, read_digests(files), progress);
    store::SnapshotInfo info = store::parse_info_json(head.value("info", json()).dump(), files.describe());
    if (!container_name.empty()) info.container_name = container_name;
    check_words(files, info);

    Imported imported;
    auto records = repository.list();
    if (auto there = find_moment(records, info.container_id, info.taken_at)) return {*there, true, {}};
    adopt(info, head, records, imported.dropped_tags);
    auto container_head = repository.head(info.container_id);

    // What it resembles most: its parent, else whatever came last of this container.
    std::optional<store::SnapshotId> like = info.parent;
    for (const store::SnapshotRecord& record : records) {
        if (!info.parent && record.info.container_id == info.container_id) like = record.id;
    }
    auto writer = repository.begin(like);
    store::CatalogRows rows;
    uint64_t total = 0, before = 0;
    for (const std::string& name : files.list()) total += files.open(name)->size();
    for (const std::string& name : files.list()) {
        if (name == k_head || name == k_digests) continue;
        auto file = files.open(name);
        if (name == store::k_rows_file) {
            auto bytes = images::read_whole(files, name);
            rows = store::parse_rows(base::as_bytes(*bytes), files.describe());
            continue;
        }
        if (!store::is_file_name(name))
            throw_damaged(files, fmt::format("'{}' is no name of a file", base::escape(name)));
        writer->add(name, *file, [&](uint64_t done, uint64_t) {
            if (progress) progress(total + before + done, 2 * total);
        });
        before += file->size();
    }
    imported.record = writer->commit(info, rows);
    // It is of the past: what the container's present state descends from is as before.
    if (container_head) repository.set_head(info.container_id, *container_head);
    return imported;
}

}  // namespace cprewind::engine
