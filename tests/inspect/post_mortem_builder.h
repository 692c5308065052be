// One process made by hand for the tests of cores and stacks: its registers, its mappings, its pages.
#pragma once

#include <sys/mman.h>

#include "images/proto/files.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/process.pb.h"
#include "inspect/moment.h"
#include "tests/images/image_builder.h"

namespace cprewind::inspect::test {

namespace criu = cprewind::criu;

class MadeProcess {
 public:
    static constexpr uint64_t k_page = 4096;
    enum : uint32_t { regular = 1, anonymous = 1u << 9, file_private = 1u << 6 };

    criu::core_entry core;
    criu::mm_entry mm;
    images::test::MemorySource source;

    explicit MadeProcess(criu::core_entry::march machine) {
        core.set_mtype(machine);
        criu::task_core_entry& task = *core.mutable_tc();
        task.set_task_state(1);
        task.set_comm("made");
        core.mutable_thread_core()->set_futex_rla(0);
    }

    void map(uint64_t start, uint64_t pages, uint32_t protection, uint32_t status = anonymous,
             uint64_t offset = 0) {
        criu::vma_entry& vma = *mm.add_vmas();
        vma.set_start(start);
        vma.set_end(start + pages * k_page);
        vma.set_prot(protection);
        vma.set_flags(MAP_PRIVATE | (status == anonymous ? MAP_ANONYMOUS : 0));
        vma.set_status(regular | status);
        vma.set_pgoff(offset);
        vma.set_shmid(status == file_private ? 1 : 0);
        vma.set_fd(-1);
    }
    // In ascending order.
    void page(uint64_t address, std::string content) {
        content.resize(k_page, '\0');
        criu::pagemap_entry entry;
        entry.set_vaddr(address);
        entry.set_compat_nr_pages(1);
        entry.set_flags(4);
        images::test::append_entry(pagemap_, entry);
        pages_ += content;
    }

    const images::Checkpoint& load() {
        criu::inventory_entry inventory;
        inventory.set_img_version(2);
        inventory.set_fdinfo_per_id(true);
        criu::pstree_entry entry;
        entry.set_pid(1);
        entry.add_threads(1);
        criu::task_kobj_ids_entry ids;
        criu::pagemap_head head;
        head.set_pages_id(1);
        criu::file_entry file;
        file.set_type(criu::REG);
        file.set_id(1);
        file.mutable_reg()->set_id(1);
        file.mutable_reg()->set_name("/bin/made");
        mm.set_exe_file_id(1);
        source.files["inventory.img"] = images::test::make_image("INVENTORY", inventory);
        source.files["pstree.img"] = images::test::make_image("PSTREE", entry);
        source.files["core-1.img"] = images::test::make_image("CORE", core);
        source.files["mm-1.img"] = images::test::make_image("MM", mm);
        source.files["ids-1.img"] = images::test::make_image("IDS", ids);
        source.files["files.img"] = images::test::make_image("FILES", file);
        source.files["pagemap-1.img"] = images::test::make_image("PAGEMAP", head) + pagemap_;
        source.files["pages-1.img"] = pages_;
        checkpoint_ = images::load_checkpoint(source);
        return checkpoint_;
    }
    Moment moment() const { return {checkpoint_, source}; }
    const images::Process& process() const { return checkpoint_.processes.at(0); }

 private:
    std::string pagemap_, pages_;
    images::Checkpoint checkpoint_;
};

}  // namespace cprewind::inspect::test
