#include "images/origin.h"

#include <catch2/catch_test_macros.hpp>

#include "images/open_source.h"
#include "tests/images/image_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace base = cprewind::base;

namespace {

Origin origin_of(const MemorySource& source, Findings& findings) {
    return read_origin(source, "checkpoint/", findings);
}

}  // namespace

TEST_CASE("podman's export tells container, image, engine and times") {
    OpenedSource opened = open_source(CPREWIND_FIXTURES "/archives/podman-files.tar.zst");
    const Origin& origin = opened.origin;
    CHECK(origin.engine == OriginEngine::podman);
    CHECK(origin.container_name == "web");
    CHECK(origin.container_id.size() == 64);
    CHECK(origin.container_image == "docker.io/library/busybox:latest");
    CHECK(origin.runtime == "runc");
    REQUIRE(origin.created);
    CHECK(base::rfc3339(*origin.created).starts_with("2026-11-25T02:41:1"));
    CHECK(origin.checkpointed_by_file);
    REQUIRE_FALSE(origin.command.empty());
    CHECK(origin.command[0] == "sh");
    size_t volumes = 0;
    for (const OriginPart& part : origin.parts) volumes += part.what == std::string_view("volume");
    CHECK(volumes == 1);
    CHECK(opened.findings.empty());
}

TEST_CASE("CRI-O and containerd are told apart by what they write into the specification") {
    Findings findings;
    MemorySource crio;
    crio.files["config.dump"] = R"({"id":"c0ffee","name":"k8s_web","rootfsImageName":"img:1","runtime":"crun",
        "createdTime":"2024-01-02T03:04:05.5+01:00","checkpointedTime":"2024-01-02T03:05:05Z"})";
    crio.files["spec.dump"] =
        R"({"annotations":{"io.container.manager":"cri-o","io.kubernetes.container.name":"web",
        "io.kubernetes.pod.name":"p","io.kubernetes.pod.namespace":"n","io.kubernetes.cri-o.IP.0":"10.0.0.9"}})";
    crio.files["bind.mounts"] =
        R"([{"source":"/a","destination":"/b","file_type":"file","permissions":420}])";
    crio.files["dump.log"] = "(00.000012) Version: 4.1.1 (gitid 0)\n";
    Origin origin = origin_of(crio, findings);
    CHECK(origin.engine == OriginEngine::crio);
    CHECK(origin.container_name == "web");
    CHECK(origin.container_id == "c0ffee");
    CHECK(origin.pod == "n/p");
    CHECK(origin.criu == "4.1.1");
    CHECK(origin.addresses == std::vector<std::string>{"10.0.0.9"});
    REQUIRE(origin.mounts.size() == 1);
    CHECK(origin.mounts[0].destination == "/b");
    CHECK(base::rfc3339(*origin.created) == "2024-01-02T02:04:05.500000000Z");
    CHECK(base::rfc3339(*origin.checkpointed) == "2024-01-02T03:05:05.000000000Z");
    CHECK_FALSE(origin.checkpointed_by_file);

    MemorySource containerd;
    containerd.files["config.dump"] = R"({"id":"beef","rootfsImageRef":"sha256:1","checkpointedTime":"x"})";
    containerd.files["spec.dump"] = R"({"annotations":{"io.kubernetes.cri.container-name":"db",
        "io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-name":"s",
        "io.kubernetes.cri.sandbox-namespace":"d"}})";
    origin = origin_of(containerd, findings);
    CHECK(origin.engine == OriginEngine::containerd);
    CHECK(origin.container_name == "db");
    CHECK(origin.pod == "d/s");
    CHECK_FALSE(origin.checkpointed);
    CHECK(findings.empty());
}

TEST_CASE("annotations of an OCI index name image and runtime") {
    Findings findings;
    MemorySource source;
    source.files["index.json"] =
        R"({"annotations":{"io.containerd.checkpoint.runtime":"io.containerd.runc.v2",
        "org.opencontainers.image.ref.name":"docker.io/library/redis:7"}})";
    Origin origin = origin_of(source, findings);
    CHECK(origin.engine == OriginEngine::containerd);
    CHECK(origin.container_image == "docker.io/library/redis:7");
    CHECK(origin.runtime == "io.containerd.runc.v2");
}

TEST_CASE("a checkpoint that lies where Docker put it is told of by Docker's own file") {
    Findings findings;
    MemorySource container;
    container.files["config.v2.json"] =
        R"({"ID":"abc","Name":"/web","Config":{"Image":"redis:7"},"Path":"redis","Args":["--port","1"]})";
    Origin origin;
    add_docker_origin(container, origin, findings);
    CHECK(origin.engine == OriginEngine::docker);
    CHECK(origin.container_name == "web");
    CHECK(origin.container_image == "redis:7");
    CHECK(origin.command == std::vector<std::string>{"redis", "--port", "1"});
}

TEST_CASE(
    "JSON that is damaged, of another shape, too deep or too long is a finding or nothing, never more") {
    std::string deep(1u << 20, '[');
    for (const std::string& text :
         {std::string("{"), std::string("\xff\xfe"), deep, std::string((2u << 20) + 1, ' ')}) {
        Findings findings;
        MemorySource source;
        source.files["config.dump"] = text;
        origin_of(source, findings);
        REQUIRE(findings.size() == 1);
        CHECK(findings[0].file == "config.dump");
    }
    for (const char* text :
         {"[]", "null", "7", R"({"id":7,"name":[],"namedVolumes":[[],7],"createdTime":{}})",
          R"({"annotations":[],"mounts":[1,{"type":[]}],"process":7})"}) {
        Findings findings;
        MemorySource source;
        for (const char* name :
             {"config.dump", "spec.dump", "network.status", "bind.mounts", "status.dump", "index.json"})
            source.files[name] = text;
        Origin origin = origin_of(source, findings);
        CHECK(origin.container_name.empty());
        CHECK(findings.empty());
    }
}

TEST_CASE("times that are none, before 1970 or beyond what nanoseconds hold are nothing") {
    CHECK(base::rfc3339(*parse_rfc3339("2026-11-25T00:18:39.123456789Z")) ==
          "2026-11-25T00:18:39.123456789Z");
    CHECK(base::rfc3339(*parse_rfc3339("2026-11-25T00:18:39-05:30")) == "2026-11-25T05:48:39.000000000Z");
    for (const char* text :
         {"", "2026", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "2026-02-30T00:00:00Z",
          "2026-11-25T24:00:00Z", "2026-11-25T00:18:39", "2026-11-25T00:18:39Zx"}) {
        INFO(text);
        CHECK_FALSE(parse_rfc3339(text));
    }
}
