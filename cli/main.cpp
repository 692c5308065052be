// cprewind's entry: everything is in cli/app.cpp, so that tests can call it.
#include "cli/app.h"

int main(int argc, char** argv) {
    return cprewind::cli::run_app({argv + 1, argv + argc});
}
