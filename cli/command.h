// What every command gets and gives.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/output.h"

namespace cprewind::cli {

// docs/cli.md describes these for scripts.
enum ExitStatus : int {
    exit_done = 0,
    exit_failed = 1,
    exit_usage = 2,
    exit_findings = 3,   // done, and the evidence or the repository has something to say
    exit_different = 1,  // diff: as diff(1) has it,
    exit_diff_trouble = 2,
    exit_reader_gone = 141,  // what a shell shows for death by SIGPIPE
};

// The options that all commands have.
struct Context {
    std::filesystem::path repository;
    bool json = false;
    bool verbose = false;
    Output& output;
};

struct Command {
    const char* name;
    const char* summary;  // one line for `cprewind help`
    const char* help;     // examples first, exit status last
    int (*run)(Context& context, const std::vector<std::string>& arguments);
};

// All commands, in the order in which help lists them. One explicit table: what is not in it does not exist.
const std::vector<Command>& commands();

int run_snap(Context&, const std::vector<std::string>&);
int run_log(Context&, const std::vector<std::string>&);
int run_artifacts(Context&, const std::vector<std::string>&);
int run_report(Context&, const std::vector<std::string>&);
int run_inspect(Context&, const std::vector<std::string>&);
int run_mem(Context&, const std::vector<std::string>&);
int run_diff(Context&, const std::vector<std::string>&);
int run_track(Context&, const std::vector<std::string>&);
int run_bisect(Context&, const std::vector<std::string>&);
int run_decode(Context&, const std::vector<std::string>&);
int run_encode(Context&, const std::vector<std::string>&);
int run_import(Context&, const std::vector<std::string>&);
int run_rewind(Context&, const std::vector<std::string>&);
int run_tag(Context&, const std::vector<std::string>&);
int run_rm(Context&, const std::vector<std::string>&);
int run_verify(Context&, const std::vector<std::string>&);
int run_rebuild(Context&, const std::vector<std::string>&);
int run_sql(Context&, const std::vector<std::string>&);
int run_doctor(Context&, const std::vector<std::string>&);
int run_setup(Context&, const std::vector<std::string>&);

extern const char* const k_snap_help;
extern const char* const k_log_help;
extern const char* const k_artifacts_help;
extern const char* const k_report_help;
extern const char* const k_inspect_help;
extern const char* const k_mem_help;
extern const char* const k_diff_help;
extern const char* const k_track_help;
extern const char* const k_bisect_help;
extern const char* const k_decode_help;
extern const char* const k_encode_help;
extern const char* const k_import_help;
extern const char* const k_rewind_help;
extern const char* const k_tag_help;
extern const char* const k_rm_help;
extern const char* const k_verify_help;
extern const char* const k_rebuild_help;
extern const char* const k_sql_help;
extern const char* const k_doctor_help;
extern const char* const k_setup_help;

}  // namespace cprewind::cli
