#include "engine/fork.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "engine/clone.h"
#include "engine/guard.h"
#include "engine/layer_io.h"
#include "engine/materialise.h"
#include "engine/put_back.h"
#include "engine/recreate.h"
#include "engine/snapshot_files.h"
#include "images/directory_source.h"
#include "runtime/plan.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
using std::chrono::steady_clock;
namespace fs = std::filesystem;

// Restores that run side by side: each is a runc and a CRIU of its own.
constexpr size_t k_side_by_side = 4;
constexpr unsigned k_most_forks = 1000;

json description_in(const store::Repository& repository, const store::SnapshotRecord& record) {
    auto text = images::read_whole(*repository.open(record), k_container_file);
    json inspect = text ? json::parse(*text, nullptr, false) : json();
    if (!inspect.is_object() || !inspect.contains("HostConfig")) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("snapshot {} does not say how its container was configured", record.name()),
                    "only snapshots that cprewind took of a container of Docker can be forked");
    }
    return inspect;
}

std::vector<std::string> names_of(const ForkRequest& request) {
    if (request.count == 1) return {request.name};
    std::vector<std::string> names;
    for (unsigned i = 1; i <= request.count; ++i) names.push_back(fmt::format("{}-{}", request.name, i));
    return names;
}

void check_free(DockerClient& docker, const std::vector<std::string>& names) {
    for (const json& container : docker.containers()) {
        for (const json& taken : container.value("Names", json::array())) {
            std::string name = taken.get<std::string>().substr(1);
            if (std::find(names.begin(), names.end(), name) == names.end()) continue;
            throw Error(ErrorKind::usage, fmt::format("there is a container called {} already", name),
                        fmt::format("choose another --name, or remove it: docker rm -f {}", name));
        }
    }
}

// What the original published, each at a port that Docker chooses.
json same_ports_elsewhere(const json& inspect) {
    json bindings = json::object();
    json::json_pointer at("/NetworkSettings/Ports");
    json::json_pointer asked("/HostConfig/PortBindings");
    for (const auto& pointer : {asked, at}) {
        if (!inspect.contains(pointer) || !inspect.at(pointer).is_object()) continue;
        for (const auto& [port, hosts] : inspect.at(pointer).items()) {
            if (!hosts.empty()) bindings[port] = json::array({json{{"HostIp", ""}, {"HostPort", ""}}});
        }
    }
    return bindings;
}

// The label of all containers that `fork` makes: the snapshot's id, and what tells one run from another.
constexpr const char* k_fork_label = "cprewind.fork";

// Whatever a run of fork made, told by the label; for a guard, which does not know what there was time for.
void remove_labelled(const std::string& label) {
    DockerClient docker;
    for (const json& container : docker.containers()) {
        json labels = container.value("Labels", json::object());
        if (labels.is_object() && labels.value(k_fork_label, "") == label) {
            std::string id = container.value("Id", "");
            docker.remove(id, true);
            runtime::drop_plan(runtime::state_directory(), id);
        }
    }
}

// The dump has the network namespace of its container, or the host's: one cannot become the other.
void check_network(const json& inspect, const ForkRequest& request) {
    std::string mode = inspect["HostConfig"].value("NetworkMode", "");
    if (!request.network || (mode == "host") == (*request.network == "host")) return;
    throw Error(
        ErrorKind::unsupported,
        fmt::format(
            "the container was on network '{}' and cannot come back on '{}': a dump with a network of "
            "its own is restored into one, and one without is not",
            base::escape(mode), base::escape(*request.network)),
        mode == "host" ? "leave --network away" : "choose a bridge or user-defined network, or none");
}

class Forker {
 public:
    Forker(DockerClient& docker, const json& inspect, const ForkRequest& request, std::string label)
        : docker_(docker),
          inspect_(inspect),
          request_(request),
          label_(std::move(label)),
          image_(pinned_image(docker, inspect)),
          runtime_(our_runtime(docker)) {}

    // A container of the same configuration, not started.
    Forked create(const std::string& name, unsigned number, const std::vector<images::StoredVolume>& captured,
                  ForkResult& result) {
        Forked fork;
        fork.name = name;
        CloneChanges changes;
        changes.runtime = runtime_;
        changes.image = image_;
        changes.network = request_.network;
        changes.fixed_addresses = false;
        changes.auto_remove = false;
        changes.port_bindings = port_bindings_of(request_.publish, number);
        if (request_.publish_all) changes.port_bindings->update(same_ports_elsewhere(inspect_));
        json wanted = *changes.port_bindings;
        changes.volumes_read_only = request_.volumes == VolumeMode::read_only;
        CreateRequest create = create_request(inspect_, changes);
        create.body["Labels"][k_fork_label] = label_;
        fork.volumes = give_own_volumes(create.body, inspect_, request_.volumes);
        if (!wanted.empty() && !create.body["ExposedPorts"].is_object())
            create.body["ExposedPorts"] = json::object();
        for (const auto& [port, hosts] : wanted.items()) create.body["ExposedPorts"][port] = json::object();
        auto host_directories = request_.volumes == VolumeMode::share ? std::vector<std::string>()
                                                                      : protect_host_directories(create.body);
        if (number == 0) {
            result.host_directories = host_directories;
            json published = same_ports_elsewhere(inspect_);
            for (const auto& [port, hosts] : published.items()) {
                if (!wanted.contains(port)) result.dropped_ports.push_back(port);
            }
        }
        fork.id = create_container(docker_, name, create);
        fill_volumes(find_container(docker_, fork.id), request_.volumes, captured, fork.volumes);
        return fork;
    }

 private:
    DockerClient& docker_;
    const json& inspect_;
    const ForkRequest& request_;
    std::string label_;
    std::string image_;
    std::string runtime_;
};

void start_one(Forked& fork, const ReadyMoment& moment, const Target& target) {
    auto began = steady_clock::now();
    DockerClient docker;
    start_by_runtime(docker, {fork.id, fork.name, {}, Via::runtime, {}}, target);
    Container now = find_container(docker, fork.id);
    fork.processes = now.running ? processes_of(now).size() : 0;
    std::string expected = moment.checkpoint.processes.front().comm;
    std::string comm;
    if (fork.processes > 0) comm = base::trim(base::read_file(fmt::format("/proc/{}/comm", now.init_pid)));
    if (fork.processes == 0 || comm != expected) {
        throw Error(ErrorKind::failed,
                    fork.processes == 0
                        ? fmt::format("container {} was restored and ended at once", fork.name)
                        : fmt::format("container {} runs '{}' where the snapshot has '{}'", fork.name,
                                      base::escape(comm), base::escape(expected)),
                    "a file that it needs may be on a volume: see --volumes");
    }
    fork.ip_address = now.ip_address;
    fork.ports = now.ports;
    fork.took = steady_clock::now() - began;
}

// All of them, some side by side; the first failure in the end.
void start_all(std::vector<Forked>& forks, const ReadyMoment& moment, const Target& target,
               const Report& report) {
    std::exception_ptr failure;
    for (size_t first = 0; first < forks.size() && !failure; first += k_side_by_side) {
        size_t last = std::min(forks.size(), first + k_side_by_side);
        report("forking", first, forks.size());
        std::vector<std::exception_ptr> failures(last - first);
        std::vector<std::thread> threads;
        for (size_t i = first; i < last; ++i) {
            threads.emplace_back([&, i] {
                try {
                    start_one(forks[i], moment, target);
                } catch (...) {
                    failures[i - first] = std::current_exception();
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        for (const std::exception_ptr& one : failures) {
            if (one && !failure) failure = one;
        }
    }
    if (failure) std::rethrow_exception(failure);
}

}  // namespace

json port_bindings_of(const std::vector<std::string>& publish, unsigned number) {
    json bindings = json::object();
    for (const std::string& text : publish) {
        std::string protocol = "tcp";
        std::string places = text;
        if (size_t slash = text.find('/'); slash != text.npos) {
            protocol = text.substr(slash + 1);
            places = text.substr(0, slash);
        }
        size_t last = places.rfind(':');
        std::string inside = places.substr(last + 1);  // npos + 1 is 0
        std::string host = last == places.npos ? "" : places.substr(0, last);
        size_t colon = host.rfind(':');
        // "[::1]:8080:80": the address has colons of its own.
        if (colon != host.npos && host.ends_with(']')) colon = host.npos;
        std::string host_port = host.ends_with(']') || last == places.npos ? "" : host.substr(colon + 1);
        std::string address = host.ends_with(']') ? host : colon == host.npos ? "" : host.substr(0, colon);
        if (address.starts_with('[') && address.ends_with(']'))
            address = address.substr(1, address.size() - 2);
        auto valid = [](const std::string& port) {
            auto value = base::parse_number(port);
            return value && *value > 0 && *value < 65536;
        };
        bool known = protocol == "tcp" || protocol == "udp" || protocol == "sctp";
        auto counted = base::parse_number(host_port);
        if (counted) host_port = std::to_string(*counted + number);
        if (!known || !valid(inside) || (!host_port.empty() && !valid(host_port))) {
            throw Error(ErrorKind::usage, fmt::format("'{}' is no port to publish", base::escape(text)),
                        "[ADDRESS:][HOST_PORT:]PORT[/udp], for example 8080:80, 80, 127.0.0.1:8080:80");
        }
        bindings[inside + "/" + protocol].push_back({{"HostIp", address}, {"HostPort", host_port}});
    }
    return bindings;
}

ForkResult fork(DockerClient& docker, store::Repository& repository, const store::SnapshotRecord& record,
                const ForkRequest& request, const Report& report) {
    auto began = steady_clock::now();
    if (request.count == 0 || request.count > k_most_forks) {
        throw Error(ErrorKind::usage,
                    fmt::format("--count {} is not between 1 and {}", request.count, k_most_forks));
    }
    json inspect = description_in(repository, record);
    auto names = names_of(request);
    check_free(docker, names);
    check_network(inspect, request);
    ForkResult result;
    result.target = record;
    std::string label = fmt::format("{}:{}-{}", record.id, ::getpid(), began.time_since_epoch().count());
    Forker forker(docker, inspect, request, label);

    Staging staging(choose_staging(record.raw_bytes, repository.staging_path()));
    ReadyMoment moment = materialise(repository, record, staging.path(), report);
    Target target = target_of(moment);
    result.connections_closed = target.close_connections;
    result.prepared = steady_clock::now() - began;

    Guard guard([&label] { remove_labelled(label); }, {staging.hold_fd()});
    try {
        images::DirectorySource directory(staging.path());
        auto data = directory.open(k_layer_data);
        for (unsigned number = 0; number < names.size(); ++number) {
            report("making containers", number, names.size());
            result.forks.push_back(forker.create(names[number], number, moment.volumes, result));
            restore_layer(find_unstarted_layer(docker, result.forks.back().id), moment.layer, data.get());
        }
        std::set<std::string> read_only(result.host_directories.begin(), result.host_directories.end());
        if (request.volumes == VolumeMode::read_only) {
            for (const json& mount : inspect.value("Mounts", json::array()))
                read_only.insert(mount.value("Destination", ""));
        }
        protect_mounts(moment.images, read_only);
        start_all(result.forks, moment, target, report);
        for (const Forked& fork : result.forks) repository.set_head(fork.id, record.id);
    } catch (...) {
        remove_labelled(label);
        guard.disarm();
        throw;
    }
    guard.disarm();
    return result;
}

}  // namespace cprewind::engine
