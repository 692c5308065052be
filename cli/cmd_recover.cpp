// `cprewind recover`: puts right what a snap or rewind left that was killed together with its guard.
#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/recovery.h"
#include "engine/container.h"
#include "engine/journal.h"
#include "engine/recover.h"
#include "engine/staging.h"
#include "store/layout.h"

namespace cprewind::cli {

const char* const k_recover_help = R"(Examples:
  cprewind recover                 all containers that something was left of
  cprewind recover web
  cprewind recover --forget web    keep it as it stands

Usage: cprewind recover [CONTAINER…] [--forget]

A snap or rewind that dies, even by kill -9, puts its container right by a guard of its own. When the guard dies, too, or
Docker or the host does at the same time, a journal remains. recover reads it: a container that was left paused runs on;
one that a rewind was in the middle of goes back to the moment before (the safety snapshot), or stays at the target if
it had got there. snap and rewind do the same before they begin. What such a death left in a staging directory is removed.

  --forget   remove the journal and leave the container as it is

Exit status: 0 done, or nothing was left; 1 a container could not be brought back (the message says how it stands and what
is left to do); 2 usage.)";

namespace {

Json to_json(const engine::Recovered& recovered) {
    Json item;
    item["container_id"] = recovered.container_id;
    item["container_name"] = recovered.container_name;
    item["what"] = engine::name_of(recovered.what);
    item["sentence"] = recovered.sentence;
    return item;
}

}  // namespace

int run_recover(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("forget", "");
    Parsed parsed = parse_words(arguments, options, 0, 1000, "CONTAINER");
    bool forget = parsed.has("forget");
    if (forget && parsed.words.empty()) {
        throw base::Error(base::ErrorKind::usage, "--forget needs the container's name",
                          "cprewind recover --forget web");
    }
    engine::DockerClient docker;
    std::vector<std::string> ids;
    for (const std::string& name : parsed.words) ids.push_back(engine::find_container(docker, name).id);
    if (parsed.words.empty()) ids = engine::containers_with_journals(context.repository);

    Progress progress(!context.json);
    Json list = Json::array();
    std::optional<base::Error> failed;
    for (const std::string& id : ids) {
        try {
            engine::ContainerLock lock(id, [&] { progress.show("waiting for another cprewind", 0, 0); });
            if (forget) {
                engine::forget_journal(lock, id, context.repository);
                if (!context.json) context.output.line(fmt::format("{}: forgotten", id.substr(0, 12)));
                continue;
            }
            auto recovered =
                engine::recover_container(docker, lock, id, context.repository, progress.report());
            progress.clear();
            if (!recovered) continue;
            if (!context.json) context.output.line(base::escape(recovered->sentence));
            list.push_back(to_json(*recovered));
        } catch (const base::Error& error) {
            // One that cannot be brought back does not keep the others from it.
            progress.clear();
            if (failed) complain(failed->message());
            failed = error;
        }
    }
    // After the journals, which may have needed them.
    engine::remove_stale_staging_everywhere(store::Layout{context.repository}.staging());
    if (failed) {
        if (context.json && !list.empty()) context.output.json({{"recovered", list}});
        context.output.flush();
        throw *failed;
    }
    if (context.json) {
        context.output.json({{"recovered", list}});
    } else if (list.empty() && !forget) {
        context.output.line("nothing was left unfinished");
    }
    return exit_done;
}

}  // namespace cprewind::cli
