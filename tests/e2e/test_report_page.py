"""The page of `report --html` in a browser, from a file, without network."""

import pytest

from support import run
from test_views_proc import still  # noqa: F401  (a fixture)


@pytest.mark.browser
def test_the_page_shows_everything_in_chromium(repo, still, tmp_path):  # noqa: F811
    busy, _ = still
    page = tmp_path / "page.html"
    repo("report", f"{busy}@1", "--html", page, status=None)
    dom = run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom",
               page.as_uri()]).out
    assert 'data-ready="yes"' in dom, "the script ran to its end"
    assert dom.count('class="map"') == 4 and 'id="sockets"' in dom and "127.0.0.1:5555" in dom.split('id="sockets"')[1]
