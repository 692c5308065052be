// The view of memory: mappings of every process and where their pages are.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/view_tools.h"
#include "inspect/mem.h"

namespace cprewind::cli {

using base::escape;

namespace {

Json counts_json(const inspect::PageCounts& counts) {
    return {{"present", counts.present},
            {"zero", counts.zero},
            {"file", counts.file},
            {"kernel", counts.kernel},
            {"absent", counts.absent}};
}

void put_account(Json& object, const inspect::MemoryAccount& account) {
    object["private_bytes"] = account.private_bytes;
    object["shared_bytes"] = account.shared_bytes;
    object["resident_bytes"] = account.resident_bytes();
    object["proportional_bytes"] = account.proportional_bytes;
}

void print_process_memory(Output& output, const inspect::ProcessMemory& process) {
    output.line(output.paint(
        Colour::bold,
        fmt::format("{} {}: {} mapped, {} in the dump ({} private, {} shared; its part of all {})",
                    process.pid.value, escape(process.comm), base::human_bytes(process.mapped_bytes),
                    base::human_bytes(process.dumped_bytes), base::human_bytes(process.account.private_bytes),
                    base::human_bytes(process.account.shared_bytes),
                    base::human_bytes(process.account.proportional_bytes))));
    Table table({"range", "prot", "kind", "size", "private", "shared", "zero", "in file", "absent", "path"});
    table.right({3, 4, 5, 6, 7, 8});
    for (const inspect::MemRow& row : process.rows) {
        table.add({fmt::format("{:012x}-{:012x}", row.start, row.end), row.protection,
                   images::name_of(row.kind), base::human_bytes(row.end - row.start),
                   base::human_bytes(row.account.private_bytes), base::human_bytes(row.account.shared_bytes),
                   std::to_string(row.pages.zero), std::to_string(row.pages.file),
                   std::to_string(row.pages.absent), escape(row.path)});
    }
    output.table(table);
}

}  // namespace

void show_mem(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::MemView view = inspect::list_memory(request.subject.moment());
    append(findings, view.findings);
    Json list = Json::array();
    for (const inspect::ProcessMemory& process : view.processes) {
        if (!wanted(request, process.pid)) continue;
        if (!context.json) {
            print_process_memory(context.output, process);
            continue;
        }
        Json rows = Json::array();
        for (const inspect::MemRow& row : process.rows) {
            Json item;
            item["start"] = hex_number(row.start);
            item["end"] = hex_number(row.end);
            item["protection"] = row.protection;
            item["kind"] = images::name_of(row.kind);
            put_bytes(item, "path", row.path);
            item["offset"] = row.offset;
            item["pages"] = counts_json(row.pages);
            item["dumped_bytes"] = row.dumped_bytes;
            put_account(item, row.account);
            item["advice"] = row.advice;
            rows.push_back(std::move(item));
        }
        Json item;
        item["pid"] = process.pid.value;
        put_bytes(item, "comm", process.comm);
        item["page_size"] = process.page_size;
        item["mapped_bytes"] = process.mapped_bytes;
        item["dumped_bytes"] = process.dumped_bytes;
        put_account(item, process.account);
        item["pages"] = counts_json(process.pages);
        item["mappings"] = std::move(rows);
        list.push_back(std::move(item));
    }
    if (context.json) document["memory"] = std::move(list);
}

}  // namespace cprewind::cli
