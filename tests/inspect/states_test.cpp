// Every view against a checkpoint whose state is known: fixtures/README.md.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>

#include "images/directory_source.h"
#include "inspect/artifacts.h"
#include "inspect/bpf.h"
#include "inspect/creds.h"
#include "inspect/fds.h"
#include "inspect/mem.h"
#include "inspect/names.h"
#include "inspect/report.h"
#include "inspect/sockets.h"
#include "inspect/surroundings.h"
#include "inspect/threads.h"
#include "inspect/timers.h"
#include "tests/images/image_builder.h"

using namespace cprewind::inspect;
namespace images = cprewind::images;

namespace {

struct Loaded {
    explicit Loaded(const std::string& name)
        : source(std::string(CPREWIND_FIXTURES "/") + name), checkpoint(images::load_checkpoint(source)) {}
    images::DirectorySource source;
    images::Checkpoint checkpoint;
    Moment moment() const { return {checkpoint, source}; }
    const images::Process& process() const { return checkpoint.processes.at(0); }
};

std::vector<SocketRow> sockets_of(const std::string& name) {
    Loaded loaded("states/" + name);
    SocketView view = list_sockets(loaded.moment());
    CHECK(view.findings.empty());
    return view.rows;
}

std::string content_of(Moment moment, const Artifact& artifact) {
    std::string out(artifact.size, '\0');
    images::Findings findings;
    read_artifact(
        moment, artifact,
        [&](uint64_t offset, std::span<const std::byte> bytes) {
            REQUIRE(offset + bytes.size() <= out.size());
            std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(out.data()) + offset);
        },
        findings);
    CHECK(findings.empty());
    return out;
}

std::map<std::string, std::string> artifacts_of(const std::string& name, ArtifactKind kind) {
    Loaded loaded(name);
    ArtifactView view = list_artifacts(loaded.moment());
    CHECK(view.findings.empty());
    std::map<std::string, std::string> out;
    for (const Artifact& artifact : view.artifacts) {
        if (artifact.kind == kind) out[artifact.id] = content_of(loaded.moment(), artifact);
    }
    return out;
}

const FdRow& fd_of_kind(const std::vector<FdRow>& rows, images::FileKind kind) {
    auto found = std::find_if(rows.begin(), rows.end(), [&](const FdRow& row) { return row.kind == kind; });
    REQUIRE(found != rows.end());
    return *found;
}

}  // namespace

TEST_CASE("a thread that waits is shown in its system call, with its registers") {
    Loaded loaded("kitchen");
    auto rows = list_threads(loaded.checkpoint);
    REQUIRE(rows.size() == 5);
    CHECK(rows[1].comm == "worker-1");
    CHECK(rows[2].comm == "worker-2");
    for (size_t i : {0, 1, 2, 4}) {
        REQUIRE(rows[i].system_call.has_value());
        CHECK(rows[i].system_call->name == "pause");
        CHECK(rows[i].code.starts_with("/bin/kitchen+0x"));
        CHECK(rows[i].registers.size() == 27);
    }
    CHECK(rows[3].state == images::ProcessState::zombie);
    CHECK_FALSE(rows[3].system_call.has_value());
}

TEST_CASE("TCP sockets show listener, both ends and what was not read") {
    auto rows = sockets_of("tcp");
    REQUIRE(rows.size() == 3);
    auto listener = std::find_if(rows.begin(), rows.end(), [](const SocketRow& r) { return r.listening; });
    REQUIRE(listener != rows.end());
    CHECK(listener->local == "127.0.0.1:48411");
    CHECK(listener->state == "LISTEN");
    CHECK(listener->backlog == 3);
    uint64_t waiting = 0;
    for (const SocketRow& row : rows) {
        waiting += row.receive_queue_bytes;
        CHECK(row.holders.size() == 1);
        if (row.listening) continue;
        CHECK(row.state == "ESTABLISHED");
        CHECK(row.peers.size() == 1);
    }
    CHECK(waiting == std::string("not read yet").size());
}

TEST_CASE("Unix sockets show their peers and each packet that waits") {
    auto pair = sockets_of("unix-stream");
    REQUIRE(pair.size() == 2);
    CHECK(pair[0].peers == pair[1].holders);
    CHECK(pair[1].peers == pair[0].holders);
    CHECK(pair[0].receive_queue_bytes + pair[1].receive_queue_bytes == std::string("onetwo and more").size());
    auto named = sockets_of("unix-dgram");
    auto receiver =
        std::find_if(named.begin(), named.end(), [](const SocketRow& r) { return !r.local.empty(); });
    REQUIRE(receiver != named.end());
    CHECK(receiver->local == "@fixture=name .");
    CHECK(receiver->receive_packets == 2);
    CHECK(receiver->peers.size() == 1);
    CHECK(sockets_of("unix-listen").at(0).listening);
}

TEST_CASE("UDP, netlink and packet sockets are shown with what they are bound to") {
    auto udp = sockets_of("udp");
    REQUIRE(udp.size() == 2);
    CHECK(udp[0].local == "127.0.0.1:48412");
    CHECK(udp[0].listening);
    CHECK(udp[1].local == "[::]:48413");
    CHECK(udp[1].family == "inet6");
    auto netlink = sockets_of("netlink");
    REQUIRE(netlink.size() == 1);
    CHECK(netlink[0].protocol == "route");
    CHECK(netlink[0].groups == std::vector<uint32_t>{1});
    auto packet = sockets_of("packet");
    REQUIRE(packet.size() == 1);
    CHECK(packet[0].family == "packet");
    CHECK(packet[0].type == "raw");
}

TEST_CASE("fds shows the particulars of each kind of file") {
    images::Findings findings;
    auto rows_of = [&](const char* name) {
        Loaded loaded(std::string("states/") + name);
        return list_fds(loaded.moment(), findings);
    };
    CHECK(fd_of_kind(rows_of("eventfd"), images::FileKind::eventfd).details.counter == 41u);
    FdRow epoll = fd_of_kind(rows_of("epoll"), images::FileKind::eventpoll);
    REQUIRE(epoll.details.epoll.size() == 1);
    CHECK(epoll.details.epoll[0].data == 0x1122334455667788);
    auto events = epoll_event_names(epoll.details.epoll[0].events);
    CHECK(std::count(events.begin(), events.end(), "ET") == 1);
    FdRow mask = fd_of_kind(rows_of("signalfd"), images::FileKind::signalfd);
    CHECK(signal_names(mask.details.signals.value()) == std::vector<std::string>{"SIGUSR1"});
    FdRow watch = fd_of_kind(rows_of("inotify"), images::FileKind::inotify);
    REQUIRE(watch.details.watches.size() == 1);
    CHECK(watch_event_names(watch.details.watches[0].mask) == std::vector<std::string>{"CREATE", "DELETE"});
    CHECK(fd_of_kind(rows_of("fifo"), images::FileKind::fifo).queued_bytes == 16);
    auto pipes = rows_of("pipe");
    uint64_t queued = 0;
    for (const FdRow& row : pipes) queued = std::max(queued, row.queued_bytes);
    CHECK(queued == 16);
    auto full = std::find_if(pipes.begin(), pipes.end(), [](const FdRow& r) { return r.queued_bytes == 16; });
    CHECK(full->other_ends.size() == 1);
    CHECK(full->ends_total == 1);
    CHECK(findings.empty());
}

TEST_CASE("creds shows capabilities by name, and what they lack") {
    Loaded loaded("states/credentials");
    CredsView view = list_creds(loaded.moment());
    REQUIRE(view.rows.size() == 1);
    const images::Credentials& who = view.rows[0].credentials;
    CHECK(who.groups == std::vector<uint32_t>{5, 20, 4000});
    CHECK(who.no_new_privs);
    CHECK(view.rows[0].child_subreaper == true);
    auto bounding = capability_names(who.cap_bounding);
    CHECK(std::count(bounding.begin(), bounding.end(), "CAP_SYS_ADMIN") == 0);
    CHECK(std::count(bounding.begin(), bounding.end(), "CAP_NET_ADMIN") == 1);
}

TEST_CASE("a seccomp filter is disassembled with names of system calls and actions") {
    Loaded loaded("states/seccomp");
    CredsView view = list_creds(loaded.moment());
    CHECK(view.findings.empty());
    REQUIRE(view.rows.size() == 1);
    CHECK(view.rows[0].seccomp_filters == std::vector<uint32_t>{0});
    REQUIRE(view.filters.size() == 1);
    CHECK(view.filters[0].lines == std::vector<std::string>{"0000 ld nr", "0001 jeq #0xa3 (acct) ? 2 : 3",
                                                            "0002 ret ERRNO(1 EPERM)", "0003 ret ALLOW"});
}

TEST_CASE("a seccomp program that is cut off is shown as far as it goes") {
    auto lines = disassemble_seccomp(std::string(11, '\xff'), images::Architecture::x86_64);
    REQUIRE(lines.size() == 2);
    CHECK(lines[1] == "3 more bytes");
}

TEST_CASE("signals that wait are shown with who sent them") {
    Loaded loaded("states/pending");
    const auto& shared = loaded.process().details.pending;
    REQUIRE(shared.size() == 1);
    CHECK(signal_name(shared[0].signal) == "SIGRTMIN+3");
    CHECK(signal_code_name(shared[0].signal, shared[0].code) == "SI_QUEUE");
    CHECK(shared[0].value == 77u);
    CHECK(shared[0].pid == loaded.process().pid.value);
    const auto& own = loaded.process().threads.at(0).details.pending;
    REQUIRE(own.size() == 1);
    CHECK(signal_name(own[0].signal) == "SIGUSR2");
    CHECK(images::parse_siginfo("x").signal == 0);
    CHECK_FALSE(images::parse_siginfo(std::string(18, '\0')).uid.has_value());
}

TEST_CASE("handlers are those of the right signals, with their flags") {
    Loaded loaded("states/handlers");
    std::map<uint32_t, images::SignalAction> actions;
    for (const auto& action : loaded.process().details.actions) actions[action.signal] = action;
    CHECK(actions.size() == 62);
    CHECK(actions.at(1).handler > 1);
    auto flags = action_flag_names(actions.at(1).flags);
    CHECK(std::count(flags.begin(), flags.end(), "SA_RESTART") == 1);
    CHECK(std::count(flags.begin(), flags.end(), "SA_ONSTACK") == 1);
    for (const auto& [signal, action] : actions) {
        if (signal != 1) CHECK(action.handler <= 1);  // the shell that ran it ignores two
    }
    CHECK(loaded.process().threads[0].details.alternate_stack.value().size == 65536);
}

TEST_CASE("timers of all three kinds are shown with what is left") {
    Loaded loaded("states/timers");
    auto rows = list_timers(loaded.checkpoint);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].kind == "itimer");
    CHECK(rows[0].left_ns / 1'000'000'000 > 3000);
    CHECK(rows[0].signal == "SIGALRM");
    CHECK(rows[1].kind == "posix");
    CHECK(rows[1].clock == "CLOCK_MONOTONIC");
    CHECK(rows[1].signal == "SIGUSR1");
    CHECK(rows[1].interval_ns == 60'000'000'000);
    CHECK(rows[1].value.value_or(0) % 65536 == 9);
    Loaded other("states/timerfd");
    rows = list_timers(other.checkpoint);
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].kind == "timerfd");
    CHECK(rows[0].interval_ns == 7'000'000'000);
    CHECK(rows[0].holders.size() == 1);
    CHECK(images::join_time(UINT64_MAX, 1, 1'000'000) == UINT64_MAX);
}

TEST_CASE("locks lead to the file that they are on") {
    Loaded loaded("states/locks");
    LockView view = list_locks(loaded.moment());
    CHECK(view.findings.empty());
    REQUIRE(view.rows.size() == 2);
    CHECK(view.rows[0].lock.kind == images::LockKind::posix);
    CHECK(view.rows[0].lock.type == "write");
    CHECK(view.rows[0].lock.start == 10);
    CHECK(view.rows[0].lock.length == 5);
    CHECK(view.rows[0].path.ends_with("/locked"));
    CHECK(view.rows[1].lock.kind == images::LockKind::flock);
    CHECK(view.rows[1].lock.type == "read");
    CHECK(view.rows[1].path.ends_with("/flocked"));
}

TEST_CASE("IPC objects are shown with what they hold") {
    Loaded semaphores("states/sysv-sem"), messages("states/sysv-msg"), memory("states/sysv-shm");
    IpcView sem = list_ipc(semaphores.moment());
    REQUIRE(sem.ipc.semaphores.size() == 2);
    CHECK(sem.ipc.semaphores[0].values == std::vector<uint16_t>{100, 101, 102});
    CHECK(sem.ipc.semaphores[1].values == std::vector<uint16_t>{100, 101, 102, 103});
    CHECK(sem.ipc.semaphores[0].owner.key == 0x63);
    IpcView msg = list_ipc(messages.moment());
    REQUIRE(msg.ipc.queues.size() == 1);
    REQUIRE(msg.ipc.queues[0].messages.size() == 3);
    CHECK(msg.ipc.queues[0].messages[0].text == "twelve bytes");
    CHECK(msg.ipc.queues[0].messages[0].type == 7);
    CHECK(msg.ipc.queues[0].messages[1].text == "twelve b");
    CHECK(msg.ipc.queues[0].messages[2].text.empty());
    IpcView shm = list_ipc(memory.moment());
    REQUIRE(shm.ipc.segments.size() == 1);
    CHECK(shm.ipc.segments[0].size == 4096);
    for (const IpcView* view : {&sem, &msg, &shm}) CHECK(view->findings.empty());
}

TEST_CASE("namespaces tell who is in them, and the host name of each") {
    Loaded loaded("states/hostname");
    NamespaceView view = list_namespaces(loaded.moment());
    CHECK(view.findings.empty());
    auto uts = std::find_if(view.rows.begin(), view.rows.end(),
                            [](const NamespaceRow& r) { return r.kind == "uts"; });
    REQUIRE(uts != view.rows.end());
    CHECK(uts->processes.size() == 1);
    CHECK(uts->details.value().hostname == "other-host");
}

TEST_CASE("control groups of the processes and their settings are shown") {
    Loaded loaded("kitchen");
    CgroupView view = list_cgroups(loaded.moment());
    CHECK(view.findings.empty());
    REQUIRE(view.rows.size() == 2);
    CHECK(view.rows[0].groups.at(0).path == "/fixture-kitchen");
    CHECK(std::any_of(view.properties.begin(), view.properties.end(),
                      [](const auto& p) { return p.name == "pids.max" && p.value == "max"; }));
}

TEST_CASE("a view that cannot tell for want of an image says which, and does no more") {
    Loaded loaded("states/eventfd");
    auto names = [](const images::Findings& findings) {
        REQUIRE(findings.size() == 1);
        CHECK(findings[0].kind == images::FindingKind::absent);
        return findings[0].file;
    };
    CHECK(names(list_cgroups(loaded.moment()).findings) == "cgroup.img");
    CHECK(names(list_mounts(loaded.moment()).findings) == "mountpoints-*.img");
}

TEST_CASE("no locks, no IPC and no network of one's own are empty answers, not odd ones") {
    Loaded loaded("states/eventfd");
    LockView locks = list_locks(loaded.moment());
    CHECK((locks.rows.empty() && locks.findings.empty()));
    IpcView ipc = list_ipc(loaded.moment());
    CHECK((!ipc.ipc.found && ipc.findings.empty()));
    NetView net = list_net(loaded.moment());
    CHECK((!net.network.found && net.findings.empty()));
}

TEST_CASE("images of a namespace without those that each such namespace has are told") {
    auto without = [](const char* state, const char* kind) {
        Loaded loaded(state);
        images::test::MemorySource source = images::test::copy_of(loaded.source);
        std::string image;
        for (const auto& [name, content] : source.files) {
            if (name.starts_with(kind)) image = name;
        }
        source.files.erase(image);
        images::Checkpoint checkpoint = images::load_checkpoint(source);
        images::Findings findings = list_ipc({checkpoint, source}).findings;
        for (images::Finding& finding : list_net({checkpoint, source}).findings) findings.push_back(finding);
        REQUIRE(findings.size() == 1);
        CHECK(findings[0].kind == images::FindingKind::absent);
        CHECK(findings[0].file == image);
    };
    without("states/sysv-sem", "ipcns-var-");
    without("states/tun", "netdev-");
}

TEST_CASE("shared memory counts once for each process, and in parts for all") {
    Loaded loaded("states/shared");
    MemView view = list_memory(loaded.moment());
    REQUIRE(view.processes.size() == 2);
    for (const ProcessMemory& process : view.processes) {
        CHECK(process.account.shared_bytes == 4096);
        CHECK(process.account.proportional_bytes == process.account.private_bytes + 2048);
    }
}

TEST_CASE("deleted files come back whole, sparse ones with their holes") {
    auto files = artifacts_of("states/deleted", ArtifactKind::deleted_file);
    REQUIRE(files.size() == 2);
    CHECK(files.at("ghost-1") == "a file without a name");
    const std::string& sparse = files.at("ghost-2");
    REQUIRE(sparse.size() == 100007);
    CHECK(sparse.substr(100000) == "far out");
    CHECK(sparse.find_first_not_of('\0') == 100000);
}

TEST_CASE("bytes that nobody had read come back, packets apart") {
    CHECK(artifacts_of("states/pipe", ArtifactKind::queue).begin()->second == "left in the pipe");
    CHECK(artifacts_of("states/fifo", ArtifactKind::queue).begin()->second == "left in the fifo");
    CHECK(artifacts_of("states/tcp", ArtifactKind::queue).begin()->second == "not read yet");
    auto packets = artifacts_of("states/unix-dgram", ArtifactKind::queue);
    CHECK(packets ==
          std::map<std::string, std::string>{{"socket-5-1", "first packet"}, {"socket-5-2", "second"}});
    CHECK(artifacts_of("states/sysv-msg", ArtifactKind::message).begin()->second == "twelve bytestwelve b");
}

TEST_CASE("memory that is a file comes back with its size") {
    CHECK(artifacts_of("states/memfd", ArtifactKind::memfd).begin()->second == "in memory only");
    auto sysv = artifacts_of("states/sysv-shm", ArtifactKind::shared_memory);
    REQUIRE(sysv.size() == 1);
    CHECK(sysv.begin()->second.starts_with("System V memory"));
    CHECK(sysv.begin()->second.size() == 4096);
}

TEST_CASE("a tmpfs is listed with all that was in it") {
    Loaded loaded("kitchen");
    ArtifactView view = list_artifacts(loaded.moment());
    auto dev = std::find_if(view.artifacts.begin(), view.artifacts.end(),
                            [](const Artifact& a) { return a.id == "tmpfs-dev-62"; });
    REQUIRE(dev != view.artifacts.end());
    CHECK(std::any_of(dev->members.begin(), dev->members.end(), [](const auto& member) {
        return member.path == "stdin" && member.link_target == "/proc/self/fd/0";
    }));
}

TEST_CASE("a tmpfs of the container's own is listed with what the program wrote there") {
    Loaded loaded("scratch");
    ArtifactView view = list_artifacts(loaded.moment());
    CHECK(view.findings.empty());
    auto scratch = std::find_if(view.artifacts.begin(), view.artifacts.end(),
                                [](const Artifact& a) { return a.name == "/scratch"; });
    REQUIRE(scratch != view.artifacts.end());
    CHECK(scratch->size == 11);
    std::map<std::string, images::FileType> types;
    for (const images::TarMember& member : scratch->members) {
        types[member.path] = member.type;
        if (member.path == "link") CHECK(member.link_target == "d/note");
        if (member.path != "d/note") continue;
        std::string content(member.size, '\0');
        read_member(
            loaded.moment(), *scratch, member, [&](uint64_t offset, std::span<const std::byte> bytes) {
                std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(content.data()) + offset);
            });
        CHECK(content == "in a tmpfs\n");
    }
    types.erase("");
    CHECK(types == std::map<std::string, images::FileType>{{"d", images::FileType::directory},
                                                           {"d/note", images::FileType::regular},
                                                           {"link", images::FileType::symlink}});
    MountView mounts = list_mounts(loaded.moment());
    CHECK(std::any_of(mounts.mounts->begin(), mounts.mounts->end(), [](const images::Mount& mount) {
        return mount.mountpoint == "/scratch" && mount.filesystem == "tmpfs" &&
               mount.options.find("size=64k") != std::string::npos;
    }));
}

TEST_CASE("sessions and process groups are those of the programs, and the terminal tells whose it is") {
    Loaded loaded("states/sessions");
    const auto& processes = loaded.checkpoint.processes;
    REQUIRE(processes.size() == 4);
    const images::Process& root = processes[0];
    auto child = [&](images::DumpPid parent, bool own_session) {
        for (const images::Process& process : processes) {
            if (process.ppid == parent && (process.sid == process.pid) == own_session) return process;
        }
        FAIL("no such child");
        return root;
    };
    CHECK((root.sid == root.pid && root.pgid == root.pid));
    images::Process leader = child(root.pid, true), aside = child(root.pid, false),
                    job = child(leader.pid, false);
    CHECK((leader.sid == leader.pid && leader.pgid == leader.pid));
    CHECK((aside.sid == root.sid && aside.pgid == aside.pid));
    CHECK((job.sid == leader.sid && job.pgid == job.pid));
    images::Findings findings;
    size_t terminals = 0;
    for (const FdRow& row : list_fds(loaded.moment(), findings)) {
        if (!row.details.terminal) continue;
        ++terminals;
        CHECK(row.details.terminal->session == leader.pid.value);
        CHECK(row.details.terminal->foreground_group == job.pid.value);
    }
    CHECK(terminals > 0);
    CHECK(findings.empty());
}

TEST_CASE("a pid namespace counts its own processes from 1, and says who is in it") {
    Loaded loaded("scratch");
    REQUIRE(loaded.checkpoint.processes.size() == 1);
    CHECK(loaded.process().pid.value == 1);
    CHECK(loaded.process().ppid.value == 0);
    // A process dumped from the pid namespace that CRIU is in has the number that it has there.
    Loaded outside("states/pipe");
    CHECK(outside.process().pid.value > 1);
    auto pid_namespace = [](const Loaded& dumped) {
        NamespaceView view = list_namespaces(dumped.moment());
        CHECK(view.findings.empty());
        return *std::find_if(view.rows.begin(), view.rows.end(),
                             [](const NamespaceRow& row) { return row.kind == "pid"; });
    };
    CHECK(pid_namespace(loaded).processes == std::vector<images::DumpPid>{{1}});
    CHECK(pid_namespace(outside).id != pid_namespace(loaded).id);
}

TEST_CASE("a time namespace has clocks of its own") {
    Loaded loaded("states/time"), usual("states/pipe");
    auto clocks = [](const Loaded& dumped) {
        NamespaceView view = list_namespaces(dumped.moment());
        CHECK(view.findings.empty());
        for (const NamespaceRow& row : view.rows) {
            if (row.kind == "time") return row;
        }
        FAIL("no time namespace");
        return NamespaceRow();
    };
    NamespaceRow own = clocks(loaded);
    REQUIRE(own.details);
    CHECK(own.processes.size() == 1);
    constexpr int64_t k_second = 1'000'000'000;
    CHECK(own.details->monotonic_ns.value() > 1'000'000 * k_second);
    CHECK(own.details->boottime_ns.value() > 2'000'000 * k_second);
    CHECK(clocks(usual).details.value().monotonic_ns.value() < 1'000'000 * k_second);
}

TEST_CASE("the report tells what a container did not expose, and what it could not check") {
    Loaded loaded("kitchen");
    ReportInput input;
    Report report = make_report(loaded.moment(), input);
    CHECK(report.findings.empty());
    for (const Oddity& oddity : report.oddities) CHECK(oddity.kind != OddityKind::unexpected_listener);
    CHECK(report.unchecked.size() >= 2);
    input.exposed = {"5353/udp"};
    report = make_report(loaded.moment(), input);
    size_t listeners = 0;
    for (const Oddity& oddity : report.oddities) {
        if (oddity.kind != OddityKind::unexpected_listener) continue;
        ++listeners;
        CHECK(oddity.what.find("127.0.0.1:6379") != std::string::npos);
    }
    CHECK(listeners == 1);
}

TEST_CASE("the report compares code with the file, page by page") {
    Loaded loaded("kitchen");
    ReportInput input;
    input.read_file = [](const std::string&, uint64_t, uint64_t) {
        return std::optional<std::string>("not that");
    };
    Report report = make_report(loaded.moment(), input);
    auto changed = std::find_if(report.oddities.begin(), report.oddities.end(),
                                [](const Oddity& o) { return o.kind == OddityKind::changed_code; });
    REQUIRE(changed != report.oddities.end());
    CHECK(changed->what.find("/bin/kitchen") != std::string::npos);
}

TEST_CASE("the report tells of programs and set-uid files in the writable layer") {
    Loaded loaded("kitchen");
    images::LayerTree layer;
    layer.entries.resize(2);
    layer.entries[1].path = "bin/kitchen";
    layer.entries[1].mode = 04755;
    ReportInput input;
    input.layer = &layer;
    Report report = make_report(loaded.moment(), input);
    std::map<OddityKind, int> counts;
    for (const Oddity& oddity : report.oddities) ++counts[oddity.kind];
    CHECK(counts[OddityKind::foreign_executable] == 2);
    CHECK(counts[OddityKind::set_id] == 1);
    CHECK(counts[OddityKind::sniffer] == 0);
    Loaded packet("states/packet");
    report = make_report(packet.moment(), {});
    CHECK(std::any_of(report.oddities.begin(), report.oddities.end(),
                      [](const Oddity& o) { return o.kind == OddityKind::sniffer; }));
}
