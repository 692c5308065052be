#include "cli/output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"

namespace cprewind::cli {
namespace {

const char* sequence_of(Colour colour) {
    switch (colour) {
        case Colour::plain:
            return "";
        case Colour::bold:
            return "\x1b[1m";
        case Colour::dim:
            return "\x1b[2m";
        case Colour::red:
            return "\x1b[31m";
        case Colour::green:
            return "\x1b[32m";
        case Colour::yellow:
            return "\x1b[33m";
        case Colour::cyan:
            return "\x1b[36m";
    }
    return "";
}

size_t terminal_width() {
    winsize size{};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

// The first `width` columns of a line, colour sequences kept whole.
std::string cut(std::string_view line, size_t width) {
    std::string out;
    size_t used = 0;
    bool coloured = false;
    for (size_t i = 0; i < line.size();) {
        if (line[i] == '\x1b') {
            size_t end = std::min(line.find('m', i), line.size() - 1) + 1;
            out += line.substr(i, end - i);
            coloured = true;
            i = end;
            continue;
        }
        size_t end = i + 1;
        while (end < line.size() && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) ++end;
        if (++used == width && end < line.size()) {
            out += "…";
            return coloured ? out + "\x1b[0m" : out;
        }
        out += line.substr(i, end - i);
        i = end;
    }
    return out;
}

}  // namespace

size_t display_width(std::string_view text) {
    size_t width = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\x1b') {
            i = std::min(text.find('m', i), text.size() - 1);
        } else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
            ++width;
        }
    }
    return width;
}

Table& Table::right(std::vector<size_t> columns) {
    right_ = std::move(columns);
    return *this;
}

Output::Output() : terminal_(::isatty(STDOUT_FILENO) == 1), width_(terminal_ ? terminal_width() : 0) {
    const char* no_colour = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    colour_ = terminal_ && (no_colour == nullptr || *no_colour == '\0') && term != nullptr &&
              std::string_view(term) != "dumb";
}

void Output::line(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fputc('\n', stdout);
}

void Output::table(const Table& table) {
    std::vector<size_t> widths;
    for (const auto& row : table.rows_) {
        widths.resize(std::max(widths.size(), row.size()));
        for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
    }
    bool head = true;
    for (const auto& row : table.rows_) {
        std::string text;
        for (size_t i = 0; i < row.size(); ++i) {
            std::string pad(widths[i] - display_width(row[i]), ' ');
            bool right = std::find(table.right_.begin(), table.right_.end(), i) != table.right_.end();
            if (i > 0) text += "  ";
            text += right ? pad + row[i] : i + 1 < row.size() ? row[i] + pad : row[i];
        }
        while (!text.empty() && text.back() == ' ') text.pop_back();
        if (width_ > 0) text = cut(text, width_);
        line(head ? paint(Colour::dim, text) : text);
        head = false;
    }
}

void Output::json(const Json& document) {
    // Whatever is not UTF-8 went through json_text.h; `replace` guards against what we forgot.
    line(document.dump(terminal_ ? 2 : -1, ' ', false, Json::error_handler_t::replace));
}

std::string Output::paint(Colour colour, std::string_view text) const {
    if (!colour_ || colour == Colour::plain) return std::string(text);
    return fmt::format("{}{}\x1b[0m", sequence_of(colour), text);
}

bool Output::flush() {
    // The stream remembers errors of earlier writes, but not which: a reader that is gone stays gone.
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return true;
    int e = errno;
    if (e == EPIPE) return false;
    base::throw_errno(e, "write to standard output");
}

void complain(std::string_view text) {
    std::fwrite("cprewind: ", 1, 10, stderr);
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fputc('\n', stderr);
}

}  // namespace cprewind::cli
