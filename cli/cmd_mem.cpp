// `cprewind mem`: the memory itself: dumped, shown, searched.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cli/mem_words.h"

namespace cprewind::cli {

const char* const k_mem_help = R"(Examples:
  cprewind mem web@3 search 'BEGIN RSA PRIVATE KEY'     in all processes, shared memory once
  cprewind mem web@3 search --hex 'de ad ?? be' --regex 'user=[a-z]+' --pid 1
  cprewind mem web@3 search --patterns iocs.txt --count  any number of patterns in one pass
  cprewind mem web@3 strings --min 8 --kind heap        text with address and mapping
  cprewind mem ./checkpoint strings --encoding all      UTF-8, and UTF-16 of either order
  cprewind mem web@3 hexdump 7ffd1000 64 --pid 1        like hexdump -C, by address
  cprewind mem web.tar dump --vma heap -o heap.bin --pid 1
  cprewind mem web@3 dump --range 7f00000000+1M --pid 1 | xxd
  cprewind mem web@3 dump --pid 1 -o all.bin            the whole process; prints what is where in the file

Usage: cprewind mem SNAPSHOT VERB [options]

  search [WORD…]               patterns in memory: where, in which mapping, with what is around
  strings                      text in memory
  hexdump [ADDRESS [LENGTH]]   bytes of one process (length 256)
  dump                         bytes of one process to a file or to standard output

Which memory (all of it, when nothing is said; several values of one option add up, different options narrow):
  --pid PID            only this process (more than once: these)
  --kind KIND          heap, stack, anonymous, file, shared, memfd, … as `inspect SNAPSHOT mem` shows them; a,b: either
  --protection PROT    letters that must be there (wx), or all of it with - and ? (rw-p, r-x?)
  --range A-B, A+LEN   addresses, in hexadecimal; LEN as 4096, 0x1000, 64K, 1M
  --vma WHICH          the mapping with this address (0x…), of this kind, or with this in its path

search:
  WORD, --text TEXT    these bytes            --utf-16       text also as UTF-16, little and big endian
  --hex 'de ad ?? be'  bytes; ? is any digit  --ignore-case  (-i) of ASCII letters
  --regex EXPRESSION   as in Perl, without references back and around; ^ and $ are at newlines, . is any byte but one.
                       A match is the longest from its place; one without a longest is cut after 4096 bytes.
  --patterns FILE      one a line: text:…, hex:…, regex:…, or text; empty lines and #… are passed over
  --context N          bytes shown before and after (16)
  --limit N            stop after N hits      --count        only how many of each pattern
strings:
  --min N              at least so many characters (4)
  --encoding E         ascii, utf-8 (with ASCII; the default), utf-16le, utf-16be, all; a,b: either. --limit N as above
hexdump:
  --all                lines that repeat, too, instead of one *
dump:
  --output FILE        (-o) a new file; without it, standard output
  --sparse, --raw      holes (the default for a file) or zeros where there is no content
  --only-dumped        leave out what is not in the dump, instead of a hole

Matches and strings are found across the borders of pages and mappings. Shared memory is looked at once; "+7@0x…" tells
where else it is mapped. Anonymous memory that nobody ever wrote is zero, and not searched. What a dump does not hold
(pages of mapped files that nobody changed, missing images) is told on standard error, in JSON as "unread".
Bytes that do not print are shown as dots; --json has them exactly.

Exit status: 0 done (found or not), 1 failed, 2 usage, 3 done, with findings.)";

namespace {

struct Verb {
    const char* name;
    int (*run)(MemRequest&);
    std::vector<std::string> options;  // its own
};

const std::vector<Verb>& verbs() {
    static const std::vector<Verb> k_verbs = {
        {"search",
         mem_search,
         {"text", "hex", "regex", "patterns", "ignore-case", "utf-16", "context", "limit", "count"}},
        {"strings", mem_strings, {"min", "encoding", "limit"}},
        {"hexdump", mem_hexdump, {"all"}},
        {"dump", mem_dump, {"output", "sparse", "raw", "only-dumped"}},
    };
    return k_verbs;
}

const Verb& find_verb(const std::vector<std::string>& words) {
    std::vector<std::string> names;
    for (const Verb& verb : verbs()) {
        if (words.size() > 1 && words[1] == verb.name) return verb;
        names.emplace_back(verb.name);
    }
    std::string list = "one of " + base::join(names, ", ");
    if (words.size() < 2) throw base::Error(base::ErrorKind::usage, "do what with its memory?", list);
    std::string hint = base::did_you_mean(words[1], names);
    throw base::Error(base::ErrorKind::usage, fmt::format("mem has no verb '{}'", base::escape(words[1])),
                      hint.empty() ? list : hint);
}

// An option of another verb is a misunderstanding, not something to pass over.
void check_options(const Verb& verb, const Parsed& parsed) {
    for (const Verb& other : verbs()) {
        for (const std::string& option : other.options) {
            bool own = std::find(verb.options.begin(), verb.options.end(), option) != verb.options.end();
            if (own || !parsed.has(option.c_str()) || parsed.values[option].defaulted()) continue;
            throw base::Error(base::ErrorKind::usage, fmt::format("{} has no option --{}", verb.name, option),
                              fmt::format("it is one of {}", other.name));
        }
    }
}

}  // namespace

int run_mem(Context& context, const std::vector<std::string>& arguments) {
    using Words = std::vector<std::string>;
    po::options_description options;
    options.add_options()("pid", po::value<std::vector<uint32_t>>())("kind", po::value<Words>())(
        "protection", po::value<std::string>())("range", po::value<Words>())("vma", po::value<std::string>());
    options.add_options()("text", po::value<Words>())("hex", po::value<Words>())("regex", po::value<Words>())(
        "patterns", po::value<std::string>())("ignore-case,i", "")("utf-16", "")(
        "context", po::value<size_t>()->default_value(16))("limit", po::value<uint64_t>())("count", "");
    options.add_options()("min", po::value<size_t>()->default_value(4))("encoding", po::value<Words>());
    options.add_options()("all", "")("output,o", po::value<std::string>())("sparse", "")("raw", "")(
        "only-dumped", "");
    Parsed parsed = parse_words(arguments, options, 1, SIZE_MAX, "SNAPSHOT VERB");
    const Verb& verb = find_verb(parsed.words);
    check_options(verb, parsed);
    Subject subject = open_subject(context, parsed.words[0]);
    MemRequest request{context,
                       subject,
                       parsed,
                       Words(parsed.words.begin() + 2, parsed.words.end()),
                       parse_memory_filter(parsed, subject),
                       subject.checkpoint.findings};
    return verb.run(request);
}

}  // namespace cprewind::cli
