# The front door. Everything real is in CMake and in the scripts that these targets call.
.PHONY: all build demo check matrix drill bench fuzz install format lint clean help

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

build:  ## release build in build/release
	@tools/install-prerequisites
	@tools/build release

demo:  ## the main job as a story, on a real Docker in a lab of its own
	@tools/install-prerequisites
	@tools/build release cprewind cprewind-runtime
	@lab/demo

check:  ## everything that must hold: format, lint, unit tests, sanitizers, end-to-end tests in the lab
	@tools/check

matrix: build  ## every workload in every lab, there and back; writes docs/compatibility.md
	@tests/matrix/run

bench: build  ## measures, prints a table, writes build/bench.json
	@bench/run

drill: build  ## 200 snaps and 200 rewinds with a kill -9 at a random moment, in a lab
	@tests/drill/run

fuzz:  ## each fuzz target for MINUTES (15), by clang and libFuzzer
	@tests/fuzz/run $${MINUTES:-15}

install: build  ## into /usr/local (DESTDIR and PREFIX are honoured)
	cmake --install build/release --prefix $${PREFIX:-/usr/local}

format:  ## makes all C++ look the same
	@tools/sources | xargs clang-format -i

lint:  ## clang-tidy over what was built
	@tools/lint

clean:  ## forgets what was built (the lab's cache stays)
	rm -rf build

all: build
