// Editing Docker's daemon.json: our runtime in, our runtime out, everything else as it stands.
#pragma once

#include <filesystem>
#include <string>

namespace cprewind::engine {

inline constexpr const char* k_runtime_name = "cprewind";

struct ConfigChange {
    std::string before;  // the file's text, empty when absent
    std::string after;   // what it would be; equal to `before` when nothing is to do
    // What dockerd must read once before `after`: on SIGHUP it keeps what a key that is gone last said, so an
    // emptied key must be shown to it as empty first. The same as `after` when nothing is taken away.
    std::string reload;
    bool changes() const { return before != after; }
};

// The text of daemon.json with the runtime registered under k_runtime_name at `runtime_path`, and as the
// default runtime when asked. Key order and unknown keys are kept. Errors: failed, when `text` is not a JSON
// object (with line and column), or the runtime's name or the default is taken by something else's choice.
ConfigChange register_runtime(const std::string& text, const std::string& runtime_path, bool make_default,
                              const std::string& file_name);
// The opposite: what register_runtime added goes, nothing else.
ConfigChange unregister_runtime(const std::string& text, const std::string& file_name);

}  // namespace cprewind::engine
