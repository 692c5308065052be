// `cprewind verify`: is everything still what was stored?
#include <fmt/format.h>

#include <chrono>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/subject.h"

namespace cprewind::cli {

const char* const k_verify_help = R"(Examples:
  cprewind verify                the catalog, the directory, and every stored byte
  cprewind verify web@3          one snapshot, with all that it shares with others
  cprewind verify --structure    quickly: is everything there, and consistent? reads no data
  cprewind verify --salvage      what of each snapshot can still be read

Usage: cprewind verify [--data | --structure | --salvage] [SNAPSHOT]

  --data       reads every stored byte and checks it against its digest: also what is done without an option, so that
               "verify" never means less than it says
  --structure  leaves the data unread: a flipped bit in them goes unseen
  --salvage    reads every file of every snapshot and tells which are lost, be it by a damaged byte or because they have
               pages in a pack that is gone; of the rest of a damaged snapshot, `inspect` and `diff` show what they can,
               and the other snapshots are as good as before

Changes nothing.

Exit status: 0 nothing is wrong, 1 failed, 2 usage, 3 something is.)";

namespace {

// What of a snapshot can be read, file by file.
struct Salvaged {
    std::string name;
    uint64_t files = 0;
    std::vector<std::string> lost;  // files that cannot be read to their end
    std::string why;                // the first damage
};

bool is_readable(const images::ImageFile& file, std::string& why) {
    std::vector<std::byte> piece(size_t{1} << 18);
    try {
        for (uint64_t offset = 0; offset < file.size(); offset += piece.size()) file.read_at(offset, piece);
        return true;
    } catch (const base::Error& error) {
        if (why.empty()) why = error.message();
        return false;
    }
}

Salvaged salvage_one(const store::Repository& repository, const store::SnapshotRecord& record) {
    Salvaged salvaged;
    salvaged.name = record.name();
    try {
        auto files = repository.open(record);
        for (const std::string& name : files->list()) {
            ++salvaged.files;
            if (!is_readable(*files->open(name), salvaged.why)) salvaged.lost.push_back(name);
        }
    } catch (const base::Error& error) {
        salvaged.why = error.message();
    }
    return salvaged;
}

Json salvaged_json(const Salvaged& one) {
    Json item;
    item["snapshot"] = one.name;
    item["whole"] = one.why.empty();
    item["files"] = one.files;
    item["lost_files"] = one.lost;
    item["why"] = one.why.empty() ? Json() : Json(base::escape(one.why));
    return item;
}

void print_salvaged(Output& output, const Salvaged& one) {
    if (one.why.empty()) return;
    bool nothing = one.lost.size() == one.files;
    output.line(fmt::format("{} {}: {}", output.paint(Colour::red, "damaged"), one.name,
                            nothing ? "nothing of it can be read"
                                    : fmt::format("{} of {} can be read", one.files - one.lost.size(),
                                                  base::counted(one.files, "file"))));
    for (const std::string& name : one.lost) output.line("  lost: " + base::escape(name));
    output.line("  " + base::escape(one.why));
}

int salvage(Context& context, const store::Repository& repository,
            const std::optional<store::SnapshotId>& only) {
    Progress progress(!context.json);
    auto records = repository.list();
    uint64_t total = 0, done = 0, whole = 0, asked = 0;
    for (const store::SnapshotRecord& record : records) total += record.raw_bytes;
    Json list = Json::array();
    for (const store::SnapshotRecord& record : records) {
        progress.show("reading", done, total);
        done += record.raw_bytes;
        if (only && *only != record.id) continue;
        ++asked;
        Salvaged one = salvage_one(repository, record);
        whole += one.why.empty() ? 1 : 0;
        progress.clear();
        if (context.json)
            list.push_back(salvaged_json(one));
        else
            print_salvaged(context.output, one);
    }
    if (context.json)
        context.output.json({{"snapshots", list}, {"whole", whole}});
    else
        context.output.line(
            fmt::format("{} of {} can be read whole", whole, base::counted(asked, "snapshot")));
    return whole == asked ? exit_done : exit_findings;
}

}  // namespace

int run_verify(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    auto add = options.add_options();
    for (const char* mode : {"data", "structure", "salvage"}) add(mode, po::bool_switch());
    Parsed parsed = parse_words(arguments, options, 0, 1, "SNAPSHOT");
    auto given = [&](const char* mode) { return parsed.values[mode].as<bool>(); };
    if (given("data") + given("structure") + given("salvage") > 1)
        throw base::Error(base::ErrorKind::usage, "--data, --structure and --salvage exclude each other");
    auto repository = open_for_reading(context);
    std::optional<store::SnapshotId> only;
    if (!parsed.words.empty())
        only = repository->resolve(parsed.words.front(), std::chrono::system_clock::now()).id;
    if (given("salvage")) return salvage(context, *repository, only);
    auto mode = given("structure") ? store::VerifyMode::structure : store::VerifyMode::data;
    Progress progress(!context.json);
    auto report = repository->verify(
        only, [&](uint64_t done, uint64_t total) { progress.show("verifying", done, total); }, mode);
    progress.clear();

    bool bad = false;
    Json faults = Json::array();
    for (const store::Fault& fault : report.faults) {
        bad = bad || !fault.harmless;
        Json item;
        item["snapshot"] = fault.snapshot.empty() ? Json() : Json(fault.snapshot);
        put_bytes(item, "message", fault.message);
        item["harmless"] = fault.harmless;
        faults.push_back(std::move(item));
        if (!context.json) {
            context.output.line(fmt::format("{} {}{}",
                                            context.output.paint(fault.harmless ? Colour::dim : Colour::red,
                                                                 fault.harmless ? "leftover" : "damaged"),
                                            fault.snapshot.empty() ? "" : fault.snapshot + ": ",
                                            base::escape(fault.message)));
        }
    }
    if (context.json) {
        context.output.json({{"snapshots", report.snapshots},
                             {"data_read", mode == store::VerifyMode::data},
                             {"checked_bytes", report.bytes},
                             {"clean", !bad},
                             {"faults", faults}});
    } else {
        bool data = mode == store::VerifyMode::data;
        context.output.line(fmt::format(
            "{} and {} checked: {}", base::counted(report.snapshots, "snapshot"),
            base::human_bytes(report.bytes),
            bad    ? context.output.paint(Colour::red, "something is wrong")
            : data ? context.output.paint(Colour::green, "all as stored")
                   : "the structure is right; the data were not read, cprewind verify --data does"));
    }
    return bad ? exit_findings : exit_done;
}

}  // namespace cprewind::cli
