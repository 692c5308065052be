"""The pages of `report --html` and `diff --html` in a browser, from a file, without network."""

import pathlib

import pytest

from support import run
from test_views_proc import still  # noqa: F401  (a fixture)

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"


@pytest.mark.browser
def test_the_page_shows_everything_in_chromium(repo, still, tmp_path):  # noqa: F811
    busy, _ = still
    page = tmp_path / "page.html"
    repo("report", f"{busy}@1", "--html", page, status=None)
    dom = run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom",
               page.as_uri()]).out
    assert 'data-ready="yes"' in dom, "the script ran to its end"
    assert dom.count('class="map"') == 4 and 'id="sockets"' in dom and "127.0.0.1:5555" in dom.split('id="sockets"')[1]


@pytest.mark.browser
def test_the_page_of_a_diff_draws_both_maps_in_chromium(repo, tmp_path):
    page = tmp_path / "diff.html"
    repo("diff", f"{FIXTURES}/kitchen", f"{FIXTURES}/kitchen-later", "--html", page, status=1)
    dom = run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom",
               page.as_uri()]).out
    assert 'data-ready="yes"' in dom, "the script ran to its end"
    assert dom.count("<canvas") >= 4 and dom.count("<canvas") % 2 == 0 and "200000000000" in dom
