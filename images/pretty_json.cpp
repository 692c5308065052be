#include "images/pretty_json.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <sys/sysmacros.h>

#include <array>
#include <charconv>
#include <cstring>
#include <span>
#include <unordered_map>

#include "base/text.h"
#include "images/image_kinds.h"
#include "images/proto/content.pb.h"
#include "images/proto/memory.pb.h"

namespace cprewind::images {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

struct Name {
    uint64_t value;
    const char* name;
};

constexpr Name k_prot[] = {{0x1, "PROT_READ"}, {0x2, "PROT_WRITE"}, {0x4, "PROT_EXEC"}};
constexpr Name k_map[] = {{0x1, "MAP_SHARED"},
                          {0x2, "MAP_PRIVATE"},
                          {0x8, "MAP_DROPPABLE"},
                          {0x20, "MAP_ANON"},
                          {0x100, "MAP_GROWSDOWN"}};
// CRIU's own marks of a mapping (mm.proto: status).
constexpr Name k_area[] = {
    {1u << 0, "VMA_AREA_REGULAR"},  {1u << 1, "VMA_AREA_STACK"},   {1u << 2, "VMA_AREA_VSYSCALL"},
    {1u << 3, "VMA_AREA_VDSO"},     {1u << 5, "VMA_AREA_HEAP"},    {1u << 6, "VMA_FILE_PRIVATE"},
    {1u << 7, "VMA_FILE_SHARED"},   {1u << 8, "VMA_ANON_SHARED"},  {1u << 9, "VMA_ANON_PRIVATE"},
    {1u << 10, "VMA_AREA_SYSVIPC"}, {1u << 11, "VMA_AREA_SOCKET"}, {1u << 12, "VMA_AREA_VVAR"},
    {1u << 13, "VMA_AREA_AIORING"}, {1u << 14, "VMA_AREA_MEMFD"},  {1u << 15, "VMA_AREA_SHSTK"},
    {1u << 17, "VMA_AREA_UPROBES"}, {1u << 31, "VMA_UNSUPP"}};
// As the kernel numbers them on x86_64, whatever architecture the image is of: crit does so.
constexpr Name k_open[] = {
    {01, "O_WRONLY"},         {02, "O_RDWR"},          {0100, "O_CREAT"},       {0200, "O_EXCL"},
    {0400, "O_NOCTTY"},       {01000, "O_TRUNC"},      {02000, "O_APPEND"},     {04000, "O_NONBLOCK"},
    {010000, "O_DSYNC"},      {020000, "FASYNC"},      {040000, "O_DIRECT"},    {0100000, "O_LARGEFILE"},
    {0200000, "O_DIRECTORY"}, {0400000, "O_NOFOLLOW"}, {01000000, "O_NOATIME"}, {02000000, "O_CLOEXEC"}};
constexpr Name k_seals[] = {{0x1, "F_SEAL_SEAL"},
                            {0x2, "F_SEAL_SHRINK"},
                            {0x4, "F_SEAL_GROW"},
                            {0x8, "F_SEAL_WRITE"},
                            {0x10, "F_SEAL_FUTURE_WRITE"}};
constexpr Name k_pages[] = {{1, "PE_PARENT"}, {2, "PE_LAZY"}, {4, "PE_PRESENT"}};

constexpr Name k_task[] = {{1, "Alive"}, {2, "Dead"}, {3, "Stopped"}, {6, "Zombie"}};
constexpr Name k_family[] = {{1, "UNIX"}, {2, "INET"}, {10, "INET6"}, {16, "NETLINK"}, {17, "PACKET"}};
constexpr Name k_socket[] = {{1, "STREAM"}, {2, "DGRAM"}, {3, "RAW"}, {5, "SEQPACKET"}, {10, "PACKET"}};
constexpr Name k_state[] = {{1, "ESTABLISHED"}, {2, "SYN_SENT"},  {3, "SYN_RECV"}, {4, "FIN_WAIT1"},
                            {5, "FIN_WAIT2"},   {6, "TIME_WAIT"}, {7, "CLOSE"},    {8, "CLOSE_WAIT"},
                            {9, "LAST_ACK"},    {10, "LISTEN"}};
constexpr Name k_protocol[] = {{0, "IP"}, {6, "TCP"}, {17, "UDP"}, {136, "UDPLITE"}};

enum class Show {
    number,
    hex,         // of a message: all numbers in it
    device,      // as the kernel numbers them: 12 bits of major, 20 of minor
    old_device,  // as stat(2) does
    address,     // one or four words in network order
    flags,       // names of bits, then what is left
    name,        // of the value
};

struct Look {
    Show show = Show::number;
    std::span<const Name> names;
};

// The fields of a message that are shown alike.
struct Row {
    const char* message;
    const char* fields;
    Look look;
};

constexpr Look k_hex{Show::hex, {}}, k_device{Show::device, {}}, k_old_device{Show::old_device, {}},
    k_address{Show::address, {}};

const Row k_rows[] = {
    {"task_core_entry", "task_state", {Show::name, k_task}},
    {"task_core_entry", "blk_sigset blk_sigset_extended membarrier_registration_mask", k_hex},
    {"thread_info_x86", "clear_tid_addr gpregs", k_hex},
    {"user_x86_cet_entry", "cet ssp", k_hex},
    {"thread_info_aarch64", "clear_tid_addr gpregs", k_hex},
    {"thread_info_arm", "clear_tid_addr gpregs", k_hex},
    {"thread_info_loongarch64", "clear_tid_addr gpregs fpregs", k_hex},
    {"thread_info_mips", "clear_tid_addr gpregs fpregs", k_hex},
    {"thread_info_ppc64", "clear_tid_addr gpregs", k_hex},
    {"thread_info_riscv64", "clear_tid_addr gpregs", k_hex},
    {"thread_info_s390", "clear_tid_addr gpregs fpregs vxrs_low vxrs_high gs_cb gs_bc ri_cb", k_hex},
    {"sa_entry", "sigaction flags restorer mask mask_extended", k_hex},
    {"mm_entry",
     "mm_start_code mm_end_code mm_start_data mm_end_data mm_start_stack mm_start_brk mm_brk mm_arg_start "
     "mm_arg_end mm_env_start mm_env_end",
     k_hex},
    {"vma_entry", "start end madv fdflags", k_hex},
    {"vma_entry", "prot", {Show::flags, k_prot}},
    {"vma_entry", "flags", {Show::flags, k_map}},
    {"vma_entry", "status", {Show::flags, k_area}},
    {"pagemap_entry", "vaddr", k_hex},
    {"pagemap_entry", "flags", {Show::flags, k_pages}},
    {"reg_file_entry", "flags", {Show::flags, k_open}},
    {"memfd_file_entry", "flags", {Show::flags, k_open}},
    {"memfd_inode_entry", "seals", {Show::flags, k_seals}},
    {"bpfmap_file_entry", "flags", {Show::flags, k_open}},
    {"pipe_entry", "flags", k_hex},
    {"signalfd_entry", "flags sigmask", k_hex},
    {"timerfd_entry", "flags settime_flags", k_hex},
    {"tty_file_entry", "flags", k_hex},
    {"inotify_wd_entry", "mask ignored_mask", k_hex},
    {"inotify_wd_entry", "s_dev", k_device},
    {"inotify_file_entry", "flags", k_hex},
    {"fanotify_mark_entry", "mflags mask ignored_mask", k_hex},
    {"fanotify_mark_entry", "s_dev", k_device},
    {"fanotify_file_entry", "flags faflags evflags", k_hex},
    {"irmap_cache_entry", "dev", k_old_device},
    {"ghost_file_entry", "dev", k_device},
    {"ghost_file_entry", "rdev", k_old_device},
    {"mnt_entry", "root_dev", k_device},
    {"mnt_entry", "flags sb_flags", k_hex},
    {"net_device_entry", "flags", k_hex},
    {"tun_link_entry", "flags", k_hex},
    {"sit_entry", "local remote rd_prefix relay_prefix", k_address},
    {"inet_sk_entry", "family", {Show::name, k_family}},
    {"inet_sk_entry", "type", {Show::name, k_socket}},
    {"inet_sk_entry", "proto", {Show::name, k_protocol}},
    {"inet_sk_entry", "state", {Show::name, k_state}},
    {"inet_sk_entry", "flags", k_hex},
    {"inet_sk_entry", "src_addr dst_addr", k_address},
    {"unix_sk_entry", "type", {Show::name, k_socket}},
    {"unix_sk_entry", "state", {Show::name, k_state}},
    {"unix_sk_entry", "flags uflags", k_hex},
    {"netlink_sk_entry", "flags", k_hex},
    {"packet_sock_entry", "flags", k_hex},
    {"tcp_stream_entry", "opt_mask", k_hex},
};

Look look_of(const FieldDescriptor& field) {
    static const auto looks = [] {
        std::unordered_map<std::string, Look> all;
        for (const Row& row : k_rows) {
            for (const std::string& name : base::split(row.fields, ' '))
                all[fmt::format("{}.{}", row.message, name)] = row.look;
        }
        return all;
    }();
    auto found = looks.find(fmt::format("{}.{}", field.containing_type()->name(), field.name()));
    return found == looks.end() ? Look{} : found->second;
}

std::string show_flags(uint64_t value, std::span<const Name> names) {
    std::vector<std::string> parts;
    for (const Name& bit : names) {
        if ((value & bit.value) == 0) continue;
        parts.emplace_back(bit.name);
        value &= ~bit.value;
    }
    if (value != 0) parts.push_back(fmt::format("{:#x}", value));
    return base::join(parts, " | ");
}

Json show(const Json& number, const Look& look) {
    auto value = number.get<uint64_t>();
    switch (look.show) {
        case Show::hex:
            return fmt::format("{:#x}", value);
        case Show::device:
            return fmt::format("{}:{}", value >> 20, value & 0xfffff);
        case Show::old_device:
            return fmt::format("{}:{}", major(value), minor(value));
        case Show::flags:
            return show_flags(value, look.names);
        case Show::name:
            for (const Name& known : look.names)
                if (known.value == value) return known.name;
            return number;
        default:
            return number;
    }
}

// Nothing when these are no words of an address.
std::optional<std::string> show_address(const Json& words, bool big_endian) {
    if (!words.is_array() || (words.size() != 1 && words.size() != 4)) return std::nullopt;
    std::array<uint32_t, 4> address{};
    for (size_t i = 0; i < words.size(); ++i) {
        auto word = words[i].get<uint32_t>();
        address[i] = big_endian ? htonl(word) : word;
    }
    std::array<char, INET6_ADDRSTRLEN> text;
    inet_ntop(words.size() == 1 ? AF_INET : AF_INET6, address.data(), text.data(), text.size());
    return text.data();
}

struct Prettifier {
    bool big_endian;

    // `all_hex`: so says the field that this is in.
    void message(Json& json, const Descriptor& type, bool all_hex) const {
        if (!json.is_object()) return;
        for (auto& [key, value] : json.items()) {
            const FieldDescriptor* field = type.FindFieldByName(key);
            if (field == nullptr) continue;
            Look look = all_hex ? k_hex : look_of(*field);
            if (look.show == Show::address) {
                if (auto text = show_address(value, big_endian)) value = Json::array({*text});
            } else if (field->is_repeated()) {
                for (Json& item : value) one(item, *field, look);
            } else {
                one(value, *field, look);
            }
        }
    }

    void one(Json& value, const FieldDescriptor& field, const Look& look) const {
        if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
            message(value, *field.message_type(), look.show == Show::hex);
        } else if (value.is_number_unsigned() && look.show != Show::number) {
            value = show(value, look);
        }
    }
};

std::optional<uint64_t> parse_integer(std::string_view text) {
    bool hex = text.starts_with("0x");
    uint64_t value = 0;
    const char* end = text.data() + text.size();
    auto [stop, error] = std::from_chars(text.data() + (hex ? 2 : 0), end, value, hex ? 16 : 10);
    if (error != std::errc() || stop != end) return std::nullopt;
    return value;
}

}  // namespace

void make_pretty(Json& image) {
    const ImageKind* kind = find_image_kind_by_name(image.at("magic").get_ref<const std::string&>());
    Prettifier prettifier{image.contains("byte_order") && image["byte_order"] == "big"};
    bool first = true;
    for (Json& entry : image.at("entries")) {
        const Descriptor* type = kind->message().GetDescriptor();
        if (kind->payload == Payload::pagemap && first) type = criu::pagemap_head::descriptor();
        if (kind->payload == Payload::ghost && !first) type = criu::ghost_chunk_entry::descriptor();
        prettifier.message(entry, *type, false);
        first = false;
    }
}

std::optional<uint64_t> parse_pretty(const FieldDescriptor& field, std::string_view text) {
    Look look = look_of(field);
    if (look.show == Show::device || look.show == Show::old_device) {
        size_t colon = text.find(':');
        if (colon == std::string_view::npos) return parse_integer(text);
        auto high = parse_integer(text.substr(0, colon)), low = parse_integer(text.substr(colon + 1));
        if (!high || !low || *high > 0xffffffff || *low > 0xffffffff) return std::nullopt;
        if (look.show == Show::device) return *high << 20 | (*low & 0xfffff);
        return makedev(static_cast<unsigned>(*high), static_cast<unsigned>(*low));
    }
    if (look.show != Show::flags && look.show != Show::name) return parse_integer(text);
    if (look.show == Show::flags && text.empty()) return 0;
    uint64_t value = 0;
    for (const std::string& part : base::split(text, '|')) {
        size_t begin = part.find_first_not_of(' ');
        if (begin == std::string::npos) return std::nullopt;
        std::string word = part.substr(begin, part.find_last_not_of(' ') + 1 - begin);
        auto bits = parse_integer(word);
        for (const Name& known : look.names)
            if (word == known.name) bits = known.value;
        if (!bits) return std::nullopt;
        value |= *bits;
    }
    return value;
}

std::optional<std::vector<uint32_t>> parse_pretty_address(const FieldDescriptor& field,
                                                          std::string_view text) {
    if (look_of(field).show != Show::address) return std::nullopt;
    std::vector<uint32_t> words(text.find(':') == std::string_view::npos ? 1 : 4);
    int family = words.size() == 1 ? AF_INET : AF_INET6;
    if (inet_pton(family, std::string(text).c_str(), words.data()) != 1) return std::nullopt;
    return words;
}

}  // namespace cprewind::images
