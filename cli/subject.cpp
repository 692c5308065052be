#include "cli/subject.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "engine/snapshot_files.h"
#include "images/open_source.h"

namespace cprewind::cli {
namespace {

using base::Error;
using base::ErrorKind;
namespace fs = std::filesystem;

bool is_path(const std::string& reference) {
    return reference.find('/') != std::string::npos || reference == "." || reference == "..";
}

Subject open_path(const std::string& path) {
    Subject subject;
    subject.name = path;
    images::OpenedSource opened = images::open_source(path);
    subject.files = std::move(opened.files);
    subject.images = std::move(opened.images);
    subject.checkpoint.findings = std::move(opened.findings);
    return subject;
}

Subject open_snapshot(const Context& context, const std::string& reference) {
    Subject subject;
    std::unique_ptr<store::Repository> repository;
    try {
        repository = open_for_reading(context);
        subject.record = repository->resolve(reference, std::chrono::system_clock::now());
    } catch (const Error& error) {
        std::error_code ignored;
        if (error.kind() != ErrorKind::not_found || !fs::exists(reference, ignored)) throw;
        throw Error(error.kind(), error.message(), fmt::format("or do you mean the path ./{}?", reference));
    }
    subject.name = subject.record->name();
    subject.files = repository->open(*subject.record);
    subject.images = std::make_unique<images::PrefixedSource>(*subject.files, engine::k_images_prefix);
    return subject;
}

}  // namespace

std::unique_ptr<store::Repository> open_for_reading(const Context& context) {
    return store::open_repository(context.repository, store::OpenMode::read);
}

Subject open_subject(const Context& context, const std::string& reference) {
    Subject subject = is_path(reference) ? open_path(reference) : open_snapshot(context, reference);
    load_subject(subject);
    return subject;
}

void load_subject(Subject& subject) {
    images::Findings of_container = std::move(subject.checkpoint.findings);
    subject.checkpoint = images::load_checkpoint(*subject.images);
    for (images::Finding& finding : of_container)
        images::add_finding(subject.checkpoint.findings, std::move(finding));
    auto tree = images::read_whole(*subject.files, engine::k_layer_tree);
    auto data = subject.files->open(engine::k_layer_data);
    if (tree) {
        subject.layer = images::parse_layer(*tree, data ? data->size() : 0, subject.checkpoint.findings);
    }
}

}  // namespace cprewind::cli
