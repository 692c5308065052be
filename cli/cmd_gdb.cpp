// `cprewind gdb`: a debugger on a process of a snapshot. Core, executable and libraries are put into a private
// directory for as long as gdb runs.
//
// The files come from the evidence, so gdb is told not to run scripts that it finds beside or inside them.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/container_sources.h"
#include "cli/core_writer.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/output_tree.h"
#include "cli/post_mortem.h"
#include "inspect/full_memory.h"

namespace cprewind::cli {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

const char* const k_gdb_help = R"(Examples:
  cprewind gdb web@3 --pid 1
  cprewind gdb web@3 --pid 1 -- -batch -ex 'thread apply all bt'
  cprewind gdb ./checkpoint --sysroot /mnt/image --pid 7

Usage: cprewind gdb SNAPSHOT --pid PID [--sysroot DIR] [-- GDB-ARGUMENTS…]

Prepares what gdb needs in a private directory (core, executable, libraries as the container had them), starts gdb on it and
removes the directory when gdb has ended. What follows -- is given to gdb. Scripts inside or beside the container's files
are not run.

  --pid PID       the process (its number inside the container); may be left out when there is only one
  --sysroot DIR   the container's root file system, for files that neither the snapshot nor the layers of the container
                  image on this host have; debug files below its usr/lib/debug are found, too

TMPDIR says where the directory is made.

Exit status: 0 done, 1 failed, 2 usage; once gdb runs, its own.)";

namespace {

// Whatever ends us, the directory is to be removed first: a signal waits until the core is at a pause, or until gdb, to
// which it is passed on, has ended. What a terminal sends reaches gdb by itself, and is gdb's to deal with. A gdb that
// waits for a program of its own (`shell`) hears nothing, and is not waited for.
constexpr unsigned k_gdb_patience = 3;  // seconds
volatile sig_atomic_t g_debugger = 0;
volatile sig_atomic_t g_ended_by = 0;

void on_signal(int signal) {
    if (g_debugger == 0) g_ended_by = signal;
    if (g_debugger > 0 && (signal == SIGTERM || signal == SIGHUP)) {
        ::kill(static_cast<pid_t>(g_debugger), signal);
        ::alarm(k_gdb_patience);
    }
    if (g_debugger > 0 && signal == SIGALRM) ::kill(static_cast<pid_t>(g_debugger), SIGKILL);
}

void stop_if_ended() {
    if (g_ended_by != 0)
        throw Error(ErrorKind::failed, fmt::format("stopped by signal {}", static_cast<int>(g_ended_by)));
}

void copy_file(const images::ImageFile& from, int fd, const std::string& name) {
    std::vector<std::byte> block(1u << 20);
    for (uint64_t done = 0;;) {
        size_t got = from.read_at(done, block);
        if (got == 0) return;
        base::pwrite_full(fd, std::span(block).first(got), done, name);
        done += got;
    }
}

// Files below a directory, as gdb looks for them there.
class Root {
 public:
    Root(const fs::path& path, const inspect::ContainerFiles& files)
        : path_(path), tree_(path), files_(files) {}

    // False, with a sentence, when its content is not at hand.
    bool add(const std::string& path, std::optional<uint32_t> file_id) {
        if (there_.contains(path)) return true;
        if (!asked_.insert(path).second) return false;
        auto found = files_.open_mapped(path, file_id);
        if (!found.file) {
            complain(fmt::format("{} is not at hand: {}", base::escape(path), found.why_not));
            return false;
        }
        try {
            base::Fd file = tree_.create_file(below(path));
            copy_file(*found.file, file.get(), path);
        } catch (const Error& error) {
            complain(fmt::format("{}: {}", base::escape(path), error.message()));
            return false;
        }
        there_.insert(path);
        return true;
    }

    // Another name for a file that is there.
    void alias(const std::string& path, const std::string& name) {
        if (!there_.contains(path) || there_.contains(name) || !name.starts_with('/')) return;
        try {
            tree_.make_directory(below(name));  // and its parents
        } catch (const Error&) {
            return;
        }
        std::error_code failed;
        fs::path target = path_ / below(name);
        if (::rmdir(target.c_str()) == 0) fs::create_hard_link(path_ / below(path), target, failed);
    }

    fs::path place_of(const std::string& path) const { return path_ / below(path); }

 private:
    static std::string below(const std::string& path) {
        return path.substr(std::min<size_t>(1, path.size()));
    }

    fs::path path_;
    OutputTree tree_;
    const inspect::ContainerFiles& files_;
    std::set<std::string> there_, asked_;
};

void fill_root(const Subject& subject, const images::Process& process, const inspect::ContainerFiles& files,
               Root& root, images::Findings& findings) {
    for (const images::Mapping& mapping : process.mappings) {
        bool is_code = mapping.is_file() && (mapping.protection & PROT_EXEC) != 0;
        if (is_code && mapping.path.starts_with('/')) root.add(mapping.path, mapping.file_id);
    }
    // The loader knows libraries by other names than the kernel: /lib/… for /usr/lib/…, or through links.
    images::AddressSpace memory(*subject.images, process, findings);
    inspect::FullMemory full(memory, process, files);
    for (const inspect::LoadedObject& object : inspect::list_loaded_objects(full, process)) {
        for (const images::Mapping& mapping : process.mappings) {
            if (mapping.is_file() && mapping.start <= object.dynamic && object.dynamic < mapping.end)
                root.alias(mapping.path, object.name);
        }
    }
}

// Debian's gdb knows its own machine only; another package knows all.
const char* gdb_for(images::Architecture architecture) {
#if defined(__x86_64__)
    constexpr images::Architecture k_here = images::Architecture::x86_64;
#elif defined(__aarch64__)
    constexpr images::Architecture k_here = images::Architecture::aarch64;
#else
    constexpr images::Architecture k_here = images::Architecture::unknown;
#endif
    return architecture != k_here && base::find_program("gdb-multiarch") ? "gdb-multiarch" : "gdb";
}

std::vector<std::string> gdb_command(const std::string& gdb, const fs::path& directory,
                                     const std::string& executable, const std::string& sysroot) {
    std::vector<std::string> command = {gdb, "-q"};
    // All that gdb would run by itself is off; its library for threads comes from this host, and stays.
    for (const char* setting : {"set auto-load no", "set auto-load libthread-db on"}) {
        command.insert(command.end(), {"-iex", setting});
    }
    command.insert(command.end(), {"-iex", fmt::format("set sysroot {}", (directory / "root").string())});
    if (!sysroot.empty()) {
        fs::path debug = fs::absolute(sysroot) / "usr/lib/debug";
        command.insert(command.end(),
                       {"-iex", fmt::format("set debug-file-directory {}:/usr/lib/debug", debug.string())});
    }
    if (!executable.empty()) command.push_back("--exec=" + executable);
    if (!executable.empty()) command.push_back("--symbols=" + executable);
    command.push_back("--core=" + (directory / "core").string());
    return command;
}

}  // namespace

int run_gdb(Context& context, const std::vector<std::string>& arguments) {
    auto dashes = std::find(arguments.begin(), arguments.end(), "--");
    po::options_description options;
    options.add_options()("pid", po::value<uint32_t>())("sysroot", po::value<std::string>());
    Parsed parsed = parse_words({arguments.begin(), dashes}, options, 1, 1, "SNAPSHOT");
    if (context.json)
        throw Error(ErrorKind::usage, "gdb prints no JSON",
                    "`cprewind inspect SNAPSHOT threads --stacks --json` does");
    std::optional<uint32_t> pid;
    if (parsed.has("pid")) pid = parsed.values["pid"].as<uint32_t>();
    Subject subject = open_subject(context, parsed.words[0]);
    const char* program = gdb_for(subject.checkpoint.architecture);
    if (!base::find_program(program)) {
        throw Error(ErrorKind::unavailable, fmt::format("{} is not installed", program),
                    "install it (apt install gdb), or write a core for another host: cprewind core");
    }
    images::Findings findings;
    const images::Process& process = choose_process(subject, pid);
    ContainerSources sources(subject, parsed.text("sysroot"), findings);
    inspect::CoreFile core(subject.moment(), process, sources.files(), findings);

    base::TemporaryDirectory directory(fs::temp_directory_path(), "cprewind-gdb-");
    for (int signal : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGALRM}) ::signal(signal, on_signal);
    Progress progress(true);
    base::Fd file = base::open_file(directory.path() / "core", O_RDWR | O_CREAT | O_EXCL);
    write_core(subject, core, file.get(), "the core", progress, stop_if_ended);
    file.reset();
    Root root(directory.path() / "root", sources.files());
    std::optional<uint32_t> executable_id;
    for (const images::Mapping& mapping : process.mappings) {
        if (mapping.is_file() && mapping.path == process.executable) executable_id = mapping.file_id;
    }
    bool has_executable = process.executable.starts_with('/') && root.add(process.executable, executable_id);
    fill_root(subject, process, sources.files(), root, findings);
    progress.clear();

    std::vector<std::string> command =
        gdb_command(program, directory.path(),
                    has_executable ? root.place_of(process.executable).string() : "", parsed.text("sysroot"));
    if (dashes != arguments.end()) command.insert(command.end(), dashes + 1, arguments.end());
    base::SpawnOptions spawn;
    spawn.standard_in = STDIN_FILENO;
    spawn.standard_out = STDOUT_FILENO;
    spawn.standard_error = STDERR_FILENO;
    context.output.flush();
    stop_if_ended();
    base::Child gdb(command, spawn);
    g_debugger = gdb.pid();
    base::ExitStatus status = gdb.wait();
    g_debugger = 0;
    return status.exited ? status.code : 128 + status.signal;
}

}  // namespace cprewind::cli
