// The same checkpoint as other machines and older versions of CRIU would have written it: made out of real ones, and
// read to the same model.
#include <fmt/format.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <set>

#include "images/checkpoint.h"
#include "images/directory_source.h"
#include "images/image_json.h"
#include "images/image_reader.h"
#include "images/pages.h"
#include "images/proto/files.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/process.pb.h"
#include "images/registers.h"
#include "tests/images/image_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace criu = cprewind::criu;

namespace {

// What a person would see of a checkpoint, findings included, in one comparable text.
std::string shown(const ImageSource& source) {
    Checkpoint checkpoint = load_checkpoint(source);
    std::string out;
    for (const Process& process : checkpoint.processes) {
        out += fmt::format("process {} {} {} {} {} {} {:#x}\n", process.pid.value, process.comm,
                           name_of(process.state), process.executable, process.cwd, process.limits.size(),
                           process.arguments.start);
        if (process.credentials) out += fmt::format("  uid {}\n", process.credentials->uid);
        for (const FileDescriptor& fd : process.fds) out += fmt::format("  fd {} {}\n", fd.fd, fd.file_id);
        for (const Mapping& mapping : process.mappings) {
            out += fmt::format("  {:x}-{:x} {} {}\n", mapping.start, mapping.end, name_of(mapping.kind),
                               mapping.path);
        }
        for (const Register& each : process.threads.front().registers)
            out += fmt::format("  {} {:x}\n", each.name, each.value);
    }
    for (const auto& [id, file] : checkpoint.files)
        out += fmt::format("file {} {} {} {:o}\n", id, name_of(file.kind), file.description, file.flags);
    for (const Mount& mount : checkpoint.mounts) out += fmt::format("mount {}\n", mount.mountpoint);
    for (const Finding& finding : checkpoint.findings)
        out += fmt::format("{}: {}\n", finding.file, finding.message);
    return out;
}

std::vector<std::string> all_fixtures() {
    std::vector<std::string> names = {"counter", "kitchen", "kitchen-later"};
    for (const std::string directory : {"states", "criu-4.1.1"}) {
        for (const auto& entry : std::filesystem::directory_iterator(CPREWIND_FIXTURES "/" + directory))
            names.push_back(directory + "/" + entry.path().filename().string());
    }
    return names;
}

MemorySource fixture(const std::string& name) {
    return copy_of(DirectorySource(std::string(CPREWIND_FIXTURES "/") + name));
}

// On a big-endian machine the same bytes of an address make another number.
void swap_addresses(Json& json) {
    if (json.is_array()) {
        for (Json& item : json) swap_addresses(item);
    } else if (json.is_object()) {
        for (auto& [key, value] : json.items()) {
            if (key == "src_addr" || key == "dst_addr") {
                for (Json& word : value) word = __builtin_bswap32(word.get<uint32_t>());
            } else if (key == "psk") {
                value["protocol"] = __builtin_bswap16(value["protocol"].get<uint16_t>());
            } else {
                swap_addresses(value);
            }
        }
    }
}

MemorySource as_big_endian(MemorySource source) {
    for (auto& [name, content] : source.files) {
        auto found = find_image_kind(name);
        if (!found || found->kind->head == ImageHead::raw) continue;
        Findings findings;
        Json json = decode_image(MemoryFile(content), name, findings);
        json["byte_order"] = "big";
        swap_addresses(json);
        content = encode_image(json);
        Json again = decode_image(MemoryFile(content), name, findings);
        INFO(name);
        REQUIRE(findings.empty());
        // Keys have an order, which is of no interest.
        REQUIRE(nlohmann::json(again) == nlohmann::json(json));
    }
    return source;
}

// Parts of file_entry and the images that had them before CRIU 3.4.
const std::map<std::string, const char*> k_old = {
    {"reg", "REG_FILES"},       {"pipe", "PIPES"},    {"fifo", "FIFO"},        {"usk", "UNIXSK"},
    {"isk", "INETSK"},          {"psk", "PACKETSK"},  {"nlsk", "NETLINK_SK"},  {"efd", "EVENTFD_FILE"},
    {"epfd", "EVENTPOLL_FILE"}, {"sgfd", "SIGNALFD"}, {"ify", "INOTIFY_FILE"}, {"ffy", "FANOTIFY_FILE"},
    {"tty", "TTY_FILES"},       {"tunf", "TUNFILE"},  {"ext", "EXT_FILES"},    {"nsf", "NS_FILES"},
    {"tfd", "TIMERFD"}};

void append_to(MemorySource& source, const char* kind, const google::protobuf::Message& message) {
    std::string& image = source.files[image_file_name(image_kind(kind))];
    if (image.empty()) image = make_head(image_kind(kind));
    append_entry(image, message);
}

// Files into an image for each type, with what they watch in others; mappings, limits and credentials beside mm and
// core.
MemorySource as_before_3_0(MemorySource source) {
    Findings findings;
    auto reader = ImageReader::open(source, "files.img", image_kind("FILES"), findings);
    REQUIRE(reader.has_value());
    criu::file_entry entry;
    bool all = true;
    std::string rest = make_head(image_kind("FILES"));
    while (reader->next(entry)) {
        // Inside their file their id is 0.
        auto move_out = [&](const char* kind, auto& list) {
            for (auto& each : list) {
                each.set_id(entry.id());
                append_to(source, kind, each);
            }
        };
        if (entry.has_ify()) move_out("INOTIFY_WD", *entry.mutable_ify()->mutable_wd());
        if (entry.has_epfd()) move_out("EVENTPOLL_TFD", *entry.mutable_epfd()->mutable_tfd());
        if (entry.has_ffy()) move_out("FANOTIFY_MARK", *entry.mutable_ffy()->mutable_mark());
        if (entry.has_ify()) entry.mutable_ify()->clear_wd();
        if (entry.has_epfd()) entry.mutable_epfd()->clear_tfd();
        if (entry.has_ffy()) entry.mutable_ffy()->clear_mark();
        std::vector<const google::protobuf::FieldDescriptor*> fields;
        entry.GetReflection()->ListFields(entry, &fields);
        const auto* part = fields.back();
        if (auto kind = k_old.find(part->name()); kind != k_old.end()) {
            append_to(source, kind->second, entry.GetReflection()->GetMessage(entry, part));
        } else {
            append_entry(rest, entry);  // memfds are younger
            all = false;
        }
    }
    if (all) {
        source.files.erase("files.img");
    } else {
        source.files["files.img"] = rest;
    }
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (!found) continue;
        auto number = found->number;
        if (std::string_view(found->kind->name) == "MM") {
            criu::mm_entry mm;
            REQUIRE(read_single(source, name, *found->kind, mm, findings));
            std::string vmas = make_head(image_kind("VMAS"));
            for (const auto& vma : mm.vmas()) append_entry(vmas, vma);
            mm.clear_vmas();
            source.files[image_file_name(image_kind("VMAS"), number)] = vmas;
            source.files[name] = make_image("MM", mm);
        }
        if (std::string_view(found->kind->name) == "CORE") {
            criu::core_entry core;
            REQUIRE(read_single(source, name, *found->kind, core, findings));
            if (!core.has_tc() || core.tc().task_state() != 1) continue;
            source.files[image_file_name(image_kind("CREDS"), number)] =
                make_image("CREDS", core.thread_core().creds());
            std::string limits = make_head(image_kind("RLIMIT"));
            for (const auto& limit : core.tc().rlimits().rlimits()) append_entry(limits, limit);
            source.files[image_file_name(image_kind("RLIMIT"), number)] = limits;
            core.mutable_tc()->clear_rlimits();
            core.mutable_thread_core()->clear_creds();
            source.files[name] = make_image("CORE", core);
        }
    }
    return source;
}

}  // namespace

TEST_CASE("no fixture of any version gives a finding") {
    for (const std::string& name : all_fixtures()) {
        INFO(name);
        MemorySource source = fixture(name);
        Checkpoint checkpoint = load_checkpoint(source);
        CHECK(checkpoint.findings.empty());
        Findings findings;
        for (const Process& process : checkpoint.processes) {
            if (process.state != ProcessState::zombie) AddressSpace(source, process, findings);
        }
        CHECK(findings.empty());
    }
}

TEST_CASE("a checkpoint of a big-endian machine reads as one of ours") {
    for (const std::string& name : all_fixtures()) {
        INFO(name);
        MemorySource source = fixture(name);
        CHECK(shown(as_big_endian(source)) == shown(source));
    }
}

TEST_CASE("semaphores of a big-endian machine are turned round, in decode and in encode") {
    MemorySource source = fixture("states/sysv-sem");
    MemorySource big = as_big_endian(source);
    bool seen = false;
    for (const auto& [name, content] : source.files) {
        if (!name.starts_with("ipcns-sem")) continue;
        Findings findings;
        Json little = decode_image(MemoryFile(content), name, findings);
        Json other = decode_image(MemoryFile(big.files[name]), name, findings);
        CHECK(other["entries"] == little["entries"]);
        CHECK(big.files[name].size() == content.size());
        CHECK(big.files[name] != content);
        seen = true;
    }
    CHECK(seen);
}

TEST_CASE("files, mappings, credentials and limits in images of their own, as before CRIU 3, read the same") {
    for (const std::string& name : all_fixtures()) {
        INFO(name);
        MemorySource source = fixture(name);
        CHECK(shown(as_before_3_0(source)) == shown(source));
    }
}

TEST_CASE("registers of every architecture have the names its debugger shows") {
    criu::core_entry core;
    auto value_of = [&](const char* name) {
        for (const Register& each : read_registers(core)) {
            if (std::string_view(each.name) == name) return each.value;
        }
        return uint64_t{0};
    };
    core.mutable_ti_arm()->mutable_gpregs()->set_pc(1);
    CHECK(value_of("pc") == 1);
    core.Clear();
    core.mutable_ti_ppc64()->mutable_gpregs()->set_nip(2);
    core.mutable_ti_ppc64()->mutable_gpregs()->add_gpr(7);
    CHECK(value_of("nip") == 2);
    CHECK(value_of("r0") == 7);
    core.Clear();
    auto& s390 = *core.mutable_ti_s390()->mutable_gpregs();
    s390.set_psw_addr(3);
    for (uint64_t i = 0; i < 16; ++i) s390.add_gprs(i);
    s390.add_acrs(99);
    CHECK(value_of("psw_addr") == 3);
    CHECK(value_of("r15") == 15);
    core.Clear();
    core.mutable_ti_mips()->mutable_gpregs()->set_cp0_epc(4);
    CHECK(value_of("cp0_epc") == 4);
    core.Clear();
    core.mutable_ti_loongarch64()->mutable_gpregs()->add_regs(0);
    core.mutable_ti_loongarch64()->mutable_gpregs()->set_pc(5);
    CHECK(value_of("pc") == 5);
    core.Clear();
    core.mutable_ti_riscv64()->mutable_gpregs()->set_sp(6);
    CHECK(value_of("sp") == 6);
}

TEST_CASE("a tun device, dumped as a device node and as a tun with one id, is one file") {
    criu::file_entry node;
    node.set_type(criu::REG);
    node.set_id(12);
    node.mutable_reg()->set_id(12);
    node.mutable_reg()->set_name("/dev/net/tun");
    node.mutable_reg()->set_flags(2);
    node.mutable_reg()->set_pos(0);
    node.mutable_reg()->mutable_fown()->set_uid(0);
    node.mutable_reg()->mutable_fown()->set_euid(0);
    node.mutable_reg()->mutable_fown()->set_signum(0);
    node.mutable_reg()->mutable_fown()->set_pid_type(0);
    node.mutable_reg()->mutable_fown()->set_pid(0);
    criu::file_entry tun;
    tun.set_type(criu::TUNF);
    tun.set_id(12);
    tun.mutable_tunf()->set_id(12);
    tun.mutable_tunf()->set_netdev("tun0");
    MemorySource alone;
    alone.files["files.img"] = make_image("FILES", node, tun);
    Checkpoint checkpoint = load_checkpoint(alone);
    const File* file = checkpoint.find_file(12);
    REQUIRE(file != nullptr);
    CHECK(file->kind == FileKind::tun);
    CHECK(file->description == "tun tun0");
    CHECK(file->path == "/dev/net/tun");
    CHECK(file->flags == 2);
    for (const Finding& finding : checkpoint.findings) CHECK(finding.file != "files.img");
}

TEST_CASE("a process without descriptors has no fdinfo image, which is no finding; one that was lost is") {
    MemorySource source = fixture("states/eventfd");
    auto is_fdinfo = [](const auto& file) { return file.first.starts_with("fdinfo-"); };
    std::erase_if(source.files, is_fdinfo);
    CHECK(shown(source).find("fdinfo") != std::string::npos);

    // Without the files that descriptors would lead to.
    Checkpoint whole = load_checkpoint(fixture("states/eventfd"));
    std::set<uint32_t> open;
    for (const Process& process : whole.processes) {
        for (const FileDescriptor& fd : process.fds) open.insert(fd.file_id);
    }
    Findings findings;
    auto reader = ImageReader::open(source, "files.img", image_kind("FILES"), findings);
    criu::file_entry entry;
    std::string image = make_head(image_kind("FILES"));
    while (reader->next(entry)) {
        if (!open.contains(entry.id())) append_entry(image, entry);
    }
    source.files["files.img"] = image;
    INFO(shown(source));
    CHECK(load_checkpoint(source).findings.empty());
}
