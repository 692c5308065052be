#include "cli/diff_html.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/html_page.h"
#include "cli/json_text.h"
#include "cli/progress.h"
#include "inspect/ps.h"

namespace cprewind::cli {

namespace {

using inspect::PageFate;

// Ranges of pages of one mapping, as the map draws them: [first page, pages, fate].
struct Band {
    uint64_t first = 0;
    uint64_t pages = 0;
    PageFate fate = PageFate::changed;
};

// Every mapping of one process on one page: where it lies on each side, and which of its pages differ.
struct Drawing {
    images::DumpPid pid;
    const images::Mapping* mapping = nullptr;
    std::optional<uint64_t> object;
    uint64_t page = 4096;
    std::vector<Band> bands;
};

// Gathers what is drawn from the pages that differ, which come in order of their address.
class Canvas {
 public:
    void add(const inspect::PagePair& page) {
        if (drawings_.empty() || drawings_.back().pid != page.pid ||
            drawings_.back().mapping != page.mapping || drawings_.back().object != page.object) {
            drawings_.push_back({page.pid, page.mapping, page.object, page.bytes, {}});
        }
        Drawing& drawing = drawings_.back();
        uint64_t base = page.mapping ? page.mapping->start : 0;
        uint64_t index = (page.address - base) / page.bytes;
        bool joins = !drawing.bands.empty() && drawing.bands.back().fate == page.fate &&
                     drawing.bands.back().first + drawing.bands.back().pages == index;
        if (joins) {
            ++drawing.bands.back().pages;
        } else {
            drawing.bands.push_back({index, 1, page.fate});
        }
    }

    Json json() const {
        Json list = Json::array();
        for (const Drawing& drawing : drawings_) {
            Json item;
            item["pid"] = drawing.pid.value;
            item["object"] = drawing.object ? Json(*drawing.object) : Json();
            uint64_t pages = drawing.mapping ? drawing.mapping->size() / drawing.page
                                             : drawing.bands.back().first + drawing.bands.back().pages;
            item["start"] = hex_number(drawing.mapping ? drawing.mapping->start : 0);
            item["protection"] = drawing.mapping ? images::protection_text(*drawing.mapping) : "";
            item["kind"] = drawing.mapping ? images::name_of(drawing.mapping->kind) : "shared memory";
            put_bytes(item, "path", drawing.mapping ? drawing.mapping->path : "");
            item["pages"] = pages;
            item["page_size"] = drawing.page;
            Json bands = Json::array();
            for (const Band& band : drawing.bands) {
                bands.push_back({band.first, band.pages, static_cast<int>(band.fate)});
            }
            item["bands"] = std::move(bands);
            list.push_back(std::move(item));
        }
        return list;
    }

 private:
    std::vector<Drawing> drawings_;
};

// Colours are for terminals.
std::string plain(std::string_view line) {
    std::string out;
    for (size_t i = 0; i < line.size(); ++i) {
        if (line[i] == '\x1b') {
            i = std::min(line.find('m', i), line.size() - 1);
        } else {
            out += line[i];
        }
    }
    return out;
}

Json process_tree(const Subject& subject, images::Findings& findings) {
    Json list = Json::array();
    inspect::PsView view = inspect::list_processes(subject.moment());
    for (images::Finding& finding : view.findings) images::add_finding(findings, std::move(finding));
    for (const inspect::PsRow& row : view.rows) {
        Json item;
        item["depth"] = row.depth;
        item["pid"] = row.pid.value;
        std::string words = row.arguments.empty() ? row.comm : base::join(row.arguments, " ");
        put_bytes(item, "command", words);
        list.push_back(std::move(item));
    }
    return list;
}

constexpr std::string_view k_style = R"(
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1.5rem; }
canvas { max-width: 100%; image-rendering: pixelated; border: 1px solid var(--line); display: block; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; vertical-align: -1px; }
.minus { color: #c33; } .plus { color: #283; }
)";

// Pages are drawn left to right, top to bottom, one pixel each or, in large mappings, one for several: then the pixel
// shows a difference if any of its pages has one. The left map shows what was lost or is about to change, the right
// one what came or has changed.
constexpr std::string_view k_script = R"(
const fates = ['changed', 'new', 'gone', 'zeroed'];
const colours = [[232, 138, 26], [46, 160, 67], [207, 34, 46], [64, 120, 220]];
const calm = [140, 140, 140, 70];
const legend = make('p');
fates.forEach((fate, i) => add(legend, make('span', '', {class: 'key', style: `background: rgb(${colours[i]})`}), fate));
add(legend, make('span', '', {class: 'key', style: 'background: rgb(140 140 140 / .35)'}), 'equal');

function draw(map, side) {
  const most = 512 * 512, per = Math.max(1, Math.ceil(map.pages / most));
  const cells = Math.ceil(map.pages / per), width = Math.min(cells, cells > 16384 ? 512 : 128);
  const canvas = make('canvas', '', {title: `${map.path || map.kind} from ${map.start}, ${map.pages} pages`});
  canvas.width = width; canvas.height = Math.ceil(cells / width);
  const context = canvas.getContext('2d'), image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < cells; ++i) image.data.set(calm, 4 * i);
  for (const [first, count, fate] of map.bands) {
    if (side === 0 ? fate === 1 : fate === 2) continue;
    for (let i = Math.floor(first / per); i <= Math.floor((first + count - 1) / per) && i < cells; ++i) {
      image.data.set([...colours[fate], 255], 4 * i);
    }
  }
  context.putImageData(image, 0, 0);
  canvas.style.width = width * (cells > 16384 ? 1 : width < 32 ? 16 : 4) + 'px';
  return canvas;
}

add(page, make('h2', 'Summary'), table(['', ''], data.summary));
add(page, make('h2', 'Processes'));
const trees = make('div', null, {class: 'pair'});
[[data.a, data.tree_a, data.tree_b], [data.b, data.tree_b, data.tree_a]].forEach(([name, tree, other], side) => {
  const block = make('div'), list = make('pre');
  for (const row of tree) {
    const known = other.some(x => x.pid === row.pid && x.command === row.command);
    list.append(make('span', '  '.repeat(row.depth) + row.pid + ' ' + row.command + '\n',
                     {class: known ? '' : side ? 'plus' : 'minus'}));
  }
  trees.append(add(block, make('b', name), list));
});
page.append(trees);

add(page, make('h2', 'Memory'), legend);
if (data.maps.length === 0) page.append(make('p', 'No page differs.'));
for (const map of data.maps) {
  const count = [0, 0, 0, 0];
  for (const [, pages, fate] of map.bands) count[fate] += pages;
  const words = fates.map((fate, i) => count[i] ? `${count[i]} ${fate}` : '').filter(Boolean).join(', ');
  const owner = map.object === null ? `process ${map.pid}` : `shared memory ${map.object}`;
  page.append(make('p', `${owner}  ${map.start}  ${map.protection}  ${map.kind} ${map.path}: ${words} of ${map.pages} pages`));
  page.append(add(make('div', null, {class: 'pair'}), draw(map, 0), draw(map, 1)));
}

for (const [title, lines] of data.parts) {
  if (!lines.length) continue;
  const list = make('pre');
  for (const line of lines) {
    const mark = line.trimStart()[0];
    list.append(make('span', line + '\n', {class: mark === '-' ? 'minus' : mark === '+' ? 'plus' : ''}));
  }
  add(page, make('h2', title), list);
}
if (data.findings.length) {
  add(page, make('h2', 'Findings'), table(['kind', 'file', 'what'], data.findings.map(f => [f.kind, f.file, f.message])));
}
)";

}  // namespace

bool write_diff_html(Context& context, const DiffRequest& request, const std::filesystem::path& path,
                     images::Findings& findings) {
    Json data;
    data["a"] = request.a.name;
    data["b"] = request.b.name;
    data["tree_a"] = process_tree(request.a, findings);
    data["tree_b"] = process_tree(request.b, findings);
    bool same = true;
    Json summary = Json::array(), parts = Json::array();
    DiffRequest whole = request;
    whole.whole = true;
    auto take = [&](const char* title, Section (*compare)(Context&, const DiffRequest&, images::Findings&)) {
        Section section = compare(context, whole, findings);
        same = same && section.same;
        summary.push_back({title, section.headline});
        Json lines = Json::array();
        for (const std::string& line : section.details.empty() ? section.lines : section.details) {
            lines.push_back(plain(line));
        }
        parts.push_back({title, std::move(lines)});
    };
    take("Processes in detail", section_ps);
    take("Open files", section_fds);
    take("Threads", section_threads);
    take("System", section_system);
    take("Memory in numbers", section_memory);
    take("Files", section_files);
    data["summary"] = std::move(summary);
    data["parts"] = std::move(parts);

    Canvas canvas;
    if (inspect::unlike(request.a.moment(), request.b.moment()).empty()) {
        Progress progress(!context.json);
        inspect::MemoryDiffOptions options;
        options.reused = request.reused;
        if (request.pid) options.pid = images::DumpPid{*request.pid};
        options.visit = [&](const inspect::PagePair& page) { canvas.add(page); };
        options.progress = [&](uint64_t done, uint64_t total) { progress.show("drawing", done, total); };
        inspect::diff_memory(request.a.moment(), request.b.moment(), options);
    }
    data["maps"] = canvas.json();
    data["findings"] = findings_json(findings);
    std::string title = fmt::format("{} -> {}", request.a.name, request.b.name);
    write_new_page(path, html_page(title, data, k_style, k_script));
    if (context.json) {
        context.output.json({{"html", path.string()}, {"same", same}});
    } else {
        context.output.line(fmt::format("wrote {}", base::escape(path.string())));
    }
    return same;
}

}  // namespace cprewind::cli
