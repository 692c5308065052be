#include "inspect/queue_text.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/digest.h"
#include "base/error.h"
#include "images/queues.h"
#include "inspect/fds.h"

namespace cprewind::inspect {

namespace {

constexpr size_t k_shown = 32;

// The bytes of a queue, which may lie in several pieces (packets).
class Gathered {
 public:
    void add(const images::ImageSource& source, const images::Queue& queue, images::Findings& findings) {
        size_ += queue.size;
        try {
            auto file = source.open(queue.image);
            for (uint64_t done = 0; file && done < queue.size;) {
                std::byte piece[4096];
                auto part = std::span(piece).first(
                    static_cast<size_t>(std::min<uint64_t>(sizeof piece, queue.size - done)));
                if (file->read_at(queue.offset + done, part) != part.size()) break;
                take(part);
                done += part.size();
            }
        } catch (const base::Error& error) {
            images::add_finding(findings,
                                {images::FindingKind::damaged, queue.image, queue.offset, error.message()});
        }
    }

    std::string text() {
        if (size_ == 0) return {};
        std::string text = fmt::format("{} byte{} \"{}", size_, size_ == 1 ? "" : "s", begin_);
        if (size_ <= k_shown) return text + '"';
        return text + fmt::format("…\" SHA-256 {}…", hasher_.finish().hex().substr(0, 16));
    }

 private:
    void take(std::span<const std::byte> part) {
        hasher_.update(part);
        size_t room = k_shown - begin_.size();
        for (std::byte b : part.first(std::min(part.size(), room))) begin_ += static_cast<char>(b);
    }

    uint64_t size_ = 0;
    std::string begin_;
    base::Hasher hasher_;
};

bool is_only_written(const images::File& file) {
    bool pipe = file.kind == images::FileKind::pipe || file.kind == images::FileKind::fifo;
    return pipe && (file.flags & O_ACCMODE) == O_WRONLY;
}

}  // namespace

std::map<uint32_t, QueueText> queue_texts(Moment moment, images::Findings& findings) {
    using images::QueueKind;
    std::map<std::pair<QueueKind, uint64_t>, Gathered> waiting;
    for (const images::Queue& queue : images::load_queues(moment.source, findings)) {
        if (queue.size > 0) waiting[{queue.kind, queue.object}].add(moment.source, queue, findings);
    }
    std::map<std::pair<QueueKind, uint64_t>, std::string> texts;
    for (auto& [key, gathered] : waiting) texts[key] = gathered.text();

    std::map<uint32_t, QueueText> out;
    for (const auto& [id, file] : moment.checkpoint.files) {
        for (const auto& [key, text] : texts) {
            auto [kind, object] = key;
            bool sent = kind == QueueKind::tcp_out && file.kind == images::FileKind::inet_socket;
            bool received = receives_from(file.kind, kind) && !is_only_written(file);
            if ((!sent && !received) || queue_key(file, kind) != object) continue;
            (sent ? out[id].out : out[id].in) += text;
        }
    }
    return out;
}

}  // namespace cprewind::inspect
