// `cprewind rm`: remove snapshots.
#include <fmt/format.h>

#include <chrono>

#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/record_view.h"
#include "store/repository.h"

namespace cprewind::cli {

const char* const k_rm_help = R"(Examples:
  cprewind rm web@1
  cprewind rm web@1 web@2 old-tag

Usage: cprewind rm SNAPSHOT…

All names are looked up before the first is removed: a wrong one removes nothing. Numbers are not used again.
What other snapshots need of those that go is kept, so little or nothing may be freed until they go, too.

Exit status: 0 done, 1 failed, 2 usage.)";

int run_rm(Context& context, const std::vector<std::string>& arguments) {
    Parsed parsed = parse_words(arguments, po::options_description(), 1, 100000, "SNAPSHOT");
    auto repository = store::open_repository(context.repository, store::OpenMode::write);
    auto now = std::chrono::system_clock::now();
    std::vector<store::SnapshotRecord> records;
    for (const std::string& word : parsed.words) {
        auto record = repository->resolve(word, now);
        bool twice = false;
        for (const auto& other : records) twice = twice || other.id == record.id;
        if (!twice) records.push_back(std::move(record));
    }
    std::vector<store::SnapshotId> going;
    for (const store::SnapshotRecord& record : records) going.push_back(record.id);
    uint64_t freed = repository->remove(going);
    Json list = Json::array();
    for (const store::SnapshotRecord& record : records) {
        list.push_back(record_json(record));
        if (!context.json) context.output.line(fmt::format("removed {}", record.name()));
    }
    if (context.json) {
        context.output.json({{"removed", list}, {"freed_bytes", freed}});
    } else {
        context.output.line(fmt::format("{} freed", base::human_bytes(freed)));
    }
    return exit_done;
}

}  // namespace cprewind::cli
