// The one way to standard output: text for people or JSON for programs, never both.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace cprewind::cli {

// Fields stay in the order in which they are written: part of being stable.
using Json = nlohmann::ordered_json;

enum class Colour { plain, bold, dim, red, green, yellow, cyan };

// Rows of cells, printed with aligned columns. The last column is never padded.
class Table {
 public:
    explicit Table(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }
    // Columns (from 0) whose cells are numbers and go to the right.
    Table& right(std::vector<size_t> columns);
    void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
    bool empty() const { return rows_.size() == 1; }

 private:
    friend class Output;
    std::vector<std::vector<std::string>> rows_;
    std::vector<size_t> right_;
};

class Output {
 public:
    // Colour on a terminal, unless NO_COLOR is set (no-color.org) or TERM is "dumb".
    Output();

    bool to_terminal() const { return terminal_; }
    void line(std::string_view text = {});
    void table(const Table& table);
    void json(const Json& document);
    std::string paint(Colour colour, std::string_view text) const;
    // Everything out; throws when it cannot be (a full disk behind a redirection is not success). False:
    // whoever read it has gone (`cprewind log | head`), and wants no more, not even a complaint.
    bool flush();

 private:
    bool terminal_ = false;
    bool colour_ = false;
    size_t width_ = 0;  // of the terminal, 0: none
};

// For people, on standard error: "cprewind: TEXT".
void complain(std::string_view text);

// Columns that `text` takes on a terminal: UTF-8 characters, colour sequences not counted.
size_t display_width(std::string_view text);

}  // namespace cprewind::cli
