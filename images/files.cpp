#include "images/files.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/message.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "images/image_reader.h"
#include "images/proto/files.pb.h"

namespace cprewind::images {

namespace {

// What other images tell about files of files.img.
struct Companions {
    std::map<uint64_t, criu::memfd_inode_entry> memfds;  // by inode_id
    std::map<uint32_t, criu::tty_info_entry> ttys;       // by id
    std::set<uint32_t> nameless;                         // ids of files in remap-fpath.img
};

bool has_file(const ImageSource& source, std::string_view name) {
    return source.open(name) != nullptr;
}

Companions load_companions(const ImageSource& source, Findings& findings) {
    Companions out;
    // These three exist only when there is such a thing.
    if (has_file(source, "memfd.img")) {
        auto reader = ImageReader::open(source, "memfd.img", image_kind("MEMFD_INODE"), findings);
        criu::memfd_inode_entry entry;
        while (reader && reader->next(entry)) out.memfds.emplace(entry.inode_id(), entry);
    }
    if (has_file(source, "tty-info.img")) {
        auto reader = ImageReader::open(source, "tty-info.img", image_kind("TTY_INFO"), findings);
        criu::tty_info_entry entry;
        while (reader && reader->next(entry)) out.ttys.emplace(entry.id(), entry);
    }
    if (has_file(source, "remap-fpath.img")) {
        auto reader = ImageReader::open(source, "remap-fpath.img", image_kind("REMAP_FPATH"), findings);
        criu::remap_file_path_entry entry;
        while (reader && reader->next(entry)) out.nameless.insert(entry.orig_id());
    }
    return out;
}

std::string socket_type(uint32_t type) {
    switch (type) {
        case SOCK_STREAM:
            return "stream";
        case SOCK_DGRAM:
            return "dgram";
        case SOCK_SEQPACKET:
            return "seqpacket";
        case SOCK_RAW:
            return "raw";
        case SOCK_PACKET:
            return "spkt";
        default:
            return fmt::format("type {}", type);
    }
}

std::string protocol_name(uint32_t family, uint32_t protocol, uint32_t type) {
    std::string name;
    switch (protocol) {
        case IPPROTO_TCP:
            name = "tcp";
            break;
        case IPPROTO_UDP:
            name = "udp";
            break;
        case IPPROTO_UDPLITE:
            name = "udplite";
            break;
        case IPPROTO_ICMP:
            name = "icmp";
            break;
        case IPPROTO_ICMPV6:
            return "icmp6";
        default:
            name = type == SOCK_RAW ? fmt::format("raw-{}", protocol) : fmt::format("ip-{}", protocol);
    }
    return family == AF_INET6 ? name + "6" : name;
}

// The words of an address lie in the memory of the machine that was dumped as on the wire.
template <typename Words>
std::string endpoint(uint32_t family, const Words& words_read, uint32_t port, bool big_endian) {
    std::vector<uint32_t> words(words_read.begin(), words_read.end());
    for (uint32_t& word : words) word = big_endian ? base::swap_bytes(word) : word;
    char text[INET6_ADDRSTRLEN] = "";
    int needed = family == AF_INET6 ? 4 : 1;
    if ((family != AF_INET && family != AF_INET6) ||
        static_cast<int>(std::min<size_t>(words.size(), 4)) < needed)
        return fmt::format("?:{}", port);
    if (inet_ntop(static_cast<int>(family), words.data(), text, sizeof(text)) == nullptr) return "?";
    return family == AF_INET6 ? fmt::format("[{}]:{}", text, port) : fmt::format("{}:{}", text, port);
}

void fill_inet(const criu::inet_sk_entry& entry, bool big_endian, File& file) {
    Socket socket;
    socket.family = entry.family();
    socket.type = entry.type();
    socket.protocol = entry.proto();
    socket.state = entry.state();
    socket.inode = entry.ino();
    socket.backlog = entry.backlog();
    socket.local = endpoint(entry.family(), entry.src_addr(), entry.src_port(), big_endian);
    if (entry.dst_port() != 0)
        socket.remote = endpoint(entry.family(), entry.dst_addr(), entry.dst_port(), big_endian);
    std::string name = protocol_name(entry.family(), entry.proto(), entry.type());
    file.description = name + " " + socket.local;
    if (!socket.remote.empty()) file.description += " -> " + socket.remote;
    if (entry.proto() == IPPROTO_TCP)
        file.description += fmt::format(" {}", socket_state_name(entry.state()));
    file.flags = entry.flags();
    file.object = entry.ino();
    file.socket = std::move(socket);
}

// "@name" when abstract, the path when bound, "" when nameless.
std::string unix_name(const criu::unix_sk_entry& entry) {
    std::string name = entry.name();
    if (name.empty()) return name;
    if (name.front() == '\0') return "@" + name.substr(1);
    name = name.substr(0, name.find('\0'));
    if (!name.empty() && name.front() != '/' && !entry.name_dir().empty())
        name = entry.name_dir() + "/" + name;
    return name;
}

void fill_unix(const criu::unix_sk_entry& entry, File& file) {
    Socket socket;
    socket.family = AF_UNIX;
    socket.type = entry.type();
    socket.state = entry.state();
    socket.inode = entry.ino();
    socket.backlog = entry.backlog();
    socket.peer_inode = entry.peer();
    socket.local = unix_name(entry);
    file.description = fmt::format("unix {} {}", socket_type(entry.type()),
                                   socket.local.empty() ? fmt::format("[{}]", entry.ino()) : socket.local);
    if (entry.peer() != 0) file.description += fmt::format(" -> [{}]", entry.peer());
    if (std::string_view(socket_state_name(entry.state())) == "LISTEN") file.description += " LISTEN";
    file.flags = entry.flags();
    file.deleted = entry.deleted();
    file.object = entry.ino();
    file.socket = std::move(socket);
}

void fill_memfd(const criu::memfd_file_entry& entry, const Companions& companions, File& file,
                Findings& findings) {
    file.flags = entry.flags();
    file.position = entry.pos();
    auto inode = companions.memfds.find(entry.inode_id());
    if (inode == companions.memfds.end()) {
        file.description = fmt::format("memfd, inode {}", entry.inode_id());
        add_finding(findings,
                    {FindingKind::absent,
                     "memfd.img",
                     {},
                     fmt::format("inode {} of the memfd {} is not in it", entry.inode_id(), file.id)});
        return;
    }
    file.path = "memfd:" + inode->second.name();
    file.description = file.path;
    file.size = inode->second.size();
    file.object = inode->second.shmid();
    if (inode->second.has_mode()) file.mode = inode->second.mode();
}

void fill_tty(const criu::tty_file_entry& entry, const Companions& companions, File& file) {
    file.flags = entry.flags();
    file.object = entry.tty_info_id();
    auto info = companions.ttys.find(entry.tty_info_id());
    if (info != companions.ttys.end()) file.details.terminal = {info->second.sid(), info->second.pgrp()};
    if (info == companions.ttys.end()) {
        file.description = fmt::format("terminal {}", entry.tty_info_id());
    } else if (info->second.has_pty()) {
        file.description = fmt::format("terminal pts/{}", info->second.pty().index());
    } else {
        // The kernel's "new" encoding of a device number.
        uint32_t rdev = info->second.rdev();
        file.description =
            fmt::format("terminal {}:{}", (rdev & 0xfff00) >> 8, (rdev & 0xff) | ((rdev >> 12) & 0xfff00));
    }
}

const char* namespace_name(uint32_t clone_flag) {
    switch (clone_flag) {
        case CLONE_NEWNET:
            return "net";
        case CLONE_NEWPID:
            return "pid";
        case CLONE_NEWNS:
            return "mnt";
        case CLONE_NEWIPC:
            return "ipc";
        case CLONE_NEWUTS:
            return "uts";
        case CLONE_NEWUSER:
            return "user";
        case CLONE_NEWCGROUP:
            return "cgroup";
        case 0x80:
            return "time";  // CLONE_NEWTIME
        default:
            return "namespace";
    }
}

void fill_regular(const criu::reg_file_entry& entry, const Companions& companions, File& file) {
    file.path = entry.name();
    // An external file has the name by which CRIU was told of it instead.
    file.description = entry.ext() ? "external " + file.path : file.path;
    file.flags = entry.flags();
    file.position = entry.pos();
    if (entry.has_size()) file.size = entry.size();
    if (entry.has_mode()) file.mode = entry.mode();
    file.deleted = companions.nameless.contains(file.id);
}

void fill_watches(const criu::inotify_file_entry& entry, File& file) {
    file.flags = entry.flags();
    std::vector<std::string> paths;
    for (const auto& watch : entry.wd()) {
        if (!watch.f_handle().path().empty()) paths.push_back(watch.f_handle().path());
    }
    file.description = fmt::format("inotify, {} watches", entry.wd_size());
    if (!paths.empty()) file.description += fmt::format(": {}", fmt::join(paths, ", "));
}

// Kinds that need no more than a line each. False when the entry's own part is missing.
bool fill_simple(const criu::file_entry& entry, bool big_endian, File& file) {
    switch (entry.type()) {
        case criu::PIPE:
            file.description = fmt::format("pipe:[{}]", entry.pipe().pipe_id());
            file.flags = entry.pipe().flags();
            file.object = entry.pipe().pipe_id();
            return entry.has_pipe();
        case criu::EVENTFD:
            file.description = fmt::format("eventfd, count {}", entry.efd().counter());
            file.flags = entry.efd().flags();
            return entry.has_efd();
        case criu::EVENTPOLL: {
            std::vector<uint32_t> watched;
            for (const auto& target : entry.epfd().tfd()) watched.push_back(target.tfd());
            std::sort(watched.begin(), watched.end());
            file.description = watched.empty()
                                   ? "eventpoll, watching nothing"
                                   : fmt::format("eventpoll, watching {}", fmt::join(watched, ", "));
            file.flags = entry.epfd().flags();
            return entry.has_epfd();
        }
        case criu::SIGNALFD:
            file.description = fmt::format("signalfd, mask {:#x}", entry.sgfd().sigmask());
            file.flags = entry.sgfd().flags();
            return entry.has_sgfd();
        case criu::TIMERFD:
            file.description =
                fmt::format("timerfd, clock {}, {}.{:09} s left, every {}.{:09} s", entry.tfd().clockid(),
                            entry.tfd().vsec(), entry.tfd().vnsec(), entry.tfd().isec(), entry.tfd().insec());
            file.flags = entry.tfd().flags();
            return entry.has_tfd();
        case criu::FANOTIFY:
            file.description = fmt::format("fanotify, {} marks", entry.ffy().mark_size());
            file.flags = entry.ffy().flags();
            return entry.has_ffy();
        case criu::NETLINKSK:
            file.description =
                fmt::format("netlink protocol {} port {}", entry.nlsk().protocol(), entry.nlsk().portid());
            file.flags = entry.nlsk().flags();
            file.object = entry.nlsk().ino();
            return entry.has_nlsk();
        case criu::PACKETSK:
            // As the kernel keeps it, so in the order of the wire.
            file.description =
                fmt::format("packet {} protocol {:#06x} interface {}", socket_type(entry.psk().type()),
                            big_endian ? entry.psk().protocol()
                                       : base::swap_bytes(static_cast<uint16_t>(entry.psk().protocol())),
                            entry.psk().ifindex());
            file.flags = entry.psk().flags();
            return entry.has_psk();
        case criu::TUNF:
            file.description =
                entry.tunf().netdev().empty() ? "tun, no interface" : "tun " + entry.tunf().netdev();
            return entry.has_tunf();
        case criu::NS:
            file.description =
                fmt::format("{}:[{}]", namespace_name(entry.nsf().ns_cflag()), entry.nsf().ns_id());
            file.flags = entry.nsf().flags();
            file.object = entry.nsf().ns_id();
            return entry.has_nsf();
        case criu::EXT:
            file.description = "external file, restored by a CRIU plugin";
            return entry.has_ext();
        case criu::BPFMAP:
            file.description = fmt::format("bpf map {} {}", entry.bpf().map_id(), entry.bpf().map_name());
            file.flags = entry.bpf().flags();
            file.object = entry.bpf().map_id();
            return entry.has_bpf();
        case criu::PIDFD:
            file.description = entry.pidfd().nspid() < 0 ? "pidfd of a process that is gone"
                                                         : fmt::format("pidfd of {}", entry.pidfd().nspid());
            file.flags = entry.pidfd().flags();
            return entry.has_pidfd();
        default:
            return false;
    }
}

FileKind kind_of(criu::fd_types type) {
    switch (type) {
        case criu::REG:
            return FileKind::regular;
        case criu::PIPE:
            return FileKind::pipe;
        case criu::FIFO:
            return FileKind::fifo;
        case criu::INETSK:
            return FileKind::inet_socket;
        case criu::UNIXSK:
            return FileKind::unix_socket;
        case criu::EVENTFD:
            return FileKind::eventfd;
        case criu::EVENTPOLL:
            return FileKind::eventpoll;
        case criu::INOTIFY:
            return FileKind::inotify;
        case criu::SIGNALFD:
            return FileKind::signalfd;
        case criu::PACKETSK:
            return FileKind::packet_socket;
        case criu::TTY:
            return FileKind::tty;
        case criu::FANOTIFY:
            return FileKind::fanotify;
        case criu::NETLINKSK:
            return FileKind::netlink_socket;
        case criu::NS:
            return FileKind::ns;
        case criu::TUNF:
            return FileKind::tun;
        case criu::EXT:
            return FileKind::external;
        case criu::TIMERFD:
            return FileKind::timerfd;
        case criu::MEMFD:
            return FileKind::memfd;
        case criu::BPFMAP:
            return FileKind::bpfmap;
        case criu::PIDFD:
            return FileKind::pidfd;
        default:
            return FileKind::unknown;
    }
}

File make_file(const criu::file_entry& entry, const Companions& companions, ImageReader& reader,
               Findings& findings) {
    File file;
    file.id = entry.id();
    file.details = read_file_details(entry);
    // An enumerator that the schema does not know leaves `type` unset.
    file.kind = entry.has_type() ? kind_of(entry.type()) : FileKind::unknown;
    bool complete = true;
    switch (file.kind) {
        case FileKind::regular:
            fill_regular(entry.reg(), companions, file);
            complete = entry.has_reg();
            break;
        case FileKind::inet_socket:
            fill_inet(entry.isk(), reader.is_big_endian(), file);
            complete = entry.has_isk();
            break;
        case FileKind::unix_socket:
            fill_unix(entry.usk(), file);
            complete = entry.has_usk();
            break;
        case FileKind::memfd:
            complete = entry.has_memfd();
            if (complete) fill_memfd(entry.memfd(), companions, file, findings);
            break;
        case FileKind::tty:
            fill_tty(entry.tty(), companions, file);
            complete = entry.has_tty();
            break;
        case FileKind::inotify:
            fill_watches(entry.ify(), file);
            complete = entry.has_ify();
            break;
        case FileKind::fifo:
            file.object = entry.fifo().pipe_id();
            complete = entry.has_fifo();
            break;
        case FileKind::unknown:
            file.description = "a kind of file that this version does not know";
            break;
        default:
            complete = fill_simple(entry, reader.is_big_endian(), file);
    }
    if (!complete) {
        file.description = fmt::format("{}, details lost", name_of(file.kind));
        reader.report(FindingKind::damaged, fmt::format("file {} says that it is a {} but has no such part",
                                                        file.id, name_of(file.kind)));
    }
    return file;
}

// One image for each type, as CRIU before 3.4 wrote them: what is in an entry of files.img is an image there.
struct OldImage {
    const char* kind;
    criu::fd_types type;
    const char* field;  // of file_entry
};
constexpr OldImage k_old_images[] = {
    {"REG_FILES", criu::REG, "reg"},
    {"PIPES", criu::PIPE, "pipe"},
    {"FIFO", criu::FIFO, "fifo"},
    {"UNIXSK", criu::UNIXSK, "usk"},
    {"INETSK", criu::INETSK, "isk"},
    {"PACKETSK", criu::PACKETSK, "psk"},
    {"NETLINK_SK", criu::NETLINKSK, "nlsk"},
    {"EVENTFD_FILE", criu::EVENTFD, "efd"},
    {"EVENTPOLL_FILE", criu::EVENTPOLL, "epfd"},
    {"SIGNALFD", criu::SIGNALFD, "sgfd"},
    {"INOTIFY_FILE", criu::INOTIFY, "ify"},
    {"FANOTIFY_FILE", criu::FANOTIFY, "ffy"},
    {"TTY_FILES", criu::TTY, "tty"},
    {"TUNFILE", criu::TUNF, "tunf"},
    {"EXT_FILES", criu::EXT, "ext"},
    {"NS_FILES", criu::NS, "nsf"},
    {"TIMERFD", criu::TIMERFD, "tfd"},
    {"BPFMAP_FILE", criu::BPFMAP, "bpf"},
    {"PIDFD", criu::PIDFD, "pidfd"},
};

// Reads all files, whichever images they are in, and lists them by id.
class FileLoader {
 public:
    FileLoader(const ImageSource& source, Findings& findings)
        : source_(source), findings_(findings), companions_(load_companions(source, findings)) {}

    std::map<uint32_t, File> run() {
        epoll_targets_ = read_watched<criu::eventpoll_tfd_entry>("EVENTPOLL_TFD");
        inotify_watches_ = read_watched<criu::inotify_wd_entry>("INOTIFY_WD");
        fanotify_marks_ = read_watched<criu::fanotify_mark_entry>("FANOTIFY_MARK");
        bool any = false;
        for (const OldImage& image : k_old_images) {
            std::string name = image_file_name(image_kind(image.kind));
            if (!has_file(source_, name)) continue;
            any = true;
            read_old(image, name);
        }
        if (!any || has_file(source_, "files.img")) read_all();
        name_fifos();
        return std::move(files_);
    }

 private:
    void read_all() {
        auto reader = ImageReader::open(source_, "files.img", image_kind("FILES"), findings_);
        criu::file_entry entry;
        while (reader && reader->next(entry)) add(entry, *reader);
    }

    void read_old(const OldImage& image, const std::string& name) {
        auto reader = ImageReader::open(source_, name, image_kind(image.kind), findings_);
        criu::file_entry entry;
        const auto* field = entry.GetDescriptor()->FindFieldByName(image.field);
        CPREWIND_CHECK(field != nullptr);
        while (reader) {
            entry.Clear();
            auto* part = entry.GetReflection()->MutableMessage(&entry, field);
            if (!reader->next(*part)) break;
            const auto* id = part->GetDescriptor()->FindFieldByName("id");
            entry.set_type(image.type);
            entry.set_id(part->GetReflection()->GetUInt32(*part, id));
            add_watched(entry);
            add(entry, *reader);
        }
    }

    // What a file watches was in images of its own, too.
    void add_watched(criu::file_entry& entry) {
        if (entry.type() == criu::EVENTPOLL)
            take_watched(epoll_targets_, entry.id(), *entry.mutable_epfd()->mutable_tfd());
        if (entry.type() == criu::INOTIFY)
            take_watched(inotify_watches_, entry.id(), *entry.mutable_ify()->mutable_wd());
        if (entry.type() == criu::FANOTIFY)
            take_watched(fanotify_marks_, entry.id(), *entry.mutable_ffy()->mutable_mark());
    }

    template <typename Entry, typename Field>
    static void take_watched(const std::multimap<uint32_t, Entry>& all, uint32_t id, Field& field) {
        auto [from, to] = all.equal_range(id);
        for (auto each = from; each != to; ++each) *field.Add() = each->second;
    }

    template <typename Entry>
    std::multimap<uint32_t, Entry> read_watched(const char* kind) {
        std::multimap<uint32_t, Entry> out;
        std::string name = image_file_name(image_kind(kind));
        if (!has_file(source_, name)) return out;
        auto reader = ImageReader::open(source_, name, image_kind(kind), findings_);
        Entry entry;
        while (reader && reader->next(entry)) out.emplace(entry.id(), entry);
        return out;
    }

    void add(const criu::file_entry& entry, ImageReader& reader) {
        if (entry.type() == criu::FIFO && entry.fifo().has_regf_id())
            fifo_paths_.emplace(entry.id(), entry.fifo().regf_id());
        File file = make_file(entry, companions_, reader, findings_);
        auto [known, inserted] = files_.emplace(entry.id(), file);
        if (inserted) return;
        if (known->second.kind == FileKind::regular && file.kind == FileKind::tun) {
            // Dumped twice with one id: as the device node that was opened, and as what came out of it.
            file.path = known->second.path;
            file.flags = known->second.flags;
            file.mode = known->second.mode;
            known->second = std::move(file);
        } else {
            reader.report(FindingKind::damaged, fmt::format("a second file with the id {}", entry.id()));
        }
    }

    void name_fifos() {
        for (auto [fifo, regular] : fifo_paths_) {
            auto path = files_.find(regular);
            File& file = files_[fifo];
            if (path == files_.end() || &path->second == &file) continue;
            file.path = path->second.path;
            file.flags = path->second.flags;
        }
        for (auto& [id, file] : files_) {
            if (file.kind == FileKind::fifo && file.description.empty())
                file.description = file.path.empty() ? fmt::format("fifo [{}]", file.object) : file.path;
        }
    }

    const ImageSource& source_;
    Findings& findings_;
    Companions companions_;
    std::map<uint32_t, File> files_;
    std::multimap<uint32_t, criu::eventpoll_tfd_entry> epoll_targets_;
    std::multimap<uint32_t, criu::inotify_wd_entry> inotify_watches_;
    std::multimap<uint32_t, criu::fanotify_mark_entry> fanotify_marks_;
    std::map<uint32_t, uint32_t> fifo_paths_;  // fifo id -> id of the regular file that has its path
};

}  // namespace

std::map<uint32_t, File> load_files(const ImageSource& source, Findings& findings) {
    return FileLoader(source, findings).run();
}

}  // namespace cprewind::images
