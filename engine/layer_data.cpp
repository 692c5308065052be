#include "engine/layer_data.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/fd.h"
#include "engine/layer_walk.h"

namespace cprewind::engine {
using images::LayerEntry;
using images::LayerExtent;

namespace {

constexpr size_t k_copy_buffer = 1u << 20;

// A file that is mostly hole costs nothing to keep but its full length to hash (a second per gigabyte and
// more), and a container can make one of 8 EiB. Beyond this much hole the digest is left out.
constexpr uint64_t k_hashed_hole_limit = 1u << 30;

void hash_zeros(base::Hasher& hasher, uint64_t length) {
    static const std::vector<std::byte> zeros(k_copy_buffer);
    while (length > 0) {
        size_t n = static_cast<size_t>(std::min<uint64_t>(length, zeros.size()));
        hasher.update(std::span(zeros).first(n));
        length -= n;
    }
}

off_t seek(int fd, uint64_t offset, int whence, const std::string& name) {
    off_t found = ::lseek(fd, static_cast<off_t>(offset), whence);
    if (found < 0 && errno != ENXIO)
        base::throw_errno(errno, fmt::format("find the data of {}", shown(name)));
    return found;
}

}  // namespace

std::vector<LayerExtent> LayerDataWriter::append(int in, uint64_t size, const std::string& name) {
    std::vector<LayerExtent> extents;
    for (uint64_t at = 0; at < size;) {
        off_t begin = seek(in, at, SEEK_DATA, name);
        if (begin < 0) break;
        auto first = static_cast<uint64_t>(begin);
        off_t stop = seek(in, first, SEEK_HOLE, name);
        if (stop < 0 || first >= size) break;
        at = static_cast<uint64_t>(stop);
        end_ = page_end(end_);
        LayerExtent extent{.file_offset = first, .data_offset = end_, .length = 0};
        extent.length = append_range(in, first, std::min(at, size) - first, name);
        if (extent.length > 0) extents.push_back(extent);
    }
    return extents;
}

uint64_t LayerDataWriter::append_range(int in, uint64_t offset, uint64_t length, const std::string& name) {
    uint64_t done = 0;
    while (done < length) {
        size_t n = append_some(in, offset + done, length - done, name);
        if (n == 0) break;
        done += n;
        end_ += n;
        copied_ += n;
    }
    return done;
}

size_t LayerDataWriter::append_some(int in, uint64_t offset, uint64_t length, const std::string& name) {
    if (in_kernel_) {
        auto from = static_cast<off_t>(offset);
        auto to = static_cast<off_t>(end_);
        ssize_t n = ::copy_file_range(in, &from, out_, &to, std::min<uint64_t>(length, 1u << 30), 0);
        if (n > 0) return static_cast<size_t>(n);
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO)) {
            base::throw_errno(errno, fmt::format("copy {}", shown(name)));
        }
        // Any other error: not between these file systems. 0 is the end of the file, or of what such a copy
        // can reach; reading tells which.
        if (n < 0) in_kernel_ = false;
    }
    buffer_.resize(k_copy_buffer);
    auto part = std::span(buffer_).first(static_cast<size_t>(std::min<uint64_t>(length, k_copy_buffer)));
    size_t n = base::pread_full(in, part, offset, shown(name));
    base::pwrite_full(out_, part.first(n), end_, "the copy of the layer");
    return n;
}

std::optional<base::Digest> digest_of_entry(const LayerEntry& entry, int data) {
    uint64_t held = 0;
    for (const LayerExtent& extent : entry.extents) held += extent.length;
    if (entry.size - std::min(held, entry.size) > k_hashed_hole_limit) return std::nullopt;
    base::Hasher hasher;
    std::vector<std::byte> buffer(static_cast<size_t>(std::min<uint64_t>(held, k_copy_buffer)));
    uint64_t at = 0;
    for (const LayerExtent& extent : entry.extents) {
        hash_zeros(hasher, extent.file_offset - at);
        for (uint64_t done = 0; done < extent.length;) {
            auto part = std::span(buffer).first(
                static_cast<size_t>(std::min<uint64_t>(extent.length - done, buffer.size())));
            size_t n = base::pread_full(data, part, extent.data_offset + done, "the copy of the layer");
            CPREWIND_CHECK(n == part.size());
            hasher.update(part);
            done += n;
        }
        at = extent.file_offset + extent.length;
    }
    hash_zeros(hasher, entry.size - std::min(at, entry.size));
    return hasher.finish();
}

}  // namespace cprewind::engine
