#include "cli/command.h"
#include "cli/keeping.h"
#include "cli/moving.h"
#include "cli/post_mortem.h"
#include "cli/recovery.h"

namespace cprewind::cli {

const std::vector<Command>& commands() {
    static const std::vector<Command> k_commands = {
        {"snap", "take a snapshot of a running container", k_snap_help, run_snap},
        {"log", "list the snapshots of a container", k_log_help, run_log},
        {"inspect", "show what was in a snapshot or a checkpoint directory", k_inspect_help, run_inspect},
        {"mem", "search, show and dump memory; strings", k_mem_help, run_mem},
        {"artifacts", "list and extract what only the checkpoint has any more", k_artifacts_help,
         run_artifacts},
        {"report", "the overview and what looks odd, also as a page", k_report_help, run_report},
        {"core", "an ELF core of a process, for gdb and lldb", k_core_help, run_core},
        {"gdb", "gdb on a process of a snapshot, all prepared", k_gdb_help, run_gdb},
        {"diff", "show what changed between two of them", k_diff_help, run_diff},
        {"track", "follow one thing through the snapshots of a container", k_track_help, run_track},
        {"bisect", "find the first snapshot for which a command fails", k_bisect_help, run_bisect},
        {"decode", "print one image as JSON", k_decode_help, run_decode},
        {"encode", "make an image from such JSON", k_encode_help, run_encode},
        {"rewind", "bring a container back to a snapshot, in place", k_rewind_help, run_rewind},
        {"fork", "a container from a snapshot, beside the original", k_fork_help, run_fork},
        {"suspend", "snap containers and stop them, before the host restarts", k_suspend_help, run_suspend},
        {"resume", "bring them back where they stood", k_resume_help, run_resume},
        {"recover", "put right what an interrupted snap or rewind left", k_recover_help, run_recover},
        {"tag", "give a snapshot a name", k_tag_help, run_tag},
        {"rm", "remove snapshots", k_rm_help, run_rm},
        {"prune", "keep some snapshots by rule, remove the rest", k_prune_help, run_prune},
        {"export", "write a snapshot to one file, for another host", k_export_help, run_export},
        {"import", "take a snapshot from such a file, or another tool's checkpoint", k_import_help,
         run_import},
        {"verify", "check every stored byte", k_verify_help, run_verify},
        {"rebuild", "make the catalog again from the packs", k_rebuild_help, run_rebuild},
        {"sql", "ask the catalog in SQL, across all snapshots", k_sql_help, run_sql},
        {"doctor", "what this host can do, why not, and what to do", k_doctor_help, run_doctor},
        {"explain", "why CRIU gave up, from its log", k_explain_help, run_explain},
        {"setup", "register the runtime that makes rewind work with Docker", k_setup_help, run_setup},
    };
    return k_commands;
}

}  // namespace cprewind::cli
