#include "images/json_document.h"

#include <fmt/format.h>

#include "images/lost_file.h"

namespace cprewind::images {

JsonDocument::JsonDocument(const ImageSource& files, std::string name, Findings& findings) {
    auto file = files.open(name);
    if (!file) return;
    there_ = true;
    auto report = [&](std::string why) {
        add_finding(findings, {FindingKind::damaged, std::move(name), {}, std::move(why)});
    };
    if (file->size() > k_limit) {
        report(fmt::format("it has {} bytes, more than the {} of JSON that are read", file->size(), k_limit));
        return;
    }
    std::string text(static_cast<size_t>(file->size()), '\0');
    try {
        text.resize(file->read_at(0, std::as_writable_bytes(std::span(text.data(), text.size()))));
    } catch (const base::Error& error) {
        if (!is_loss(error)) throw;
        report(error.message());
        return;
    }
    root_ = nlohmann::json::parse(text, nullptr, false);
    if (root_.is_discarded()) {
        root_ = nullptr;
        report("it is no JSON, or cut off");
    }
}

const nlohmann::json* JsonDocument::step(const nlohmann::json& value, const char* key) {
    static const nlohmann::json k_nothing;
    if (!value.is_object()) return &k_nothing;
    auto found = value.find(key);
    return found == value.end() ? &k_nothing : &*found;
}

}  // namespace cprewind::images
