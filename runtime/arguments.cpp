#include "runtime/arguments.h"

#include <string_view>

namespace cprewind::runtime {
namespace {

enum class Takes { nothing, value };

struct Known {
    std::string_view name;
    Takes takes;
};

constexpr Known k_global[] = {
    {"debug", Takes::nothing}, {"systemd-cgroup", Takes::nothing}, {"root", Takes::value},
    {"log", Takes::value},     {"log-format", Takes::value},       {"rootless", Takes::value},
    {"criu", Takes::value},
};
// Not here on purpose: pidfd-socket, for which `restore` has no counterpart.
constexpr Known k_create[] = {
    {"bundle", Takes::value},       {"b", Takes::value},          {"console-socket", Takes::value},
    {"pid-file", Takes::value},     {"no-pivot", Takes::nothing}, {"no-new-keyring", Takes::nothing},
    {"preserve-fds", Takes::value},
};
constexpr Known k_delete[] = {{"force", Takes::nothing}, {"f", Takes::nothing}};

struct Option {
    std::string name;
    std::string value;
};

class Words {
 public:
    explicit Words(std::span<const std::string> words) : words_(words) {}

    bool at_end() const { return next_ == words_.size(); }
    bool at_option() const { return !at_end() && words_[next_].starts_with('-'); }
    size_t position() const { return next_; }
    std::string take() { return words_[next_++]; }

    // The option at the cursor when it is one of `known` and whole.
    std::optional<Option> take_option(std::span<const Known> known) {
        std::string_view word = words_[next_];
        word.remove_prefix(word.starts_with("--") ? 2 : 1);
        size_t equals = word.find('=');
        std::string_view name = word.substr(0, equals);
        for (const Known& k : known) {
            if (k.name != name) continue;
            ++next_;
            if (k.takes == Takes::nothing) {
                // "--debug=false" and the like: legal, never seen, not worth being right about.
                if (equals != word.npos) return std::nullopt;
                return Option{std::string(name), ""};
            }
            if (equals != word.npos) return Option{std::string(name), std::string(word.substr(equals + 1))};
            if (at_end()) return std::nullopt;
            return Option{std::string(name), take()};
        }
        return std::nullopt;
    }

 private:
    std::span<const std::string> words_;
    size_t next_ = 0;
};

bool obey_create_option(const Option& option, CommandLine& line) {
    if (option.name == "bundle" || option.name == "b") line.bundle = option.value;
    if (option.name == "pid-file") line.pid_file = option.value;
    if (option.name == "console-socket") line.console_socket = option.value;
    if (option.name == "no-pivot") line.no_pivot = true;
    // no-new-keyring: CRIU makes no keyring anyway. File descriptors cannot be handed to a process that has
    // its own.
    return option.name != "preserve-fds" || option.value == "0";
}

}  // namespace

std::optional<CommandLine> parse_command_line(std::span<const std::string> all) {
    CommandLine line;
    Words words(all);
    while (words.at_option()) {
        auto option = words.take_option(k_global);
        if (!option) return std::nullopt;
        if (option->name == "root") line.root = option->value;
        if (option->name == "log") line.log = option->value;
        if (option->name == "log-format") line.log_format = option->value;
    }
    line.global_options.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(words.position()));
    if (words.at_end()) return std::nullopt;

    line.verb = words.take();
    std::span<const Known> known;
    if (line.verb == "create") {
        known = k_create;
    } else if (line.verb == "delete") {
        known = k_delete;
    } else if (line.verb != "start") {
        return std::nullopt;
    }
    while (words.at_option()) {
        auto option = words.take_option(known);
        if (!option || !obey_create_option(*option, line)) return std::nullopt;
    }
    if (words.at_end()) return std::nullopt;
    line.container_id = words.take();
    if (!words.at_end()) return std::nullopt;
    return line;
}

std::vector<std::string> restore_words(const CommandLine& create, const Plan& plan,
                                       const std::string& work_path) {
    std::vector<std::string> words = create.global_options;
    auto add = [&words](std::string_view option, const std::string& value) {
        if (value.empty()) return;
        words.emplace_back(option);
        words.push_back(value);
    };
    words.insert(words.end(), {"restore", "--detach"});
    add("--image-path", plan.images);
    add("--work-path", work_path);
    add("--bundle", create.bundle);
    add("--pid-file", create.pid_file);
    add("--console-socket", create.console_socket);
    if (create.no_pivot) words.emplace_back("--no-pivot");
    words.insert(words.end(), plan.options.begin(), plan.options.end());
    words.push_back(create.container_id);
    return words;
}

std::vector<std::string> delete_words(const CommandLine& create) {
    std::vector<std::string> words = create.global_options;
    words.insert(words.end(), {"delete", "--force", create.container_id});
    return words;
}

}  // namespace cprewind::runtime
