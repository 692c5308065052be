#include "tests/store/faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <vector>

namespace cprewind::store::test {
namespace {

namespace fs = std::filesystem;

// What the child tells the parent, in memory that both have.
struct Told {
    size_t steps;
    bool struck;
    char last[64];
};

struct File {
    std::string content = {};
    mode_t mode = 0600;
    bool directory = false;
};

// What a disk holds for certain: per file what was last synced, per directory the names that were.
struct Durable {
    std::map<ino_t, File> files;
    std::map<ino_t, std::map<std::string, ino_t>> names;  // of directories
    ino_t root = 0;
};

struct Layer {
    std::recursive_mutex mutex;
    bool armed = false;
    fs::path root;
    FaultKind kind = FaultKind::none;
    size_t at = 0;
    uint64_t seed = 0;
    Told* told = nullptr;
    Durable durable;
};

Layer& layer() {
    static auto* one = new Layer;
    return *one;
}

std::string read_whole(const fs::path& path) {
    std::string content;
    if (FILE* file = std::fopen(path.c_str(), "rb")) {
        char buffer[65536];
        while (size_t n = std::fread(buffer, 1, sizeof buffer, file)) content.append(buffer, n);
        std::fclose(file);
    }
    return content;
}

std::map<std::string, ino_t> names_in(const fs::path& directory) {
    std::map<std::string, ino_t> out;
    for (const auto& entry : fs::directory_iterator(directory)) {
        struct stat st {};
        if (::lstat(entry.path().c_str(), &st) == 0) out[entry.path().filename()] = st.st_ino;
    }
    return out;
}

// Takes `path` as being on disk as it is now; a directory with its names, but not what they name.
void make_durable(const fs::path& path, Durable& durable) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) return;
    // Held until the end, so that the number of its inode is not given to another file.
    [[maybe_unused]] int held = ::open(path.c_str(), O_PATH | O_CLOEXEC);
    File file{.mode = st.st_mode & 07777, .directory = S_ISDIR(st.st_mode)};
    if (file.directory) {
        durable.names[st.st_ino] = names_in(path);
    } else {
        file.content = read_whole(path);
    }
    durable.files[st.st_ino] = std::move(file);
}

Durable everything_below(const fs::path& root) {
    Durable durable;
    struct stat st {};
    if (::stat(root.c_str(), &st) == 0) durable.root = st.st_ino;
    make_durable(root, durable);
    for (const auto& entry : fs::recursive_directory_iterator(root)) make_durable(entry.path(), durable);
    return durable;
}

// Of blocks that were written but not synced, each may have reached the disk.
std::string torn(const std::string& synced, const std::string& now, std::mt19937_64& random) {
    constexpr size_t k_sector = 512;
    std::string out = (random() & 1) != 0 ? now : synced;
    for (size_t i = 0; i < out.size(); i += k_sector) {
        const std::string& from = (random() & 1) != 0 ? now : synced;
        size_t size = std::min(k_sector, out.size() - i);
        for (size_t j = i; j < i + size; ++j) out[j] = j < from.size() ? from[j] : '\0';
    }
    return out;
}

struct Restorer {
    const Durable& durable;
    const Durable& now;
    bool mixed;
    std::mt19937_64 random;

    void restore(ino_t directory, const fs::path& to) {
        std::map<std::string, ino_t> names;
        auto synced = durable.names.find(directory);
        if (synced != durable.names.end()) names = synced->second;
        if (mixed && now.names.contains(directory)) {
            mix(names, now.names.at(directory));
        }
        fs::create_directory(to);
        ::chmod(to.c_str(), mode_of(directory));
        for (const auto& [name, ino] : names) {
            if (is_directory(ino)) {
                restore(ino, to / name);
            } else {
                FILE* file = std::fopen((to / name).c_str(), "wb");
                std::string content = content_of(ino);
                std::fwrite(content.data(), 1, content.size(), file);
                std::fclose(file);
                ::chmod((to / name).c_str(), mode_of(ino));
            }
        }
    }

    // Each change of `names` towards `later` may have reached the disk. A rename within a directory is one change: no
    // file system of use loses a file by it.
    void mix(std::map<std::string, ino_t>& names, const std::map<std::string, ino_t>& later) {
        std::map<ino_t, std::string> gone;
        for (const auto& [name, ino] : names) {
            if (!later.contains(name)) gone[ino] = name;
        }
        for (const auto& [name, ino] : later) {
            bool there = names.contains(name) && names[name] == ino;
            if (there || (random() & 1) == 0) continue;
            names[name] = ino;
            if (gone.contains(ino)) names.erase(gone[ino]);
        }
        for (const auto& [ino, name] : gone) {
            bool renamed =
                std::any_of(later.begin(), later.end(), [&](auto& one) { return one.second == ino; });
            if (!renamed && (random() & 1) != 0) names.erase(name);
        }
    }

    bool is_directory(ino_t ino) const {
        auto it = durable.files.find(ino);
        if (it != durable.files.end()) return it->second.directory;
        return now.files.contains(ino) && now.files.at(ino).directory;
    }
    mode_t mode_of(ino_t ino) const {
        auto it = now.files.find(ino);
        if (it != now.files.end()) return it->second.mode;
        return durable.files.contains(ino) ? durable.files.at(ino).mode : 0600;
    }
    std::string content_of(ino_t ino) {
        auto it = durable.files.find(ino);
        std::string synced = it != durable.files.end() ? it->second.content : std::string();
        if (!mixed || !now.files.contains(ino)) return synced;
        return torn(synced, now.files.at(ino).content, random);
    }
};

[[noreturn]] void lose_power() {
    Layer& l = layer();
    Durable now = everything_below(l.root);
    fs::path after = l.root.string() + ".after";
    Restorer restorer{l.durable, now, l.kind == FaultKind::power_mixed, std::mt19937_64(l.seed)};
    restorer.restore(l.durable.root, after);
    // Shared memory of SQLite's is none after a reboot worth having; it is not synced by anybody either.
    fs::remove_all(l.root);
    fs::rename(after, l.root);
    ::_exit(0);
}

// True when the call must fail; does not return when the process dies here.
bool step(const char* call) {
    Layer& l = layer();
    std::lock_guard lock(l.mutex);
    size_t number = ++l.told->steps;
    std::snprintf(l.told->last, sizeof l.told->last, "%s", call);
    if (l.kind == FaultKind::none || number < l.at) return false;
    if (number > l.at) return l.kind == FaultKind::fail_on;
    l.told->struck = true;
    switch (l.kind) {
        case FaultKind::none:
            break;
        case FaultKind::kill:
            ::kill(::getpid(), SIGKILL);
            break;
        case FaultKind::fail:
        case FaultKind::fail_on:
            return true;
        case FaultKind::power:
        case FaultKind::power_mixed:
            l.armed = false;
            lose_power();
    }
    return false;
}

bool below_root(const std::string& path) {
    const std::string& root = layer().root.native();
    return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
}

bool watched(const char* path) {
    return layer().armed && below_root(path);
}

std::string path_of(int fd) {
    char target[4096];
    std::string link = "/proc/self/fd/" + std::to_string(fd);
    ssize_t size = ::readlink(link.c_str(), target, sizeof target);
    return size > 0 ? std::string(target, static_cast<size_t>(size)) : std::string();
}

bool watched(int fd) {
    return layer().armed && below_root(path_of(fd));
}

int refuse(int error) {
    errno = error;
    return -1;
}

template <typename Function>
Function* real(Function* /*type*/, const char* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

int synced(int fd, int (*sync)(int), const char* name) {
    if (!watched(fd)) return sync(fd);
    if (step(name)) return refuse(EIO);
    std::lock_guard lock(layer().mutex);
    int result = sync(fd);
    std::string path = path_of(fd);
    constexpr std::string_view k_deleted = " (deleted)";
    if (result == 0 && !path.ends_with(k_deleted)) make_durable(path, layer().durable);
    return result;
}

}  // namespace

const char* name_of(FaultKind kind) {
    switch (kind) {
        case FaultKind::none:
            return "none";
        case FaultKind::kill:
            return "kill";
        case FaultKind::fail:
            return "fail";
        case FaultKind::fail_on:
            return "fail on";
        case FaultKind::power:
            return "power";
        case FaultKind::power_mixed:
            return "power, mixed";
    }
    return "?";
}

FaultOutcome run_with_fault(const fs::path& root, FaultKind kind, size_t at, uint64_t seed,
                            const std::function<void()>& body) {
    void* shared = ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) std::abort();
    auto* told = new (shared) Told{};
    constexpr int k_threw = 3;
    pid_t child = ::fork();
    if (child == 0) {
        Layer& l = layer();
        l.root = root;
        l.kind = kind;
        l.at = at;
        l.seed = seed;
        l.told = told;
        if (kind == FaultKind::power || kind == FaultKind::power_mixed) l.durable = everything_below(root);
        l.armed = true;
        try {
            body();
        } catch (...) {
            ::_exit(k_threw);
        }
        step(k_end_step);
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    FaultOutcome out;
    out.steps = told->steps;
    out.struck = told->struck;
    out.last = told->last;
    out.threw = WIFEXITED(status) && WEXITSTATUS(status) == k_threw;
    bool as_ordered =
        kind == FaultKind::kill && out.struck && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    out.died = !as_ordered && (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && !out.threw));
    ::munmap(shared, sizeof(Told));
    return out;
}

}  // namespace cprewind::store::test

// From here on: the calls. Each does what libc's does, unless its step says otherwise.
using namespace cprewind::store::test;

#define CPREWIND_REAL(name) static auto* const libc = real(&::name, #name)

extern "C" {

ssize_t write(int fd, const void* data, size_t size) {
    CPREWIND_REAL(write);
    if (watched(fd) && step("write")) return refuse(ENOSPC);
    return libc(fd, data, size);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
    CPREWIND_REAL(pwrite);
    if (watched(fd) && step("pwrite")) return refuse(ENOSPC);
    return libc(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
    CPREWIND_REAL(pwrite64);
    if (watched(fd) && step("pwrite64")) return refuse(ENOSPC);
    return libc(fd, data, size, offset);
}

int fsync(int fd) {
    CPREWIND_REAL(fsync);
    return synced(fd, libc, "fsync");
}

int fdatasync(int fd) {
    CPREWIND_REAL(fdatasync);
    return synced(fd, libc, "fdatasync");
}

int ftruncate(int fd, off_t size) noexcept {
    CPREWIND_REAL(ftruncate);
    if (watched(fd) && step("ftruncate")) return refuse(EIO);
    return libc(fd, size);
}

int ftruncate64(int fd, off64_t size) noexcept {
    CPREWIND_REAL(ftruncate64);
    if (watched(fd) && step("ftruncate64")) return refuse(EIO);
    return libc(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    CPREWIND_REAL(fallocate);
    if (watched(fd) && step("fallocate")) return refuse(EIO);
    return libc(fd, mode, offset, size);
}

int rename(const char* from, const char* to) noexcept {
    CPREWIND_REAL(rename);
    if (watched(to) && step("rename")) return refuse(EIO);
    return libc(from, to);
}

int unlink(const char* path) noexcept {
    CPREWIND_REAL(unlink);
    if (watched(path) && step("unlink")) return refuse(EIO);
    return libc(path);
}

int remove(const char* path) noexcept {
    CPREWIND_REAL(remove);
    if (watched(path) && step("remove")) return refuse(EIO);
    return libc(path);
}

int mkdir(const char* path, mode_t mode) noexcept {
    CPREWIND_REAL(mkdir);
    if (watched(path) && step("mkdir")) return refuse(ENOSPC);
    return libc(path, mode);
}

int mkostemp(char* name, int flags) {
    CPREWIND_REAL(mkostemp);
    if (watched(name) && step("mkostemp")) return refuse(ENOSPC);
    return libc(name, flags);
}

int open(const char* path, int flags, ...) {
    CPREWIND_REAL(open);
    va_list more;
    va_start(more, flags);
    auto mode = static_cast<mode_t>((flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, int) : 0);
    va_end(more);
    if ((flags & O_CREAT) != 0 && watched(path) && step("open")) return refuse(ENOSPC);
    return libc(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
    CPREWIND_REAL(open64);
    va_list more;
    va_start(more, flags);
    auto mode = static_cast<mode_t>((flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, int) : 0);
    va_end(more);
    if ((flags & O_CREAT) != 0 && watched(path) && step("open64")) return refuse(ENOSPC);
    return libc(path, flags, mode);
}

}  // extern "C"
