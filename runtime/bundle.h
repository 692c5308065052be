// What a restore needs changed in the container's OCI bundle (config.json), which containerd made for a fresh
// start.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace cprewind::runtime {

// The word after argv[0] under which runc calls us back (raise_loopback).
inline constexpr const char* k_hook_verb = "hook-lo";

// Adds to <bundle>/config.json a createRuntime hook that runs `program hook-lo`, and the annotation by which
// runc hands a configuration file to CRIU. All else stays as it is; the file is replaced as a whole. Throws
// base::Error.
//
// Why the hook: runc has CRIU restore sockets in a new network namespace in which nothing is up yet, and a
// TCP connection over loopback cannot be put back ("Can't connect inet socket back: Network is unreachable").
// runc runs createRuntime hooks at CRIU's setup-namespaces stage, after the namespace is made and before the
// sockets are.
void prepare_bundle(const std::filesystem::path& bundle, const std::filesystem::path& program,
                    const std::optional<std::string>& criu_config);

// The hook: reads the OCI state from standard input and raises `lo` in the network namespace of its "pid".
// Throws base::Error.
void raise_loopback();

}  // namespace cprewind::runtime
