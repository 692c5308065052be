#include "store/extract.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/fd.h"
#include "store/pack_reader.h"
#include "store/parallel.h"
#include "store/snapshot_source.h"

namespace cprewind::store {
namespace {

struct Worker {
    BlockDecoder decoder;
    std::vector<std::byte> buffer;
    std::vector<std::byte> raw = std::vector<std::byte>(k_block_size);
};

void extract_stored(const StoredFile& file, int fd, const Progress& progress) {
    const FileEntry& entry = file.entry();
    std::vector<Worker> workers(std::min<size_t>(worker_count(), entry.blocks.size()));
    std::atomic<uint64_t> done{0};
    auto work = [&](size_t worker, size_t i) {
        Worker& own = workers[worker];
        auto raw = std::span(own.raw).first(entry.block_size(i));
        if (entry.blocks[i].kind != BlockKind::zero) {
            file.pack().read_block(entry, i, own.decoder, own.buffer, raw);
            base::pwrite_full(fd, raw, uint64_t{i} * k_block_size, "the extracted file");
        }
        done += raw.size();
    };
    for_each_piece(entry.blocks.size(), work, [&] {
        if (progress) progress(done, entry.size);
    });
}

void extract_paged(const PagedStoredFile& file, int fd, const Progress& progress) {
    constexpr uint64_t k_piece = 512 * k_page_size;
    PageLocator locator(file.file());
    auto pieces = static_cast<size_t>((file.size() + k_piece - 1) / k_piece);
    std::vector<std::unique_ptr<PageReader>> readers(std::min<size_t>(worker_count(), pieces));
    std::vector<base::Buffer> buffers(readers.size());
    std::atomic<uint64_t> done{0};
    auto work = [&](size_t worker, size_t piece) {
        if (!readers[worker]) {
            readers[worker] = std::make_unique<PageReader>(file.packs());
            buffers[worker] = base::Buffer(
                static_cast<size_t>(std::min(k_piece / k_page_size, file.file().pages()) * k_page_size));
        }
        uint64_t first = piece * k_piece / k_page_size;
        uint64_t last = std::min(first + k_piece / k_page_size, file.file().pages());
        auto write = [&](uint64_t from, uint64_t to) {
            if (from == to) return;
            uint64_t end = std::min(to * k_page_size, file.size());
            auto bytes =
                buffers[worker].bytes().subspan((from - first) * k_page_size, end - from * k_page_size);
            base::pwrite_full(fd, bytes, from * k_page_size, "the extracted file");
        };
        uint64_t begin = first;  // of the pages that are in the buffer and not yet in the file
        for (uint64_t page = first; page < last; ++page) {
            PageRef ref = locator.at(page);
            if (ref.is_zero()) {
                write(begin, page);
                begin = page + 1;
                continue;
            }
            readers[worker]->read(ref,
                                  buffers[worker].bytes().subspan((page - first) * k_page_size, k_page_size));
            // Group by group, while the bytes are still in the core's cache.
            if (page + 1 - begin == k_group_pages) {
                write(begin, page + 1);
                begin = page + 1;
            }
        }
        write(begin, last);
        done += std::min(k_piece, file.size() - first * k_page_size);
    };
    for_each_piece(pieces, work, [&] {
        if (progress) progress(done, file.size());
    });
}

void extract_any(const images::ImageFile& file, int fd, const Progress& progress) {
    std::vector<std::byte> raw(k_block_size);
    uint64_t size = file.size();
    for (uint64_t offset = 0; offset < size; offset += k_block_size) {
        auto part =
            std::span(raw).first(static_cast<size_t>(std::min<uint64_t>(k_block_size, size - offset)));
        if (file.read_at(offset, part) != part.size()) {
            throw base::Error(base::ErrorKind::io, "a file became shorter while it was copied");
        }
        if (!is_zero(part)) base::pwrite_full(fd, part, offset, "the extracted file");
        if (progress) progress(offset + part.size(), size);
    }
}

}  // namespace

void extract(const images::ImageFile& file, int fd, const Progress& progress) {
    // To nothing first: what it held must not show through the holes.
    if (::ftruncate(fd, 0) != 0 || ::ftruncate(fd, static_cast<off_t>(file.size())) != 0) {
        base::throw_errno(errno, "set the size of the extracted file");
    }
    if (const auto* stored = dynamic_cast<const StoredFile*>(&file)) {
        extract_stored(*stored, fd, progress);
    } else if (const auto* paged = dynamic_cast<const PagedStoredFile*>(&file)) {
        extract_paged(*paged, fd, progress);
    } else {
        extract_any(file, fd, progress);
    }
    if (progress) progress(file.size(), file.size());
}

}  // namespace cprewind::store
