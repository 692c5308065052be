#include "engine/rewind_plan.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "engine/connections.h"
#include "engine/materialise.h"
#include "engine/put_back.h"
#include "engine/rewind_checks.h"
#include "engine/snapshot_files.h"
#include "images/pages.h"

namespace cprewind::engine {
namespace {

using base::Error;
namespace fs = std::filesystem;

std::string read_or_empty(const std::string& path) {
    try {
        return base::read_file(path);
    } catch (const Error&) {
        return {};  // it has ended meanwhile
    }
}

// "0100007F:1F90": each 32-bit word in the order of the host, the port as a number.
std::string address_text(std::string_view text) {
    size_t colon = text.find(':');
    if (colon != 8 && colon != 32) return {};
    std::array<uint32_t, 4> words{};
    for (size_t i = 0; i < colon / 8; ++i) {
        words[i] = static_cast<uint32_t>(base::parse_address(text.substr(i * 8, 8)).value_or(0));
    }
    std::array<char, INET6_ADDRSTRLEN> out{};
    bool v6 = colon == 32;
    ::inet_ntop(v6 ? AF_INET6 : AF_INET, words.data(), out.data(), out.size());
    uint64_t port = base::parse_address(text.substr(colon + 1)).value_or(0);
    return v6 ? fmt::format("[{}]:{}", out.data(), port) : fmt::format("{}:{}", out.data(), port);
}

DyingProcess describe(pid_t pid) {
    DyingProcess process;
    process.pid = pid;
    process.comm = base::trim(read_or_empty(fmt::format("/proc/{}/comm", pid)));
    process.arguments = read_or_empty(fmt::format("/proc/{}/cmdline", pid));
    for (const std::string& line : base::split(read_or_empty(fmt::format("/proc/{}/status", pid)), '\n')) {
        if (!line.starts_with("NSpid:")) continue;
        process.inside =
            base::parse_number(base::trim(line.substr(line.find_last_of("\t ") + 1))).value_or(0);
    }
    return process;
}

// The connections that the processes hold. Processes may have network namespaces of their own, so each is asked.
std::vector<Connection> connections_of(const std::vector<DyingProcess>& processes) {
    std::vector<Connection> found;
    std::set<uint64_t> seen;
    std::error_code ignored;
    for (const DyingProcess& process : processes) {
        std::set<uint64_t> inodes;
        for (const fs::directory_entry& fd :
             fs::directory_iterator(fmt::format("/proc/{}/fd", process.pid), ignored)) {
            std::string link = fs::read_symlink(fd.path(), ignored).string();
            if (!link.starts_with("socket:[")) continue;
            if (auto inode = base::parse_number(std::string_view(link).substr(8, link.size() - 9))) {
                inodes.insert(*inode);
            }
        }
        if (inodes.empty()) continue;
        for (const char* table : {"tcp", "tcp6"}) {
            for (const TcpLine& line :
                 parse_tcp(read_or_empty(fmt::format("/proc/{}/net/{}", process.pid, table)))) {
                if (!inodes.contains(line.inode) || !seen.insert(line.inode).second) continue;
                found.push_back({process.pid, process.comm, line.local, line.remote,
                                 images::socket_state_name(line.state)});
            }
        }
    }
    return found;
}

// What the snapshot has, told from its images alone: the rewind itself verifies every byte.
void describe_target(const store::Repository& repository, const store::SnapshotRecord& record,
                     const Container& container, RewindPlan& plan) {
    auto source = repository.open(record);
    auto tree = images::read_whole(*source, k_layer_tree);
    auto data = source->open(k_layer_data);
    auto facts = images::read_whole(*source, k_engine_file);
    if (!tree || !data || !facts) {
        throw Error(base::ErrorKind::damaged,
                    fmt::format("snapshot {} cannot be put back: it holds no writable layer", record.name()),
                    "choose another snapshot; nothing was touched");
    }
    images::Findings findings;
    auto layer = images::parse_layer(*tree, data->size(), findings);
    auto engine_facts = nlohmann::json::parse(*facts, nullptr, false);
    if (!engine_facts.is_object()) engine_facts = nlohmann::json::object();
    plan.files = plan_layer_restore(layer_directory_of(container, engine_facts), layer);

    images::PrefixedSource checkpoint_source(*source, k_images_prefix);
    images::Checkpoint checkpoint = images::load_checkpoint(checkpoint_source);
    for (const images::Process& process : checkpoint.processes) {
        if (process.state == images::ProcessState::zombie) continue;
        images::AddressSpace memory(checkpoint_source, process, findings);
        bool complete = false;
        std::string arguments = images::read_range(memory, process.arguments, 64 * 1024, complete);
        plan.come_back.push_back(arguments.empty() ? process.comm : arguments);
    }
    for (const images::File* file : outside_connections(checkpoint)) {
        plan.come_back_closed.push_back({0, "", file->socket->local, file->socket->remote,
                                         images::socket_state_name(file->socket->state)});
    }
}

}  // namespace

std::vector<TcpLine> parse_tcp(std::string_view text) {
    constexpr uint32_t k_listen = 10;  // include/net/tcp_states.h
    std::vector<TcpLine> lines;
    for (const std::string& line : base::split(text, '\n')) {
        std::vector<std::string> words;
        for (std::string& word : base::split(line, ' ')) {
            if (!word.empty()) words.push_back(std::move(word));
        }
        // "0: 0100007F:1F90 0100007F:C350 01 tx:rx tr:tm retrnsmt uid timeout inode …"
        if (words.size() < 10 || !words[0].ends_with(':')) continue;
        TcpLine parsed;
        parsed.local = address_text(words[1]);
        parsed.remote = address_text(words[2]);
        parsed.state = static_cast<uint32_t>(base::parse_address(words[3]).value_or(0));
        parsed.inode = base::parse_number(words[9]).value_or(0);
        if (parsed.local.empty() || parsed.inode == 0 || parsed.state == k_listen) continue;
        lines.push_back(std::move(parsed));
    }
    return lines;
}

RewindPlan plan_rewind(DockerClient& docker, const store::Repository& repository, const std::string& name,
                       const store::SnapshotRecord& target, const RewindRequest& request) {
    Container container = find_container(docker, name);
    check_can_rewind(container, target);
    RewindPlan plan;
    plan.target = target;
    std::tie(plan.via, plan.recreates) = choose_way(docker, container, request);
    plan.running = container.running;
    plan.takes_safety = container.running && request.safety;
    if (container.running) {
        for (pid_t pid : processes_of(container)) plan.killed.push_back(describe(pid));
        plan.closing = connections_of(plan.killed);
    }
    describe_target(repository, target, container, plan);
    return plan;
}

}  // namespace cprewind::engine
