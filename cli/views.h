// The views of `inspect`: each takes a subject and shows one side of it, as text or as JSON, from the same
// structs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/subject.h"

namespace cprewind::cli {

struct ViewRequest {
    const Subject& subject;
    std::optional<uint32_t> pid;  // only this process
};

struct View {
    const char* name;
    const char* summary;
    // Prints, or fills `document` when context.json. Findings of its own are appended to `findings`.
    void (*show)(Context& context, const ViewRequest& request, Json& document, images::Findings& findings);
};

const std::vector<View>& views();

void show_overview(Context&, const ViewRequest&, Json&, images::Findings&);
void show_ps(Context&, const ViewRequest&, Json&, images::Findings&);
void show_threads(Context&, const ViewRequest&, Json&, images::Findings&);
void show_fds(Context&, const ViewRequest&, Json&, images::Findings&);
void show_sockets(Context&, const ViewRequest&, Json&, images::Findings&);
void show_mem(Context&, const ViewRequest&, Json&, images::Findings&);
void show_env(Context&, const ViewRequest&, Json&, images::Findings&);
void show_limits(Context&, const ViewRequest&, Json&, images::Findings&);
void show_creds(Context&, const ViewRequest&, Json&, images::Findings&);
void show_signals(Context&, const ViewRequest&, Json&, images::Findings&);
void show_timers(Context&, const ViewRequest&, Json&, images::Findings&);
void show_mounts(Context&, const ViewRequest&, Json&, images::Findings&);
void show_namespaces(Context&, const ViewRequest&, Json&, images::Findings&);
void show_cgroups(Context&, const ViewRequest&, Json&, images::Findings&);
void show_locks(Context&, const ViewRequest&, Json&, images::Findings&);
void show_ipc(Context&, const ViewRequest&, Json&, images::Findings&);
void show_net(Context&, const ViewRequest&, Json&, images::Findings&);
void show_stats(Context&, const ViewRequest&, Json&, images::Findings&);
void show_files(Context&, const ViewRequest&, Json&, images::Findings&);

}  // namespace cprewind::cli
