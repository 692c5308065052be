// What to search memory for: text, bytes in hexadecimal with wildcards, regular expressions; any number in one pass.
//
// All become expressions of Hyperscan, which looks for all of them at once. A match is the longest from its place, as
// with grep: Hyperscan reports every end, and the place where the longest begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cprewind::inspect {

enum class PatternKind { text, hex, regex };
const char* name_of(PatternKind kind);

struct Pattern {
    PatternKind kind = PatternKind::text;
    std::string source;        // as a person wrote it
    bool ignore_case = false;  // of ASCII letters
    bool wide = false;         // text: as UTF-16 of either order, too
};

// Reads one line of a file of patterns: "text:…", "hex:…", "regex:…", or text as it is.
Pattern parse_pattern_line(std::string_view line);

class PatternSet {
 public:
    // Of a pattern whose matches have no longest: what is longer is cut.
    static constexpr size_t k_longest = 4096;
    // The longest match of any pattern.
    static constexpr size_t k_most = 64u << 10;

    // Error (usage) that says which pattern cannot be used, where, and why.
    explicit PatternSet(std::vector<Pattern> patterns);
    ~PatternSet();
    PatternSet(const PatternSet&) = delete;
    PatternSet& operator=(const PatternSet&) = delete;

    const std::vector<Pattern>& patterns() const { return patterns_; }
    // No match is longer.
    size_t longest() const { return longest_; }

    // What a thread needs to scan; not for two at once.
    class Scanner {
     public:
        explicit Scanner(const PatternSet& set);
        ~Scanner();
        Scanner(Scanner&& other) noexcept;
        Scanner& operator=(Scanner&&) = delete;
        // Calls for every end of every match in `bytes`, in no certain order.
        void scan(std::span<const std::byte> bytes,
                  const std::function<void(uint32_t pattern, size_t begin, size_t end)>& found);

     private:
        const PatternSet& set_;
        void* scratch_ = nullptr;
    };

 private:
    std::vector<Pattern> patterns_;
    // Of each expression that was made of them.
    struct Expression {
        uint32_t pattern = 0;
        size_t width = 0;  // of all its matches; 0: they differ
    };
    std::vector<Expression> expressions_;
    size_t longest_ = 0;
    void* database_ = nullptr;
};

}  // namespace cprewind::inspect
