#include "store/pack_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>

#include "base/error.h"
#include "base/text.h"
#include "store/layout.h"
#include "store/parallel.h"
#include "store/testing.h"

namespace cprewind::store {
namespace {

using base::Error;
using base::ErrorKind;

// Starting the write-back early leaves little for the sync at the end: 2.5 GB/s instead of 0.8 on the machine
// where it was measured. Smaller steps gained nothing.
constexpr uint64_t k_write_back_step = 8 << 20;

std::filesystem::path random_name(const std::filesystem::path& directory) {
    std::string pattern = (directory / "XXXXXX").string();
    pattern += k_pack_suffix;
    base::Fd fd(::mkostemps(pattern.data(), static_cast<int>(k_pack_suffix.size()), O_CLOEXEC));
    if (!fd) base::throw_errno(errno, fmt::format("create a file in {}", directory.string()));
    return pattern;
}

struct Worker {
    std::vector<std::byte> raw = std::vector<std::byte>(k_block_size);
    BlockEncoder encoder;
};

}  // namespace

PackWriter::PackWriter(const std::filesystem::path& directory) {
    // Between creation and lock a tidier may take the file for garbage and remove it: then the lock that we
    // get is one on a file without a name, and we try again.
    for (;;) {
        path_ = random_name(directory);
        testing::reached("created");
        try {
            fd_ = base::open_file(path_, O_RDWR);
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::not_found) continue;
            throw;
        }
        while (::flock(fd_.get(), LOCK_EX) != 0) {
            int e = errno;
            if (e != EINTR) base::throw_errno(e, fmt::format("lock {}", path_.string()));
        }
        struct stat st {};
        if (::fstat(fd_.get(), &st) == 0 && st.st_nlink > 0) break;
    }
    try {
        base::pwrite_full(fd_.get(), base::as_bytes(make_header()), 0, path_.string());
    } catch (...) {
        ::unlink(path_.c_str());
        throw;
    }
    end_ = k_header_size;
}

PackWriter::~PackWriter() {
    if (!moved_ && fd_) ::unlink(path_.c_str());
}

void PackWriter::add(std::string_view name, const images::ImageFile& file, const Progress& progress) {
    auto same = [&](const FileEntry& other) { return other.name == name; };
    CPREWIND_CHECK(whole_);
    // Names may come from somebody's archive.
    if (!is_file_name(name) || std::any_of(files_.begin(), files_.end(), same)) {
        throw Error(ErrorKind::failed,
                    fmt::format("'{}' cannot be stored: the name is {}", base::escape(name),
                                is_file_name(name) ? "there twice" : "not a safe relative path"));
    }
    FileEntry entry;
    entry.name = name;
    entry.size = file.size();
    uint64_t blocks = blocks_of(entry.size);
    if (blocks > k_max_blocks - block_count_) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("a snapshot can hold {} at most; '{}' with {} is too much",
                                base::human_bytes(k_max_blocks * k_block_size), base::escape(name),
                                base::human_bytes(entry.size)));
    }
    entry.blocks.resize(static_cast<size_t>(blocks));

    std::vector<Worker> workers(std::min<size_t>(worker_count(), entry.blocks.size()));
    std::mutex read_lock;
    std::atomic<uint64_t> end{end_};
    std::atomic<uint64_t> done{0};
    auto work = [&](size_t worker, size_t i) {
        Worker& own = workers[worker];
        auto raw = std::span(own.raw).first(entry.block_size(i));
        {
            std::lock_guard guard(read_lock);
            if (file.read_at(uint64_t{i} * k_block_size, raw) != raw.size()) {
                throw Error(ErrorKind::io,
                            fmt::format("'{}' became shorter while it was stored", base::escape(name)));
            }
        }
        BlockEntry& block = entry.blocks[i];
        auto stored = own.encoder.encode(raw, block);
        if (!stored.empty()) {
            block.offset = end.fetch_add(stored.size());
            base::pwrite_full(fd_.get(), stored, block.offset, path_.string());
            // Other workers' blocks in this range may not be written yet: they go with the next one or the
            // last sync.
            uint64_t step = block.offset / k_write_back_step;
            if ((block.offset + stored.size()) / k_write_back_step != step) {
                ::sync_file_range(fd_.get(), static_cast<off_t>(step * k_write_back_step),
                                  static_cast<off_t>(k_write_back_step), SYNC_FILE_RANGE_WRITE);
            }
        }
        done += raw.size();
    };
    auto between = [&] {
        if (progress) progress(done, entry.size);
    };
    whole_ = false;
    for_each_piece(entry.blocks.size(), work, between);
    whole_ = true;
    end_ = end;
    block_count_ += blocks;
    files_.push_back(std::move(entry));
    if (progress) progress(files_.back().size, files_.back().size);
}

void PackWriter::sync_blocks() {
    CPREWIND_CHECK(whole_);
    if (::fdatasync(fd_.get()) != 0) base::throw_errno(errno, fmt::format("sync {} to disk", path_.string()));
}

SnapshotId PackWriter::id_for(std::string_view info) {
    std::sort(files_.begin(), files_.end(), [](auto& a, auto& b) { return a.name < b.name; });
    return id_of(files_, info);
}

void PackWriter::seal(std::string_view info, uint64_t number) {
    CPREWIND_CHECK(whole_ && info.size() <= k_max_info_size);
    std::sort(files_.begin(), files_.end(), [](auto& a, auto& b) { return a.name < b.name; });
    std::string tail = make_tail({files_, std::string(info), number}, end_);
    base::pwrite_full(fd_.get(), base::as_bytes(tail), end_, path_.string());
    end_ += tail.size();
    // A whole fsync, for the size too.
    base::sync_file(fd_.get(), path_.string());
}

void PackWriter::move_to(const std::filesystem::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) {
        base::throw_errno(errno, fmt::format("rename {} to {}", path_.string(), target.string()));
    }
    path_ = target;
    moved_ = true;
}

uint64_t PackWriter::raw_bytes() const {
    uint64_t sum = 0;
    for (const FileEntry& file : files_) sum += file.size;
    return sum;
}

}  // namespace cprewind::store
