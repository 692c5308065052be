#include "store/pack_reader.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "store/rows_codec.h"

namespace cprewind::store {
namespace {

using base::Error;
using base::ErrorKind;

}  // namespace

Pack::Pack(const std::filesystem::path& path, const SnapshotId& id, std::string name)
    : name_(std::move(name)) {
    fd_ = base::open_file(path, O_RDONLY);
    size_ = base::file_size(fd_.get(), path.string());
    std::string label = fmt::format("{} (pack {})", name_, path.string());
    auto read = [&](std::span<std::byte> out, uint64_t offset) {
        if (base::pread_full(fd_.get(), out, offset, label) != out.size()) {
            throw Error(ErrorKind::damaged, fmt::format("{} is damaged: it ends at byte {}", label, size_),
                        "run `cprewind verify` to see what else is; this snapshot cannot be trusted");
        }
    };
    std::array<std::byte, k_header_size> header{};
    read(header, 0);
    check_header(header, label);
    if (size_ < k_header_size + k_trailer_size) {
        throw Error(ErrorKind::damaged,
                    fmt::format("{} is damaged: {} bytes are too few for a pack", label, size_),
                    "run `cprewind verify` to see what else is; this snapshot cannot be trusted");
    }
    std::array<std::byte, k_trailer_size> trailer_bytes{};
    read(trailer_bytes, size_ - k_trailer_size);
    Trailer trailer = parse_trailer(trailer_bytes, size_, label);
    std::vector<std::byte> bytes(static_cast<size_t>(trailer.index_size + trailer.info_size));
    read(bytes, trailer.index_offset);
    tail_ = parse_tail(bytes, trailer, label);
    SnapshotId found = id_of(tail_.files, tail_.info);
    if (found != id) {
        throw Error(ErrorKind::damaged,
                    fmt::format("{} is damaged: it holds the snapshot with id {}", label, found),
                    "the file may have been renamed; run `cprewind verify`");
    }
}

const FileEntry* Pack::find(std::string_view file_name) const {
    auto at = std::lower_bound(tail_.files.begin(), tail_.files.end(), file_name,
                               [](const FileEntry& file, std::string_view name) { return file.name < name; });
    return at != tail_.files.end() && at->name == file_name ? &*at : nullptr;
}

void Pack::read_block(const FileEntry& file, size_t i, BlockDecoder& decoder, std::vector<std::byte>& buffer,
                      std::span<std::byte> raw) const {
    const BlockEntry& block = file.blocks[i];
    buffer.resize(k_block_size);
    auto stored = std::span(buffer).first(block.stored);
    bool whole = base::pread_full(fd_.get(), stored, block.offset, name_) == stored.size();
    if (!whole || !decoder.decode(block, stored, raw)) {
        throw Error(
            ErrorKind::damaged,
            fmt::format("{} is damaged: block {} of '{}' (bytes {} to {} of its pack) is not what was stored",
                        name_, i, base::escape(file.name), block.offset, block.offset + block.stored),
            "run `cprewind verify` to see which snapshots are whole");
    }
}

const StoredFile::CachedBlock& StoredFile::block(size_t index) const {
    if (newest_.index == index) return newest_;
    std::swap(newest_, older_);
    if (newest_.index == index) return newest_;
    newest_.index = SIZE_MAX;
    newest_.raw.resize(entry_.block_size(index));
    pack_->read_block(entry_, index, decoder_, buffer_, newest_.raw);
    newest_.index = index;
    return newest_;
}

size_t StoredFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    if (offset >= entry_.size) return 0;
    auto size = static_cast<size_t>(std::min<uint64_t>(out.size(), entry_.size - offset));
    for (size_t done = 0; done < size;) {
        auto index = static_cast<size_t>((offset + done) / k_block_size);
        auto begin = static_cast<size_t>((offset + done) % k_block_size);
        size_t part = std::min(size - done, entry_.block_size(index) - begin);
        if (entry_.blocks[index].kind == BlockKind::zero) {
            std::memset(out.data() + done, 0, part);
        } else {
            std::memcpy(out.data() + done, block(index).raw.data() + begin, part);
        }
        done += part;
    }
    return size;
}

std::vector<std::string> StoredSource::list() const {
    std::vector<std::string> names;
    for (const FileEntry& file : pack_->files()) {
        names.push_back(file.name);
    }
    return names;
}

std::unique_ptr<images::ImageFile> StoredSource::open(std::string_view name) const {
    const FileEntry* entry = pack_->find(name);
    if (entry == nullptr) return nullptr;
    return std::make_unique<StoredFile>(pack_, *entry);
}

CatalogRows read_rows(std::shared_ptr<const Pack> pack) {
    const FileEntry* entry = pack->find(k_rows_file);
    if (entry == nullptr) return {};
    // Rows of a million files: far more than a container has, far less than what would hurt.
    constexpr uint64_t k_limit = uint64_t{256} << 20;
    if (entry->size > k_limit) {
        throw Error(ErrorKind::damaged, fmt::format("{} is damaged: {} of catalog rows", pack->name(),
                                                    base::human_bytes(entry->size)));
    }
    std::vector<std::byte> bytes(static_cast<size_t>(entry->size));
    StoredFile(pack, *entry).read_at(0, bytes);
    return parse_rows(bytes, pack->name());
}

}  // namespace cprewind::store
