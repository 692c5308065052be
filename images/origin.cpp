#include "images/origin.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "images/json_document.h"

namespace cprewind::images {

namespace {

using json = nlohmann::json;
using Document = JsonDocument;

// CRIU tells its version in the first lines of its log.
constexpr uint64_t k_log_head = 16u << 10;
constexpr size_t k_list_limit = 1000;

void set(std::string& field, std::string value) {
    if (field.empty()) field = std::move(value);
}

void set(std::optional<base::WallTime>& field, const std::string& text) {
    if (!field) field = parse_rfc3339(text);
}

std::vector<std::string> texts(const json& list) {
    std::vector<std::string> out;
    if (!list.is_array()) return out;
    for (const json& value : list) {
        if (out.size() >= k_list_limit) break;
        out.push_back(Document::text_of(value));
    }
    return out;
}

void read_spec(const Document& spec, Origin& out) {
    if (!spec.there()) return;
    auto note = [&](const char* key) { return spec.text("annotations", key); };
    std::string manager = note("io.container.manager");
    if (manager == "libpod") out.engine = OriginEngine::podman;
    if (manager == "cri-o") out.engine = OriginEngine::crio;
    bool containerd = !note("io.kubernetes.cri.container-type").empty() || !note("nerdctl/name").empty();
    if (out.engine == OriginEngine::unknown && containerd) out.engine = OriginEngine::containerd;
    if (out.engine == OriginEngine::crio) {
        set(out.container_name, note("io.kubernetes.container.name"));
        set(out.container_id, note("io.kubernetes.cri-o.ContainerID"));
        set(out.container_image, note("io.kubernetes.cri-o.ImageName"));
        set(out.created, note("io.kubernetes.cri-o.Created"));
        std::string address = note("io.kubernetes.cri-o.IP.0");
        if (!address.empty()) out.addresses.push_back(address);
        if (std::string pod = note("io.kubernetes.pod.name"); !pod.empty())
            set(out.pod, note("io.kubernetes.pod.namespace") + "/" + pod);
    } else {
        set(out.container_name, note("io.kubernetes.cri.container-name"));
        set(out.container_name, note("nerdctl/name"));
        set(out.container_image, note("io.kubernetes.cri.image-name"));
        if (std::string pod = note("io.kubernetes.cri.sandbox-name"); !pod.empty())
            set(out.pod, note("io.kubernetes.cri.sandbox-namespace") + "/" + pod);
    }
    if (out.command.empty()) out.command = texts(spec.at("process", "args"));
    // containerd: "/NAMESPACE/ID", or "SLICE:PREFIX:ID" for systemd.
    std::string path = spec.text("linux", "cgroupsPath");
    size_t separator = path.find_last_of("/:");
    if (out.engine == OriginEngine::containerd && separator != std::string::npos)
        set(out.container_id, path.substr(separator + 1));
    const json& mounts = spec.at("mounts");
    if (!mounts.is_array()) return;
    for (const json& mount : mounts) {
        if (out.mounts.size() >= k_list_limit) break;
        std::string source = Document::text_of(mount, "source");
        if (Document::text_of(mount, "type") == "bind" && source.starts_with('/'))
            out.mounts.push_back({source, Document::text_of(mount, "destination")});
    }
}

void read_config(const Document& config, Origin& out) {
    if (!config.there()) return;
    // CRI-O and containerd write few keys, among them checkpointedTime; podman its whole configuration.
    if (out.engine == OriginEngine::unknown) {
        bool cri = config.at("checkpointedTime").is_string() || config.at("rootfsImageRef").is_string();
        out.engine = cri ? OriginEngine::containerd : OriginEngine::podman;
    }
    set(out.container_id, config.text("id"));
    set(out.container_name, config.text("name"));
    set(out.pod, config.text("pod"));
    set(out.container_image, config.text("rootfsImageName"));
    set(out.container_image, config.text("RawImageName"));
    set(out.container_image, config.text("rootfsImage"));
    set(out.image_id, config.text("rootfsImageID"));
    set(out.image_id, config.text("rootfsImageRef"));
    set(out.runtime, config.text("runtime"));
    if (auto created = parse_rfc3339(config.text("createdTime"))) out.created = created;
    set(out.checkpointed, config.text("checkpointedTime"));
    const json& volumes = config.at("namedVolumes");
    if (!volumes.is_array()) return;
    for (const json& volume : volumes) {
        if (out.mounts.size() >= k_list_limit) break;
        out.mounts.push_back({Document::text_of(volume, "volumeName"), Document::text_of(volume, "dest")});
    }
}

// {"net": {"interfaces": {"eth0": {"subnets": [{"ipnet": "10.88.0.2/16"}]}}}}
void read_network(const Document& networks, Origin& out) {
    if (!networks.at().is_object()) return;
    for (const auto& network : networks.at().items()) {
        const json& interfaces = *Document::step(network.value(), "interfaces");
        if (!interfaces.is_object()) continue;
        for (const auto& interface : interfaces.items()) {
            const json& subnets = *Document::step(interface.value(), "subnets");
            if (!subnets.is_array()) continue;
            for (const json& subnet : subnets) {
                std::string address = Document::text_of(subnet, "ipnet");
                if (!address.empty() && out.addresses.size() < k_list_limit) out.addresses.push_back(address);
            }
        }
    }
}

// CRI's ContainerStatus as containerd writes it.
void read_status(const Document& status, Origin& out) {
    if (!status.there()) return;
    if (out.engine == OriginEngine::unknown) out.engine = OriginEngine::containerd;
    set(out.container_id, status.text("id"));
    set(out.container_name, status.text("metadata", "name"));
    set(out.container_image, status.text("image", "image"));
    set(out.image_id, status.text("image_ref"));
    set(out.image_id, status.text("imageRef"));
}

void read_bind_mounts(const Document& mounts, Origin& out) {
    if (!mounts.at().is_array()) return;
    for (const json& mount : mounts.at()) {
        OriginMount known{Document::text_of(mount, "source"), Document::text_of(mount, "destination")};
        bool there = std::any_of(out.mounts.begin(), out.mounts.end(), [&](const OriginMount& other) {
            return other.destination == known.destination;
        });
        if (!there && out.mounts.size() < k_list_limit) out.mounts.push_back(std::move(known));
    }
}

// Annotations of an OCI index or manifest: by `ctr`, by podman's --create-image and by checkpointctl's build.
void read_annotations(const Document& index, Origin& out) {
    auto note = [&](const std::string& key) { return index.text("annotations", key.c_str()); };
    if (std::string runtime = note("io.containerd.checkpoint.runtime"); !runtime.empty()) {
        out.engine = OriginEngine::containerd;
        set(out.runtime, runtime);
        set(out.container_image, note("org.opencontainers.image.ref.name"));
    }
    // `ctr tasks checkpoint`, nerdctl.
    if (std::string image = note("image.name"); !image.empty()) {
        out.engine = OriginEngine::containerd;
        set(out.container_image, image);
    }
    for (const std::string prefix : {"io.podman.annotations.checkpoint.", "org.criu.checkpoint."}) {
        set(out.container_name, note(prefix + "name"));
        set(out.container_name, note(prefix + "container.name"));
        set(out.container_image, note(prefix + "rawImageName"));
        set(out.container_image, note(prefix + "rootfsImageUserRequested"));
        set(out.container_image, note(prefix + "rootfsImageName"));
        set(out.image_id, note(prefix + "rootfsImageID"));
        set(out.runtime, note(prefix + "runtime.name"));
        set(out.criu, note(prefix + "criu.version"));
    }
    if (std::string version = note("io.podman.annotations.checkpoint.podman.version"); !version.empty()) {
        out.engine = OriginEngine::podman;
        set(out.engine_version, version);
    }
    set(out.container_name, note("io.kubernetes.cri-o.annotations.checkpoint.name"));
}

// "(00.000041) Version: 4.2.1 (gitid 0)"
void read_log(const ImageSource& files, const std::string& name, Origin& out) {
    auto file = files.open(name);
    if (!file || !out.criu.empty()) return;
    std::string text(static_cast<size_t>(std::min(file->size(), k_log_head)), '\0');
    text.resize(file->read_at(0, std::as_writable_bytes(std::span(text.data(), text.size()))));
    constexpr std::string_view k_mark = "Version: ";
    size_t found = text.find(k_mark);
    if (found == std::string::npos) return;
    std::string rest = text.substr(found + k_mark.size());
    out.criu = rest.substr(0, std::min<size_t>(rest.find_first_not_of("0123456789."), 20));
}

// What a file beside the images is; null for those that nobody has asked about.
const char* purpose_of(std::string_view name) {
    static constexpr std::array<std::pair<std::string_view, const char*>, 18> k_known = {{
        {"config.dump", "container configuration"},
        {"spec.dump", "runtime specification"},
        {"network.status", "network addresses"},
        {"status.dump", "container status"},
        {"status", "container status"},
        {"bind.mounts", "bind mounts"},
        {"rootfs-diff.tar", "changed files"},
        {"deleted.files", "deleted files"},
        {"devshm-checkpoint.tar", "/dev/shm"},
        {"ctr.log", "container log"},
        {"container.log", "container log"},
        {"io.kubernetes.cri-o.LogPath", "container log"},
        {"dump.log", "CRIU's log"},
        {"stats-dump", "CRIU's statistics"},
        {"descriptors.json", "standard streams"},
        {"index.json", "OCI index"},
        {"manifest.json", "OCI manifest"},
        {"pod.dump", "pod configuration"},
    }};
    for (const auto& [known, purpose] : k_known) {
        if (name == known) return purpose;
    }
    if (name.starts_with("ctr.") && name.size() > 8) return "containerd's options";
    return name.starts_with("volumes/") && name.ends_with(".tar") ? "volume" : nullptr;
}

void list_parts(const ImageSource& files, const std::string& base, std::string_view images_prefix,
                Origin& out) {
    for (const std::string& name : files.list()) {
        bool image =
            name.size() > images_prefix.size() && name.starts_with(images_prefix) && !images_prefix.empty();
        if (image || !name.starts_with(base) || out.parts.size() >= k_list_limit) continue;
        const char* what = purpose_of(std::string_view(name).substr(base.size()));
        auto file = what != nullptr ? files.open(name) : nullptr;
        if (file) out.parts.push_back({name.substr(base.size()), what, file->size()});
    }
}

}  // namespace

const char* name_of(OriginEngine engine) {
    switch (engine) {
        case OriginEngine::unknown:
            return "unknown";
        case OriginEngine::docker:
            return "Docker";
        case OriginEngine::podman:
            return "podman";
        case OriginEngine::crio:
            return "CRI-O";
        case OriginEngine::containerd:
            return "containerd";
    }
    return "unknown";
}

std::optional<base::WallTime> parse_rfc3339(std::string_view text) {
    // "2026-11-25T00:18:39" with "Z" or "+01:00" behind any fraction.
    auto number = [&](size_t offset, size_t length) -> std::optional<int> {
        if (offset + length > text.size()) return std::nullopt;
        auto value = base::parse_number(text.substr(offset, length));
        return value ? std::optional<int>(static_cast<int>(*value)) : std::nullopt;
    };
    auto is = [&](size_t offset, std::string_view any) {
        return offset < text.size() && any.find(text[offset]) != std::string_view::npos;
    };
    auto year = number(0, 4), month = number(5, 2), day = number(8, 2);
    auto hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
    if (!year || !month || !day || !hour || !minute || !second || !is(4, "-") || !is(7, "-") ||
        !is(10, "Tt ") || !is(13, ":") || !is(16, ":"))
        return std::nullopt;
    namespace chrono = std::chrono;
    chrono::year_month_day date{chrono::year(*year), chrono::month(static_cast<unsigned>(*month)),
                                chrono::day(static_cast<unsigned>(*day))};
    // The nanoseconds of an int64 end in 2262.
    if (!date.ok() || *year < 1970 || *year > 2261 || *hour > 23 || *minute > 59 || *second > 60)
        return std::nullopt;
    size_t place = 19;
    std::string fraction;
    if (is(place, ".")) {
        for (++place; is(place, "0123456789"); ++place) fraction += text[place];
    }
    fraction.resize(9, '0');
    chrono::minutes offset{0};
    if (is(place, "+-")) {
        auto hours = number(place + 1, 2), minutes = number(place + 4, 2);
        if (!hours || !minutes || !is(place + 3, ":") || *hours > 23 || *minutes > 59) return std::nullopt;
        offset = chrono::hours(*hours) + chrono::minutes(*minutes);
        if (text[place] == '-') offset = -offset;
        place += 6;
    } else if (is(place, "Zz")) {
        ++place;
    } else {
        return std::nullopt;
    }
    if (place != text.size()) return std::nullopt;
    auto time =
        chrono::sys_days(date) + chrono::hours(*hour) + chrono::minutes(*minute) + chrono::seconds(*second);
    return base::WallTime(time - offset) + chrono::nanoseconds(*base::parse_number(fraction));
}

Origin read_origin(const ImageSource& files, std::string_view images_prefix, Findings& findings) {
    constexpr std::string_view k_usual = "checkpoint/";
    std::string base(images_prefix);
    if (base.ends_with(k_usual)) base.resize(base.size() - k_usual.size());
    auto document = [&](const char* name) { return Document(files, base + name, findings); };
    Origin out;
    read_annotations(document("index.json"), out);
    read_annotations(document("manifest.json"), out);
    read_spec(document("spec.dump"), out);
    read_config(document("config.dump"), out);
    read_status(document("status.dump"), out);
    read_network(document("network.status"), out);
    read_bind_mounts(document("bind.mounts"), out);
    read_log(files, base + "dump.log", out);
    // Below Kubernetes and nerdctl the id is the only name.
    if (out.engine == OriginEngine::containerd) set(out.container_name, out.container_id);
    list_parts(files, base, images_prefix, out);
    if (!out.checkpointed) {
        auto written = files.modified_ns(std::string(images_prefix) + "inventory.img");
        if (!written) written = files.modified_ns(std::string(images_prefix) + "pstree.img");
        if (written && *written > 0) {
            out.checkpointed = base::WallTime(std::chrono::nanoseconds(*written));
            out.checkpointed_by_file = true;
        }
    }
    return out;
}

void add_docker_origin(const ImageSource& container_directory, Origin& origin, Findings& findings) {
    Document config(container_directory, "config.v2.json", findings);
    if (!config.there()) return;
    origin.engine = OriginEngine::docker;
    set(origin.container_id, config.text("ID"));
    std::string name = config.text("Name");
    set(origin.container_name, name.starts_with('/') ? name.substr(1) : name);
    set(origin.container_image, config.text("Config", "Image"));
    set(origin.image_id, config.text("Image"));
    set(origin.runtime, config.text("HostConfig", "Runtime"));
    set(origin.created, config.text("Created"));
    if (origin.command.empty()) {
        origin.command = texts(config.at("Args"));
        if (std::string path = config.text("Path"); !path.empty())
            origin.command.insert(origin.command.begin(), path);
    }
}

}  // namespace cprewind::images
