// bus.toml with anything in it: settings, or an error that names the file.
#include "api/settings.hpp"

#include "api/error.hpp"
#include "tests/support/fuzz.hpp"
#include "tests/support/scratch.hpp"

namespace penstock::fuzz {
namespace {

std::vector<Bytes> seeds() {
  std::vector<Bytes> out;
  out.push_back(Maker().put(std::string_view(api::print_settings({}))).done());
  for (const std::string_view text :
       {"[topics]\nring = \"64KiB\"\nretention_time = \"7d\"\nretain_unacked = true\nfull = 'fail'\n",
        "[bus]\nshared_memory = 3\n", "[topics]\nring = -1\n[daemon]\nio = \"pwrite\"\n",
        "a.b = [[{c = 1979-05-27T07:32:00Z}], inf]\n", "[bus\n", "[topics]\nring = 99999999999TiB\n",
        "\xef\xbb\xbf[daemon]\ncheckpoint = \"18446744073709551615s\"\n",
        "[topics]\n\"durability\" = \"\"\"memory\"\"\"\n"})
    out.push_back(Maker().put(text).done());
  return out;
}

void run(Input input) {
  static const test::Scratch directory;
  const std::string path = directory / "bus.toml";
  test::write_file(path, input);
  const auto settings = api::load_settings(path);
  if (!settings) {
    must(settings.error().message().find(path) != std::string::npos, "an error names the file");
    return;
  }
  const std::string printed = api::print_settings(*settings);
  test::write_file(path, std::as_bytes(std::span(printed)));
  const auto again = api::load_settings(path);
  must(again && api::print_settings(*again) == printed, "what is printed can be read");
}

}  // namespace

const Target target{seeds, run, 3'000};

}  // namespace penstock::fuzz
