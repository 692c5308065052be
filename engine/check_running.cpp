#include "engine/check_running.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "engine/layer_io.h"
#include "images/pages.h"

namespace cprewind::engine {
namespace {

using base::Error;
namespace fs = std::filesystem;

// Of each process. What cannot be written decides, and there is little of it: mostly all of what the loader relocated.
// Of what can be written only a word is said.
constexpr size_t k_read_only_pages = 2048;
constexpr size_t k_writable_pages = 32;
// What a command line has at most on Linux is far more; what tells two apart is in the beginning.
constexpr uint64_t k_arguments_limit = 64 * 1024;
// Times of files are those of the last tick of the clock, which may be 10 ms old.
constexpr int64_t k_tick_ns = 20'000'000;

// The processes of the container by the pid that they themselves see, as the checkpoint has it.
std::map<uint32_t, pid_t> by_inner_pid(const Container& container) {
    std::map<uint32_t, pid_t> found;
    for (pid_t pid : processes_of(container)) {
        std::string status;
        try {
            status = base::read_file(fmt::format("/proc/{}/status", pid));
        } catch (const Error&) {
            continue;
        }
        for (const std::string& line : base::split(status, '\n')) {
            if (!line.starts_with("NSpid:")) continue;
            auto inner = base::parse_number(base::trim(line.substr(line.find_last_of("\t ") + 1)));
            if (inner) found[static_cast<uint32_t>(*inner)] = pid;
        }
    }
    return found;
}

std::string without_deleted(std::string path) {
    constexpr std::string_view k_mark = " (deleted)";
    if (path.ends_with(k_mark)) path.resize(path.size() - k_mark.size());
    return path;
}

class LiveProcess {
 public:
    explicit LiveProcess(pid_t pid) {
        std::error_code ignored;
        executable_ = without_deleted(fs::read_symlink(fmt::format("/proc/{}/exe", pid), ignored).string());
        memory_ = base::Fd(::open(fmt::format("/proc/{}/mem", pid).c_str(), O_RDONLY | O_CLOEXEC));
        try {
            mappings_ = parse_maps(base::read_file(fmt::format("/proc/{}/maps", pid)));
        } catch (const Error&) {
            // It has ended: then nothing is mapped.
        }
    }

    const std::string& executable() const { return executable_; }

    // False when that is not mapped (any more).
    bool read(uint64_t address, std::span<std::byte> out) const {
        ssize_t n = ::pread(memory_.get(), out.data(), out.size(), static_cast<off_t>(address));
        return n == static_cast<ssize_t>(out.size());
    }

    const LiveMapping* at(uint64_t address) const {
        auto next = std::upper_bound(mappings_.begin(), mappings_.end(), address,
                                     [](uint64_t a, const LiveMapping& m) { return a < m.start; });
        if (next == mappings_.begin()) return nullptr;
        const LiveMapping& found = *std::prev(next);
        return address < found.end ? &found : nullptr;
    }

 private:
    std::string executable_;
    base::Fd memory_;
    std::vector<LiveMapping> mappings_;
};

// Addresses of dumped pages, spread over all of them, at most `limit` that `wanted` accepts.
template <typename Wanted>
std::vector<uint64_t> sample(const images::PageMap& pages, size_t limit, const Wanted& wanted) {
    std::vector<uint64_t> all;
    for (const images::PageRun& run : pages.runs()) {
        if (run.state != images::PageState::present) continue;
        // A run may be gigabytes: not each of its pages needs to be a candidate.
        uint64_t count = run.bytes / pages.page_size();
        uint64_t step = std::max<uint64_t>(1, count / limit);
        for (uint64_t i = 0; i < count; i += step) {
            uint64_t address = run.address + i * pages.page_size();
            if (wanted(address)) all.push_back(address);
        }
    }
    if (all.size() <= limit) return all;
    std::vector<uint64_t> some;
    for (size_t i = 0; i < limit; ++i) some.push_back(all[i * all.size() / limit]);
    return some;
}

const images::Mapping* mapping_at(const images::Process& process, uint64_t address) {
    auto next = std::upper_bound(process.mappings.begin(), process.mappings.end(), address,
                                 [](uint64_t a, const images::Mapping& m) { return a < m.start; });
    if (next == process.mappings.begin()) return nullptr;
    const images::Mapping& found = *std::prev(next);
    return address < found.end ? &found : nullptr;
}

std::string shown(const images::Process& process) {
    return fmt::format("process {} ({})", process.pid.value, base::escape(process.comm));
}

class Checker {
 public:
    Checker(const images::ImageSource& images, RunningCheck& check) : images_(images), check_(check) {}

    void process(const images::Process& wanted, const LiveProcess& live) {
        images::Findings findings;
        images::AddressSpace memory(images_, wanted, findings);
        bool complete = false;
        std::string arguments = images::read_range(memory, wanted.arguments, k_arguments_limit, complete);
        std::string now(arguments.size(), '\0');
        bool same_words =
            live.read(wanted.arguments.start, std::as_writable_bytes(std::span(now))) && now == arguments;
        bool same_program = live.executable() == without_deleted(wanted.executable);
        if (same_program && same_words) {
            ++check_.same;
        } else {
            ++check_.changed;
        }
        if (!same_program && wanted.pid.value == 1) {
            check_.faults.push_back(fmt::format("pid 1 runs {} where the snapshot has {}",
                                                base::escape(live.executable()),
                                                base::escape(wanted.executable)));
        }
        // After an exec(2), or when the pid has gone to another since, its memory is not that of the snapshot; then the
        // arguments do not lie at the same random place of its stack.
        if (same_program && same_words) sample_memory(wanted, live, memory.own_pages());
    }

    void layer(const fs::path& directory, const images::LayerTree& tree, int64_t started_ns) {
        for (const LayerChange& change : plan_layer_restore(directory, tree)) {
            if (changed_at(directory / change.path, change.kind == LayerChange::Kind::create) + k_tick_ns >=
                started_ns) {
                ++check_.files_written;
            } else {
                check_.faults.push_back(
                    fmt::format("the file /{} is not as in the snapshot, and was not touched since",
                                base::escape(change.path)));
            }
        }
    }

 private:
    void sample_memory(const images::Process& wanted, const LiveProcess& live, const images::PageMap& pages) {
        std::vector<std::byte> then(pages.page_size());
        std::vector<std::byte> now(pages.page_size());
        uint64_t wrong = 0;
        uint64_t first_wrong = 0;
        auto compare = [&](uint64_t address, bool decides) {
            const LiveMapping* mapping = live.at(address);
            // Unmapped, or given other rights since: a program may do that.
            if (mapping == nullptr || (decides && mapping->writable)) return;
            pages.read_run(pages.runs()[pages.find(address)], address, then);
            if (!live.read(address, now)) return;
            ++check_.pages;
            if (then == now) return;
            if (!decides) {
                ++check_.pages_written;
            } else if (wrong++ == 0) {
                first_wrong = address;
            }
        };
        auto kind = [&](uint64_t address, bool writable) {
            const images::Mapping* m = mapping_at(wanted, address);
            if (m == nullptr) return false;
            bool writes = (m->protection & PROT_WRITE) != 0;
            // What is not of a file and not writable may be code that the program itself makes anew.
            return writable ? writes : !writes && m->kind == images::MappingKind::file_private;
        };
        for (uint64_t address : sample(pages, k_read_only_pages, [&](uint64_t a) { return kind(a, false); }))
            compare(address, true);
        for (uint64_t address : sample(pages, k_writable_pages, [&](uint64_t a) { return kind(a, true); }))
            compare(address, false);
        if (wrong > 0) {
            check_.faults.push_back(fmt::format(
                "{} of the sampled read-only pages of {} are not as in the snapshot, the first at {:#x}",
                wrong, shown(wanted), first_wrong));
        }
    }

    // When the file was last touched; for one that is not there the directory that it was in.
    static int64_t changed_at(fs::path path, bool absent) {
        struct stat st {};
        if (absent) path = path.parent_path();
        while (::lstat(path.c_str(), &st) != 0) {
            if (!path.has_relative_path()) return 0;
            path = path.parent_path();
        }
        return st.st_ctim.tv_sec * int64_t{1'000'000'000} + st.st_ctim.tv_nsec;
    }

    const images::ImageSource& images_;
    RunningCheck& check_;
};

}  // namespace

std::vector<LiveMapping> parse_maps(std::string_view text) {
    // "7f00-7f10 r-xp 00001000 08:01 42    /usr/lib/libc.so.6"
    std::vector<LiveMapping> mappings;
    for (const std::string& line : base::split(text, '\n')) {
        size_t dash = line.find('-');
        size_t blank = line.find(' ');
        if (dash == line.npos || blank == line.npos || dash > blank || line.size() < blank + 5) continue;
        auto start = base::parse_address(line.substr(0, dash));
        auto end = base::parse_address(line.substr(dash + 1, blank - dash - 1));
        if (!start || !end) continue;
        size_t path = line.find('/');
        mappings.push_back(
            {*start, *end, line[blank + 2] == 'w', path == line.npos ? "" : line.substr(path)});
    }
    return mappings;
}

RunningCheck check_running(const Container& now, const images::Checkpoint& wanted,
                           const images::ImageSource& images, const fs::path& layer_directory,
                           const images::LayerTree& layer, int64_t started_ns) {
    RunningCheck check;
    check.done = true;
    Checker checker(images, check);
    auto live = by_inner_pid(now);
    for (const images::Process& process : wanted.processes) {
        if (process.state == images::ProcessState::zombie) continue;
        ++check.processes;
        auto found = live.find(process.pid.value);
        if (found == live.end()) {
            ++check.ended;
            continue;
        }
        try {
            checker.process(process, LiveProcess(found->second));
        } catch (const Error& error) {
            check.faults.push_back(fmt::format("{} cannot be compared: {}", shown(process), error.message()));
        }
    }
    if (check.ended == check.processes) {
        check.faults.push_back("none of the processes of the snapshot is there");
    }
    try {
        checker.layer(layer_directory, layer, started_ns);
    } catch (const Error& error) {
        // A layer that the program changes under our eyes cannot always be read; that is no sign of a wrong restore.
        ++check.files_written;
    }
    return check;
}

}  // namespace cprewind::engine
