#include "engine/timers.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/fd.h"
#include "images/directory_source.h"
#include "images/image_json.h"

namespace cprewind::engine {
namespace {

using images::Json;
namespace fs = std::filesystem;

// The object behind a key, or null.
Json* member(Json& parent, const char* key) {
    auto found = parent.is_object() ? parent.find(key) : parent.end();
    return found != parent.end() && found->is_object() ? &*found : nullptr;
}

uint64_t number(const Json& timer, const char* key) {
    auto found = timer.find(key);
    return found != timer.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

// A timer has "isec", "vsec" and the fractions named here.
bool is_expired(const Json& timer, const char* period, const char* left) {
    return (number(timer, "isec") != 0 || number(timer, period) != 0) && number(timer, "vsec") == 0 &&
           number(timer, left) == 0;
}

bool arm_timerfd(Json& timer) {
    // A disarmed one keeps its period, too, but has nothing to be read.
    uint64_t ticks = number(timer, "ticks");
    if (ticks == 0 || !is_expired(timer, "insec", "vnsec")) return false;
    timer["ticks"] = ticks - 1;  // the one that follows makes up for it
    timer["vnsec"] = 1U;         // the schema has no sign
    return true;
}

bool arm_alarm(Json& timer) {
    if (!is_expired(timer, "iusec", "vusec")) return false;
    timer["vusec"] = 1U;
    return true;
}

// Calls `change` for each entry of an image, if there is one, and writes it anew when that said so.
template <typename Change>
size_t change_image(const fs::path& directory, const std::string& name, Change change) {
    auto file = images::DirectorySource(directory).open(name);
    if (!file) return 0;
    images::Findings findings;
    Json image = images::decode_image(*file, name, findings);
    size_t changed = 0;
    for (Json& entry : image["entries"]) changed += change(entry) ? 1 : 0;
    if (changed != 0) base::replace_file(directory / name, images::encode_image(image));
    return changed;
}

}  // namespace

size_t arm_expired_timers(const fs::path& directory, const images::Checkpoint& checkpoint) {
    size_t armed = 0;
    for (const images::Process& process : checkpoint.processes) {
        armed += change_image(directory, fmt::format("core-{}.img", process.pid.value), [](Json& entry) {
            Json* task = member(entry, "tc");
            Json* timers = task != nullptr ? member(*task, "timers") : nullptr;
            Json* alarm = timers != nullptr ? member(*timers, "real") : nullptr;
            return alarm != nullptr && arm_alarm(*alarm);
        });
    }
    auto is_timer = [](const auto& entry) { return entry.second.kind == images::FileKind::timerfd; };
    if (std::none_of(checkpoint.files.begin(), checkpoint.files.end(), is_timer)) return armed;
    // CRIU before 3.3 wrote them into an image of their own.
    armed += change_image(directory, "timerfd.img", arm_timerfd);
    armed += change_image(directory, "files.img", [](Json& entry) {
        Json* timer = member(entry, "tfd");
        return timer != nullptr && arm_timerfd(*timer);
    });
    return armed;
}

}  // namespace cprewind::engine
