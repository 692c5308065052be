#include "cli/html_page.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace cprewind::cli {

namespace {

constexpr std::string_view k_style = R"(
:root { color-scheme: light dark; --line: #8884; --dim: #888; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 78rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .1rem .6rem .1rem 0; vertical-align: top; }
td, pre, code { font-family: ui-monospace, monospace; font-size: 12px; overflow-wrap: anywhere; }
pre { margin: .2rem 0 .6rem; white-space: pre-wrap; } .dim { color: var(--dim); }
)";

// The common part of the page's script: elements are made, never parsed.
constexpr std::string_view k_script = R"(
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
function make(tag, text, attributes) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = String(text);
  for (const key in attributes || {}) element.setAttribute(key, attributes[key]);
  return element;
}
function add(parent, ...children) { for (const child of children) parent.append(child); return parent; }
function table(heads, rows) {
  const result = make('table'), head = make('tr');
  for (const text of heads) head.append(make('th', text));
  result.append(head);
  for (const row of rows) {
    const line = make('tr');
    for (const cell of row) line.append(cell instanceof Node ? add(make('td'), cell) : make('td', cell));
    result.append(line);
  }
  return result;
}
const page = document.getElementById('page');
)";

std::string escape_markup(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (c == '<') {
            out += "&lt;";
        } else if (c == '&') {
            out += "&amp;";
        } else {
            out += c;
        }
    }
    return out;
}

// Inside a script element only "</" and "<!--" are special, so no "<" stays.
std::string escape_json(const std::string& text) {
    std::string out;
    out.reserve(text.size());
    for (char c : text) {
        if (c == '<') {
            out += "\\u003c";
        } else {
            out += c;
        }
    }
    return out;
}

}  // namespace

std::string html_page(std::string_view title, const Json& data, std::string_view style,
                      std::string_view script) {
    return fmt::format(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'; "
        "script-src 'unsafe-inline'\">\n<title>{0}</title>\n<style>{1}{2}</style></head>\n"
        "<body><h1>{0}</h1><div id=\"page\"></div>\n<script type=\"application/json\" "
        "id=\"data\">{3}</script>\n"
        "<script>{4}{5}document.body.dataset.ready = 'yes';\n</script></body></html>\n",
        escape_markup(base::escape(title)), k_style, style,
        escape_json(data.dump(-1, ' ', false, Json::error_handler_t::replace)), k_script, script);
}

void write_new_page(const std::filesystem::path& path, std::string_view page) {
    std::error_code ignored;
    if (std::filesystem::exists(std::filesystem::symlink_status(path, ignored))) {
        throw base::Error(base::ErrorKind::usage,
                          fmt::format("{} is there already", base::escape(path.string())),
                          "give the name of a new file");
    }
    base::Fd file = base::open_file(path, O_WRONLY | O_CREAT | O_EXCL);
    base::write_full(file.get(), std::as_bytes(std::span(page)), path.string());
}

}  // namespace cprewind::cli
