// What the tests of the layer mover share: a place on the real disk, trees to look at, and a model of a tree
// without what may differ (inodes, ctimes, where data lie).
#pragma once

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/text.h"
#include "engine/layer_io.h"

namespace cprewind::engine {

class DataFile : public images::ImageFile {
 public:
    explicit DataFile(const std::filesystem::path& path) : fd_(base::open_file(path, O_RDONLY)) {}
    uint64_t size() const override { return base::file_size(fd_.get(), "data"); }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        return base::pread_full(fd_.get(), out, offset, "data");
    }

 private:
    base::Fd fd_;
};

// A captured moment.
struct Moment {
    images::LayerTree tree;
    std::filesystem::path data;
};

class Disk {
 public:
    Disk() {
        // Devices, owners and trusted attributes are half of what is tested.
        REQUIRE(::geteuid() == 0);
        std::filesystem::create_directory(layer);
    }

    // Below the current directory, the build's: /tmp may be a tmpfs, where other rules hold.
    base::TemporaryDirectory directory{std::filesystem::current_path(), "layer-test-"};
    std::filesystem::path layer = directory.path() / "layer";

    std::filesystem::path fresh_data() { return directory.path() / fmt::format("data-{}", ++count_); }

    Moment capture() {
        LayerCapture capture(layer, fresh_data());
        capture.pass();
        capture.finish();
        return {capture.tree(), capture.data_path()};
    }

    std::vector<LayerChange> restore(const Moment& moment) {
        DataFile data(moment.data);
        return restore_layer(layer, moment.tree, &data);
    }

    void write(const std::string& path, std::string_view content) {
        base::Fd fd = base::open_file(layer / path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        base::write_full(fd.get(), base::as_bytes(content), path);
    }
    std::string read(const std::string& path) { return base::read_file(layer / path); }
    void set_xattr(const std::string& path, const char* key, std::string_view value) {
        REQUIRE(::lsetxattr((layer / path).c_str(), key, value.data(), value.size(), 0) == 0);
    }
    struct stat status(const std::string& path) {
        struct stat st {};
        REQUIRE(::lstat((layer / path).c_str(), &st) == 0);
        return st;
    }

 private:
    int count_ = 0;
};

// All that a restore promises, one line an entry.
inline std::vector<std::string> model(const images::LayerTree& tree) {
    std::vector<std::string> lines;
    for (const images::LayerEntry& e : tree.entries) {
        std::string line =
            fmt::format("{} type={} mode={:o} {}:{} rdev={} mtime={} size={} -> '{}' link='{}' {}",
                        base::escape(e.path), static_cast<int>(e.type), e.mode, e.uid, e.gid, e.rdev,
                        e.mtime_ns, e.size, e.link_target, e.hard_link_to, e.digest ? e.digest->hex() : "-");
        for (auto& [key, value] : e.xattrs) line += fmt::format(" {}={}", key, base::escape(value));
        lines.push_back(std::move(line));
    }
    return lines;
}

inline const images::LayerEntry* entry_of(const images::LayerTree& tree, std::string_view path) {
    for (const images::LayerEntry& entry : tree.entries) {
        if (entry.path == path) return &entry;
    }
    return nullptr;
}

inline uint64_t held_bytes(const images::LayerTree& tree) {
    uint64_t bytes = 0;
    for (const images::LayerEntry& entry : tree.entries) {
        for (const images::LayerExtent& extent : entry.extents) bytes += extent.length;
    }
    return bytes;
}

// Where the data of a layer end that hold its extents, each beginning on a page, and nothing else.
inline uint64_t exact_data_size(const images::LayerTree& tree) {
    uint64_t pages = 0, end = 0;
    for (const images::LayerEntry& entry : tree.entries) {
        for (const images::LayerExtent& extent : entry.extents) {
            CHECK(extent.data_offset % 4096 == 0);
            pages += (extent.length + 4095) / 4096;
            end = std::max(end, extent.data_offset + extent.length);
        }
    }
    CHECK((end + 4095) / 4096 == pages);
    return end;
}

}  // namespace cprewind::engine
