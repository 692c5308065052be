#include "cli/report_page.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/html_page.h"
#include "cli/json_text.h"
#include "cli/views.h"
#include "inspect/ps.h"

namespace cprewind::cli {

namespace {

constexpr std::string_view k_style = R"(
.odd td:first-child { color: #c33; white-space: nowrap; }
.map { display: flex; height: 22px; border: 1px solid var(--line); margin: .2rem 0 .1rem; background: #8882; }
.map span { min-width: 1px; display: block; }
.legend span { display: inline-block; margin-right: 1rem; } .legend i { display: inline-block; width: .8em; height: .8em; margin-right: .3em; }
)";

// The address space is mostly holes of terabytes, so the map shows what is mapped, in the order of addresses, each as
// wide as its size.
constexpr std::string_view k_script = R"(
const colours = {'file': '#4a7fb5', 'shared file': '#2f5f8f', 'anonymous': '#c9a227', 'heap': '#d9822b', 'stack': '#b5524a',
  'shared': '#7a5ab5', 'sysv': '#7a5ab5', 'memfd': '#a04a9c', 'vdso': '#777', 'vvar': '#999'};
function colour(kind) { return colours[kind] || '#555'; }
function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < 4) { bytes /= 1024; unit++; }
  return (unit && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)) + ' ' + units[unit];
}
const over = data.overview;
page.append(table(['', ''], [['host name', over.hostname], ['architecture', over.architecture],
  ['processes', over.processes + ' (' + over.zombies + ' zombies), ' + over.threads + ' threads'],
  ['memory', size(over.dumped_bytes) + ' dumped of ' + size(over.mapped_bytes) + ' mapped'],
  ['sockets', over.listening_sockets + ' listening, ' + over.established_sockets + ' established'],
  ['container', data.snapshot ? data.snapshot.container_name + ' of ' + data.snapshot.container_image : '-'],
  ['taken', data.snapshot ? data.snapshot.taken_at : '-']]));

page.append(make('h2', 'What looks odd'));
const odd = table(['kind', 'process', 'what', 'evidence'], data.oddities.map(
  o => [o.kind, o.pid === null ? '' : o.pid + ' ' + o.comm, o.what, o.evidence]));
odd.className = 'odd'; odd.id = 'oddities';
page.append(data.oddities.length ? odd : make('p', 'Nothing.'));
for (const sentence of data.unchecked) page.append(make('p', 'Not checked: ' + sentence, {class: 'dim'}));

page.append(make('h2', 'Processes'));
const tree = table(['pid', 'state', 'uid', 'threads', 'memory', 'command'], data.processes.map(p => {
  const command = make('span', p.command);
  command.style.paddingLeft = Math.min(p.depth, 40) * 1.2 + 'em';
  return [p.pid, p.state, p.uid === null ? '' : p.uid, p.threads, size(p.resident_bytes), command];
}));
tree.id = 'processes';
page.append(tree);

page.append(make('h2', 'Memory, to scale'));
const legend = make('p', '', {class: 'legend'});
for (const kind in colours) {
  const mark = make('i');
  mark.style.background = colours[kind];
  legend.append(add(make('span'), mark, kind));
}
page.append(legend);
for (const process of data.memory) {
  const title = make('div', process.pid + ' ' + process.comm + ': ' + size(process.mapped_bytes) + ' mapped, ' +
    size(process.resident_bytes) + ' in the dump', {class: 'dim'});
  const map = make('div', '', {class: 'map'});
  for (const m of process.mappings) {
    const part = make('span', '', {title: m.start + '-' + m.end + ' ' + m.protection + ' ' + m.kind + ' ' + size(m.bytes) + ' ' + m.path});
    part.style.flex = m.bytes + ' 0 0';
    part.style.background = colour(m.kind);
    map.append(part);
  }
  page.append(title, map);
}

page.append(make('h2', 'Sockets'));
const sockets = table(['protocol', 'state', 'local', 'remote', 'unread', 'held by'], data.sockets.map(
  s => [s.family + ' ' + s.protocol, s.state || '', s.local, s.remote, s.receive_queue_bytes,
        s.holders.map(h => h.pid + '/' + h.fd).join(' ')]));
sockets.id = 'sockets';
page.append(sockets);

page.append(make('h2', 'Findings of the images'));
page.append(data.findings.length ? table(['kind', 'image', 'message'], data.findings.map(f => [f.kind, f.file, f.message]))
                                 : make('p', 'None.'));
)";

// A page of a hundred thousand mappings helps nobody.
constexpr size_t k_mappings_shown = 20'000;

Json view_json(const Subject& subject, void (*show)(Context&, const ViewRequest&, Json&, images::Findings&)) {
    Output unused;
    Context context{{}, true, false, unused};
    Json document;
    images::Findings ignored;  // in the report already
    show(context, {subject, {}}, document, ignored);
    return document;
}

}  // namespace

std::string report_page(const Subject& subject, const Json& report) {
    Json data = report;
    Json processes = view_json(subject, show_ps)["processes"];
    for (Json& process : processes) {
        std::vector<std::string> words = process["arguments"].get<std::vector<std::string>>();
        std::string command = base::join(words, " ");
        process["command"] = command.empty() ? "[" + process["comm"].get<std::string>() + "]" : command;
    }
    data["processes"] = std::move(processes);
    Json memory = view_json(subject, show_mem)["memory"];
    size_t shown = 0;
    for (Json& process : memory) {
        Json mappings = Json::array();
        for (const Json& mapping : process["mappings"]) {
            if (++shown > k_mappings_shown) break;
            uint64_t start = std::stoull(mapping["start"].get<std::string>(), nullptr, 16);
            uint64_t end = std::stoull(mapping["end"].get<std::string>(), nullptr, 16);
            Json item;
            for (const char* key : {"start", "end", "protection", "kind", "path"}) item[key] = mapping[key];
            item["bytes"] = end - start;
            mappings.push_back(std::move(item));
        }
        process["mappings"] = std::move(mappings);
    }
    data["memory"] = std::move(memory);
    data["sockets"] = view_json(subject, show_sockets)["sockets"];
    return html_page(fmt::format("Report on {}", subject.name), data, k_style, k_script);
}

}  // namespace cprewind::cli
